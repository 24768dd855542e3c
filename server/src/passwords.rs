//! Passwords: argon2id, with a bound on how much of the machine it may take.
//!
//! A hash costs 19 MiB and some ten milliseconds of a core on purpose, so a storm of log-ins
//! must not starve the chat: so many run at once, so many wait, the rest is told to come
//! back. An account that does not exist costs the same. Knows nothing of accounts or HTTP.

use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::secret::Secret;

/// Characters that a password has at least.
pub const SHORTEST: usize = 8;

/// Bytes that a password has at most.
pub const LONGEST: usize = 1024;

/// Kibibytes, passes and lanes: the first choice of OWASP's password storage cheat sheet.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// What an imported hash may cost at most, so that one account cannot take the machine.
const COSTLIEST: (u32, u32, u32) = (128 * 1024, 10, 8);

/// Stands for accounts without a password: the same cost, and no password has it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// So many passwords are being hashed, and so many wait, that one more would not be soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many log-ins at once: try again in a moment")]
pub struct Busy;

/// Says why a password is not accepted for an account.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Too few characters.
    #[error("the password has {0} characters: at least {SHORTEST} are needed")]
    TooShort(usize),
    /// Too many bytes.
    #[error("the password has {0} bytes: at most {LONGEST} are allowed")]
    TooLong(usize),
}

/// Says why a hash made elsewhere is not taken over. Does not show the hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HashError {
    /// Not argon2 in PHC form.
    #[error("the password hash is not argon2 in PHC form ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")]
    Form,
    /// Checking it would cost too much.
    #[error("the password hash costs m={0},t={1},p={2}: at most m={m},t={t},p={p} are allowed",
        m = COSTLIEST.0, t = COSTLIEST.1, p = COSTLIEST.2)]
    Cost(u32, u32, u32),
}

/// Refuses a password that is too short, or longer than anybody needs.
pub fn check(password: &Secret<String>) -> Result<(), PasswordError> {
    let (characters, bytes) = (password.expose().chars().count(), password.expose().len());
    if characters < SHORTEST {
        return Err(PasswordError::TooShort(characters));
    }
    if bytes > LONGEST {
        return Err(PasswordError::TooLong(bytes));
    }
    Ok(())
}

/// Refuses a hash that could not be checked, or not at a fair cost.
pub fn check_hash(hash: &str) -> Result<(), HashError> {
    let hash = PasswordHash::new(hash).map_err(|_| HashError::Form)?;
    Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashError::Form)?;
    // Either may be left out of a PHC string, and no password fits then.
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(HashError::Form);
    }
    let cost = Params::try_from(&hash).map_err(|_| HashError::Form)?;
    if cost.m_cost() > COSTLIEST.0 || cost.t_cost() > COSTLIEST.1 || cost.p_cost() > COSTLIEST.2 {
        return Err(HashError::Cost(cost.m_cost(), cost.t_cost(), cost.p_cost()));
    }
    Ok(())
}

/// Hashes a password here and now, whatever it costs: for commands, not for requests.
pub fn hash_now(password: &Secret<String>) -> String {
    Scratch::default().hash(password)
}

/// The memory in which a hash is made. It is used again: an allocator may keep what is freed
/// for each thread that ever made one.
#[derive(Default)]
struct Scratch(Vec<Block>);

impl Scratch {
    fn hash(&mut self, password: &Secret<String>) -> String {
        let (m, t, p) = COST;
        let params = Params::new(m, t, p, None).expect("the costs are within argon2's own bounds");
        let salt: [u8; 16] = rand::random();
        let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
        let shown = ParamsString::try_from(&params).expect("three small numbers");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        self.fill(&argon2, password, &salt, &mut hash)
            .expect("a salt of the recommended length, and a password of fewer than 4 GiB");
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: shown,
            salt: Some(Salt::new(&salt).expect("a salt of the recommended length")),
            hash: Some(Output::new(&hash).expect("a hash of the usual length")),
        };
        hash.to_string()
    }

    /// Tells whether a hash in PHC form is the password's; a damaged one is nobody's.
    fn fits(&mut self, password: &Secret<String>, stored: &str) -> bool {
        self.same(password, stored).unwrap_or(false)
    }

    fn same(&mut self, password: &Secret<String>, stored: &str) -> Option<bool> {
        let stored = PasswordHash::new(stored).ok()?;
        let (salt, expected) = (stored.salt.as_ref()?, stored.hash.as_ref()?);
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
        let version = stored.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
        let params = Params::try_from(&stored).ok()?;
        let mut hash = [0; Output::MAX_LENGTH];
        let hash = hash.get_mut(..expected.as_bytes().len())?;
        let argon2 = Argon2::new(algorithm, version, params);
        self.fill(&argon2, password, salt, hash).ok()?;
        // Outputs are compared in constant time.
        Some(Output::new(hash).ok()? == *expected)
    }

    fn fill(
        &mut self,
        argon2: &Argon2<'_>,
        password: &Secret<String>,
        salt: &[u8],
        hash: &mut [u8],
    ) -> argon2::Result<()> {
        let blocks = argon2.params().block_count();
        self.0.resize(blocks, Block::new());
        argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, hash, &mut self.0)
    }

    /// Tells whether it is no larger than most need; what an imported hash took beyond is freed.
    fn is_usual(&self) -> bool {
        self.0.len() <= COST.0 as usize
    }
}

/// Hashes and checks passwords, so many at a time.
#[derive(Clone)]
pub struct Passwords {
    running: Arc<Semaphore>,
    /// One permit for each that runs or waits; who finds none is turned away.
    admitted: Arc<Semaphore>,
    /// What those that run use; never more than run at once.
    free: Arc<Mutex<Vec<Scratch>>>,
}

impl Passwords {
    /// Lets `at_once` run and `waiting` wait.
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(at_once)),
            admitted: Arc::new(Semaphore::new(at_once + waiting)),
            free: Arc::default(),
        }
    }

    /// Hashes a password for storing.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, Busy> {
        self.run(move |scratch| scratch.hash(&password)).await
    }

    /// Tells whether `password` is the one of `hash`; takes as long when there is none.
    pub async fn verify(
        &self,
        password: Secret<String>,
        hash: Option<String>,
    ) -> Result<bool, Busy> {
        self.run(move |scratch| {
            let fits = scratch.fits(&password, hash.as_deref().unwrap_or(NOBODY));
            fits && hash.is_some()
        })
        .await
    }

    /// Runs `work` on a thread of its own when its turn comes. The permits go with the work: a
    /// caller who hangs up does not make room while his hash still runs.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| Busy)?;
        let running = self.running.clone().acquire_owned().await.expect("never closed");
        let free = self.free.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut scratch = free.lock().pop().unwrap_or_default();
            let result = work(&mut scratch);
            if scratch.is_usual() {
                free.lock().push(scratch);
            }
            drop((running, admitted));
            result
        });
        // Cancelled only while the runtime shuts down, and then nobody waits for the answer.
        done.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(1, 8);
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(check_hash(&hash), Ok(()));
        assert!(passwords.verify(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(secret("wrong horse"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_s_password_and_a_damaged_hash_fit_nothing() {
        let passwords = Passwords::new(1, 8);
        assert_eq!(check_hash(NOBODY), Ok(()), "checking it must cost what any other costs");
        assert!(!passwords.verify(secret(""), None).await.unwrap());
        assert!(!passwords.verify(secret("x"), Some("damaged".to_owned())).await.unwrap());
    }

    #[tokio::test]
    async fn a_storm_runs_within_its_bounds() {
        let passwords = Passwords::new(2, 10);
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let storm = (0..40).map(|_| {
            let (passwords, now, peak) = (passwords.clone(), now.clone(), peak.clone());
            async move {
                let work = move |_: &mut Scratch| {
                    peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                passwords.run(work).await
            }
        });
        let outcomes = futures_util::future::join_all(storm).await;
        assert_eq!(peak.load(Ordering::SeqCst), 2);
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 12, "two run and ten wait");
        assert_eq!(passwords.run(|_| 7).await, Ok(7), "room again");
    }

    #[tokio::test]
    async fn the_memory_of_hashes_is_bounded_and_used_again() {
        let passwords = Passwords::new(2, 10);
        let storm = (0..8).map(|_| passwords.verify(secret("x"), None));
        futures_util::future::join_all(storm).await;
        assert!((1..=2).contains(&passwords.free.lock().len()));
        // Checked in memory that others have used, and in more than is kept.
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(passwords.verify(secret("correct horse"), Some(hash)).await.unwrap());
        let costly = "$argon2id$v=19$m=32768,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(check_hash(costly), Ok(()));
        assert!(!passwords.verify(secret("x"), Some(costly.to_owned())).await.unwrap());
        assert!(passwords.free.lock().iter().all(Scratch::is_usual));
    }

    #[test]
    fn hashes_are_what_argon2_itself_makes_and_reads() {
        use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
        let params = Params::new(64, 3, 2, Some(24)).unwrap();
        let theirs = Argon2::new(Algorithm::Argon2i, Version::V0x10, params);
        let hash = theirs.hash_password(b"correct horse").unwrap().to_string();
        assert!(Scratch::default().fits(&secret("correct horse"), &hash), "{hash}");
        assert!(!Scratch::default().fits(&secret("wrong horse"), &hash));
        let ours = Scratch::default().hash(&secret("correct horse"));
        assert!(
            Argon2::default().verify_password(b"correct horse", ours.as_str()).is_ok(),
            "{ours}"
        );
    }

    #[test]
    fn passwords_have_a_least_and_a_greatest_length() {
        assert_eq!(check(&secret("1234567")), Err(PasswordError::TooShort(7)));
        assert_eq!(check(&secret("ääääääää")), Ok(()));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(check(&secret(&long)), Err(PasswordError::TooLong(LONGEST + 1)));
    }

    #[test]
    fn foreign_hashes_must_be_argon2_at_a_fair_cost() {
        for bad in ["", "x", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=1$x"] {
            assert_eq!(check_hash(bad), Err(HashError::Form), "{bad}");
        }
        let without = &NOBODY[..NOBODY.find("p=1$").unwrap() + 3];
        for half in [without.to_owned(), format!("{without}$c2FsdHNhbHQ")] {
            assert_eq!(
                check_hash(&half),
                Err(HashError::Form),
                "{half}: no password would ever fit"
            );
        }
        let costly = NOBODY.replace("m=19456", "m=4000000");
        assert_eq!(check_hash(&costly), Err(HashError::Cost(4_000_000, 2, 1)));
    }
}
