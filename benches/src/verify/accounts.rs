//! Whose devices there are: users that are registered for the run, or some that exist.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rally_schema::UserId;
use serde::Deserialize;
use uuid::Uuid;

use super::site::Site;
use super::tell;
use crate::stop::Stop;

/// Somebody who can log in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    user: UserId,
    password: String,
}

/// Reads accounts, a JSON object a line: `{"user": "ana", "password": "…"}`.
///
/// # Errors
///
/// The file cannot be read, names somebody twice, or fewer than two; or a line, which is named, is
/// no account. Passwords are in no error.
pub fn read(path: &Path) -> Result<Vec<Account>> {
    let named = || path.display().to_string();
    let file = File::open(path).with_context(named)?;
    let (mut accounts, mut known) = (Vec::<Account>::new(), BTreeSet::new());
    for (nth, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(named)?;
        let read = serde_json::from_str::<Account>(&line);
        // What serde says may quote what is there.
        let account = read.ok().with_context(|| {
            let nth = nth + 1;
            format!("{}, line {nth}: write {{\"user\": …, \"password\": …}}", path.display())
        })?;
        let is_new = known.insert(account.user);
        ensure!(is_new, "{}, line {}: {} comes twice", path.display(), nth + 1, account.user);
        accounts.push(account);
    }
    ensure!(accounts.len() > 1, "{}: name two users at least", path.display());
    Ok(accounts)
}

/// Gives users and their tokens: of accounts that exist, or of as many as are wanted that nobody
/// else has.
pub async fn log_in(
    accounts: Option<Vec<Account>>,
    wanted: u64,
    site: &Site,
    stop: &Stop,
) -> Result<Vec<(UserId, String)>> {
    let exist = accounts.is_some();
    let accounts = match accounts {
        Some(accounts) => accounts,
        None => fresh(wanted)?,
    };
    let mut people = Vec::new();
    for Account { user, password } in &accounts {
        if !exist {
            site.register(*user, password, stop).await?;
        }
        people.push((*user, site.log_in(*user, password, stop).await?));
        tell(&format!("{} of {} users are logged in", people.len(), accounts.len()));
    }
    Ok(people)
}

fn fresh(count: u64) -> Result<Vec<Account>> {
    let run = Uuid::new_v4().simple().to_string();
    let password = Uuid::new_v4().to_string();
    let account = |nth| {
        let user = format!("verify-{}-{nth}", &run[..8]).parse().context("a user's name")?;
        Ok(Account { user, password: password.clone() })
    };
    (0..count).map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_account_is_named_and_its_password_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        let ana = "{\"user\": \"ana\", \"password\": \"secret\"}";
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            format!("{:#}", read(&path).err().expect("it is refused"))
        };
        assert!(refused("").contains("two users"));
        assert!(refused(&format!("{ana}\n{ana}")).contains("line 2: ana comes twice"));
        for wrong in ["\"secret\"", "{\"user\": \"a b\", \"password\": \"secret\"}", "secret"] {
            let said = refused(&format!("{ana}\n{wrong}"));
            assert!(said.contains("line 2") && !said.contains("secret"), "{said}");
        }
        std::fs::write(&path, format!("{ana}\n{}", ana.replace("ana", "ben"))).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
    }

    #[test]
    fn accounts_for_a_run_are_as_many_as_are_wanted_and_of_no_other_run() {
        let names = |accounts: &[Account]| -> BTreeSet<UserId> {
            accounts.iter().map(|account| account.user).collect()
        };
        let (one, other) = (fresh(10_000).unwrap(), fresh(2).unwrap());
        assert_eq!((names(&one).len(), names(&other).len()), (10_000, 2));
        assert!(names(&one).is_disjoint(&names(&other)));
        assert_ne!(one[0].password, other[0].password, "who knows one run's knows no other's");
    }
}
