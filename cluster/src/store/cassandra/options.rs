//! How to reach the database, and why that may fail.

use std::fmt;

use scylla::errors::NewSessionError;
use thiserror::Error;

use super::super::StoreError;

/// How the store works. The defaults are one database node on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Nodes to ask first, as `host:port`; the others are learnt from them.
    pub contact_points: Vec<String>,
    /// Which keyspace; made when it is missing. `[a-z][a-z0-9_]{0,47}`.
    pub keyspace: String,
    /// On how many nodes of the datacenter each row is kept: 1, or 3 to survive the death of any
    /// one. Used when the keyspace is made; another factor of one that exists is refused.
    pub replication_factor: u8,
    /// Whose nodes are asked and make up a quorum; may be left out where there is only one.
    pub local_datacenter: Option<String>,
    /// Name and password, where the database asks for them.
    pub credentials: Option<Credentials>,
    /// How long one request may take before nobody knows what became of it, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long connecting to one node may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How many requests may be under way at once; what comes then is refused as busy.
    pub in_flight: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "rally".to_owned(),
            replication_factor: 1,
            local_datacenter: None,
            credentials: None,
            request_timeout_ms: 4_000,
            connect_timeout_ms: 5_000,
            in_flight: 2_048,
        }
    }
}

/// Who logs in to the database. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why the store does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// An option that cannot be meant.
    #[error("bad store option: {0}")]
    Option(String),
    /// Nobody answered.
    #[error("cannot connect to {contact_points}: {error}")]
    Connect {
        /// Who was asked.
        contact_points: String,
        /// What was said.
        #[source]
        error: Box<NewSessionError>,
    },
    /// The datacenter is not there, or not the only one.
    #[error(
        "local datacenter {} is none of {known:?}: name one of these",
        asked.as_deref().unwrap_or("(not named)")
    )]
    Datacenter {
        /// Which was asked for, if any.
        asked: Option<String>,
        /// Which there are.
        known: Vec<String>,
    },
    /// The keyspace is to be kept on more nodes than there are.
    #[error(
        "a row cannot be kept {asked} times on the {nodes} nodes of {datacenter}: start more, or \
         ask for 1"
    )]
    TooFewNodes {
        /// In which datacenter.
        datacenter: String,
        /// How many nodes it has.
        nodes: usize,
        /// Which factor was asked for.
        asked: u8,
    },
    /// The keyspace exists and is kept otherwise than asked.
    #[error(
        "keyspace {keyspace} is kept {found:?} times in {datacenter}, not {asked}: ask for that, or \
         ALTER KEYSPACE and repair"
    )]
    Replication {
        /// Which keyspace.
        keyspace: String,
        /// In which datacenter.
        datacenter: String,
        /// Which factor was asked for.
        asked: u8,
        /// What the keyspace says; none when it is not kept there at all.
        found: Option<String>,
    },
    /// The text of a migration is not the one that was applied.
    #[error(
        "migration {number} {name} was applied with another text ({found}, here {expected}): a \
         released migration never changes"
    )]
    Changed {
        /// Which.
        number: u32,
        /// Its name here.
        name: &'static str,
        /// The checksum here.
        expected: String,
        /// The checksum of what was applied.
        found: String,
    },
    /// The store was migrated by a later version.
    #[error("migration {number} {name} is of a later version: this one knows {known} migrations")]
    Later {
        /// Which.
        number: u32,
        /// Its name.
        name: String,
        /// How many migrations there are here.
        known: usize,
    },
    /// A migration was skipped.
    #[error("migration {number} {name} was never applied, but a later one was")]
    Gap {
        /// Which.
        number: u32,
        /// Its name.
        name: &'static str,
    },
    /// Somebody else has been applying migrations for too long.
    #[error("another node has held the migration lock for {waited_ms} ms")]
    Locked {
        /// How long this node waited.
        waited_ms: u64,
    },
    /// The lock was lost while migrations were applied.
    #[error("the migration lock was lost before migration {number} {name} was done")]
    LockLost {
        /// What was being done.
        number: u32,
        /// Its name.
        name: &'static str,
    },
    /// A statement of a migration failed, as far as is known.
    #[error(
        "{error}; it may still be under way, so the migration lock stays for up to {lock_s} s, and \
         whoever starts waits for that"
    )]
    Migration {
        /// What was said.
        #[source]
        error: Box<OpenError>,
        /// For how long the lock was taken.
        lock_s: i32,
    },
    /// A statement failed.
    #[error("{what} failed: {error}")]
    Statement {
        /// What was being done.
        what: String,
        /// What was said.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What the store knows of itself could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Says which statement failed.
    pub(super) fn statement(
        what: impl Into<String>,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Statement { what: what.into(), error: Box::new(error) }
    }
}

impl Options {
    /// Refuses what cannot be meant, and what would not survive in a statement.
    pub(super) fn checked(self) -> Result<Self, OpenError> {
        let bad = |what: String| Err(OpenError::Option(what));
        let mut letters = self.keyspace.chars();
        let head = letters.next().is_some_and(|c| c.is_ascii_lowercase());
        let tail = letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !head || !tail || self.keyspace.len() > 48 {
            return bad(format!("keyspace {:?}: expected [a-z][a-z0-9_]{{0,47}}", self.keyspace));
        }
        if self.contact_points.is_empty() {
            return bad("contact_points is empty: name at least one host:port".to_owned());
        }
        if self.replication_factor == 0 || self.in_flight == 0 || self.request_timeout_ms == 0 {
            return bad(
                "replication_factor, in_flight and request_timeout_ms begin at 1".to_owned()
            );
        }
        if self.local_datacenter.as_ref().is_some_and(|name| name.contains('\'')) {
            return bad(format!("local_datacenter {:?}", self.local_datacenter));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials { user: "rally".into(), password: "sesame".into() };
        let options = Options { credentials: Some(credentials), ..Options::default() };
        let shown = format!("{options:?} {options:#?}");
        assert!(shown.contains("rally") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn a_keyspace_that_would_break_out_of_its_statement_is_refused() {
        for bad in ["", "1", "Rally", "rally; DROP", "a-b", "a\"", &"a".repeat(49)] {
            let options = Options { keyspace: bad.to_owned(), ..Options::default() };
            let error = options.checked().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        assert!(Options::default().checked().is_ok());
        assert!(Options { in_flight: 0, ..Options::default() }.checked().is_err());
        assert!(Options { contact_points: vec![], ..Options::default() }.checked().is_err());
    }
}
