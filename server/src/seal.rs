//! Sealed claims: what Rally says now and believes later, because nobody else can say it.
//!
//! JSON with HMAC-SHA256 behind it, under a key that is derived from the store's secret for
//! one purpose, so that a seal made for one is no seal for another. Knows nothing of what is
//! claimed. Not encrypted: whoever holds it can read it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

/// Bytes of the code behind the claims.
const CODE: usize = 32;

/// Characters beyond which nothing is looked at: the longest seal of ours has about 400.
const LONGEST: usize = 1024;

/// Seals claims for one purpose, and opens what it sealed.
#[derive(Clone)]
pub struct Sealer(Hmac<Sha256>);

impl Sealer {
    /// Derives the key for `purpose` from the store's secret.
    pub fn new(secret: &[u8; 32], purpose: &str) -> Self {
        let mut derive = keyed(secret);
        derive.update(purpose.as_bytes());
        Self(keyed(&derive.finalize().into_bytes()))
    }

    /// Seals `claims` into one word of URL-safe characters.
    pub fn seal(&self, claims: &impl Serialize) -> String {
        let mut bytes =
            serde_json::to_vec(claims).expect("claims are plain structs of strings and numbers");
        let mut mac = self.0.clone();
        mac.update(&bytes);
        bytes.extend_from_slice(&mac.finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a seal; `None` unless this very key made it. Compares in constant time.
    pub fn open<T: DeserializeOwned>(&self, sealed: &str) -> Option<T> {
        if sealed.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (claims, code) = bytes.split_at_checked(bytes.len().checked_sub(CODE)?)?;
        let mut mac = self.0.clone();
        mac.update(claims);
        mac.verify_slice(code).ok()?;
        serde_json::from_slice(claims).ok()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_of_the_purpose_opens_a_seal() {
        let sealer = Sealer::new(&[7; 32], "one");
        let sealed = sealer.seal(&("ana", 5));
        assert_eq!(sealer.open::<(String, u32)>(&sealed), Some(("ana".to_owned(), 5)));
        assert_eq!(Sealer::new(&[7; 32], "two").open::<(String, u32)>(&sealed), None);
        assert_eq!(Sealer::new(&[8; 32], "one").open::<(String, u32)>(&sealed), None);
    }

    #[test]
    fn every_changed_character_breaks_the_seal() {
        let sealer = Sealer::new(&[7; 32], "one");
        // A length whose last character carries no unused bits, so that each one counts.
        let sealed = sealer.seal(&"seven");
        for at in 0..sealed.len() - 1 {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(sealer.open::<String>(&forged), None, "{at}");
        }
        for bad in ["", "A", "....", &sealed[..20], &"A".repeat(5_000)] {
            assert_eq!(sealer.open::<String>(bad), None);
        }
    }
}
