//! `rally-server users import`: accounts from a file, into a shared store, or the folder of
//! a node that is down.
//!
//! Reads a line at a time and writes in groups, so that a million lines need no more memory
//! than a thousand. A bad line ends the import, naming it: what came before it is there, and
//! importing again changes nothing of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use rally_cluster::store::{Store, StoreError, UserRow};
use rally_schema::UserId;
use serde::Deserialize;
use thiserror::Error;

use crate::config;
use crate::display_name;
use crate::keep::Keep;
use crate::node::StartError;
use crate::passwords::{self, HashError, PasswordError};
use crate::secret::Secret;

/// Accounts written at once.
const GROUP: usize = 1_000;

/// Why accounts were not imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is no account.
    #[error("line {number}: {what}")]
    BadLine {
        /// Which line, from 1.
        number: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The shared password is not allowed.
    #[error("the shared password: {0}")]
    Password(#[from] PasswordError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StartError),
    /// The store cannot be written.
    #[error(transparent)]
    Write(#[from] StoreError),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Lines read.
    pub lines: u64,
    /// Accounts that are new.
    pub new: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    user: UserId,
    name: Option<String>,
    hash: Option<Secret<String>>,
}

/// Imports the accounts in `file` (`-`: standard input) into the store that `settings` name.
pub async fn import(
    settings: &config::Store,
    file: &Path,
    password_file: Option<&Path>,
) -> Result<Imported, ImportError> {
    let shared = password_file.map(shared_hash).transpose()?;
    let lines = open(file)?;
    let keep = Keep::open(settings).await?;
    let imported = import_lines(&*keep.shared(), lines, shared.as_deref(), file).await;
    keep.close().await;
    imported
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, ImportError> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    match File::open(file) {
        Ok(opened) => Ok(Box::new(BufReader::new(opened))),
        Err(error) => Err(ImportError::Unreadable { file: file.to_owned(), error }),
    }
}

fn shared_hash(file: &Path) -> Result<String, ImportError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| ImportError::Unreadable { file: file.to_owned(), error })?;
    let password = Secret::new(text.lines().next().unwrap_or_default().to_owned());
    passwords::check(&password)?;
    Ok(passwords::hash_now(&password))
}

async fn import_lines(
    store: &dyn Store,
    lines: Box<dyn BufRead>,
    shared: Option<&str>,
    file: &Path,
) -> Result<Imported, ImportError> {
    let mut imported = Imported { lines: 0, new: 0 };
    let mut group = Vec::with_capacity(GROUP);
    for (number, line) in (1..).zip(lines.lines()) {
        let line =
            line.map_err(|error| ImportError::Unreadable { file: file.to_owned(), error })?;
        if line.trim().is_empty() {
            continue;
        }
        match account(&line, shared) {
            Ok(row) => group.push(row),
            Err(what) => {
                store.import_users(std::mem::take(&mut group)).await?;
                return Err(ImportError::BadLine { number, what });
            }
        }
        imported.lines += 1;
        if group.len() == GROUP {
            imported.new += store.import_users(std::mem::take(&mut group)).await?;
        }
    }
    imported.new += store.import_users(group).await?;
    Ok(imported)
}

/// Reads one line; says what is wrong with it.
fn account(line: &str, shared: Option<&str>) -> Result<UserRow, String> {
    let Line { user, name, hash } = if line.trim_start().starts_with('{') {
        serde_json::from_str(line).map_err(|error| error.to_string())?
    } else {
        let (user, name) = line.split_once(',').unwrap_or((line, ""));
        let user: UserId = user.trim().parse().map_err(|error| format!("{error}"))?;
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        Line { user, name, hash: None }
    };
    let name = display_name::check(name.as_deref().unwrap_or(user.as_str()))
        .map_err(|error| format!("{user}: {error}"))?;
    let password = match (hash, shared) {
        (Some(hash), _) => {
            passwords::check_hash(hash.expose())
                .map_err(|error: HashError| format!("{user}: {error}"))?;
            hash.expose().clone()
        }
        (None, Some(shared)) => shared.to_owned(),
        (None, None) => {
            return Err(format!("{user} has no hash: give one, or name --password-file"));
        }
    };
    Ok(UserRow { user, name, password: Some(password), epoch: 0, hide_presence: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_or_an_object() {
        let row = account("ana, Ana B", Some("h")).unwrap();
        assert_eq!((row.user.as_str(), &*row.name), ("ana", "Ana B"));
        let row = account(r#"{"user":"ana"}"#, Some("h")).unwrap();
        assert_eq!((&*row.name, row.password.as_deref()), ("ana", Some("h")));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        for (line, part) in [
            ("Ana,Ana", "bad user id \"Ana\""),
            ("ana", "has no hash"),
            (r#"{"user":"ana","pasword":"x"}"#, "unknown field"),
            (r#"{"user":"ana","hash":"x"}"#, "ana"),
        ] {
            let what = account(line, None).unwrap_err();
            assert!(what.contains(part), "{line}: {what}");
        }
    }
}
