//! The tables of a store on Cassandra or ScyllaDB, as numbered CQL files.
//!
//! A migration that was released never changes: stores remember the checksum of its text. What
//! has to differ comes as the next number. Every statement can be repeated (`IF NOT EXISTS`),
//! because a node may die between two of them. Knows nothing of sessions.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// One step of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its place, from 1 on, without gaps.
    pub number: u32,
    /// What it is about.
    pub name: &'static str,
    /// The CQL, with its reasons.
    pub text: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal $file:literal)*) => {
        &[$(Migration {
            number: $number,
            name: $name,
            text: include_str!(concat!("../migrations/", $file)),
        }),*]
    };
}

/// All migrations, in the order in which they are applied.
pub const MIGRATIONS: &[Migration] = migrations! {
    1 "conversations" "0001_conversations.cql"
    2 "partitions_of_users" "0002_partitions_of_users.cql"
    3 "people" "0003_people.cql"
    4 "cluster" "0004_cluster.cql"
    5 "dated" "0005_dated.cql"
};

/// The table that remembers what was applied, with `$id` where its own id goes.
pub const LEDGER: Migration = Migration {
    number: 0,
    name: "migrations",
    text: include_str!("../migrations/0000_migrations.cql"),
};

impl Migration {
    /// Gives its statements one by one, without comments.
    pub fn statements(&self) -> Vec<String> {
        let lines = self.text.lines().filter(|line| !line.trim_start().starts_with("--"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let statements = code.split(';').map(str::trim).filter(|one| !one.is_empty());
        statements.map(str::to_owned).collect()
    }

    /// Gives the SHA-256 of its text, in hexadecimal.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.text).iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes all");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn they_are_numbered_from_one_without_gaps_and_every_file_is_listed() {
        assert!(MIGRATIONS.iter().map(|one| one.number).eq(1..=MIGRATIONS.len() as u32));
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        let all = [LEDGER].into_iter().chain(MIGRATIONS.iter().copied());
        let listed = all.map(|one| format!("{:04}_{}.cql", one.number, one.name));
        assert!(listed.eq(files));
    }

    #[test]
    fn every_statement_creates_one_table_and_can_be_repeated() {
        let mut tables = Vec::new();
        for migration in [LEDGER].iter().chain(MIGRATIONS) {
            for statement in migration.statements() {
                let rest = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ");
                let rest = rest.unwrap_or_else(|| panic!("not repeatable: {statement}"));
                tables.extend(rest.split_whitespace().next().map(str::to_owned));
                let balance =
                    |open, close| rest.matches(open).count() == rest.matches(close).count();
                assert!(balance('(', ')') && balance('{', '}'), "cut short: {statement}");
                assert!(!rest.contains("--"), "a comment in {statement}");
            }
        }
        let expected = [
            "migrations",
            "messages",
            "buckets",
            "inbox",
            "changes",
            "users",
            "users_by_letter",
            "blocks",
            "presence",
            "revocations",
            "nodes",
            "store",
            "dated",
        ];
        assert_eq!(tables, expected);
    }

    #[test]
    fn entries_of_the_log_live_as_long_as_the_protocol_says() {
        let seconds = crate::limits::CHANGE_DAYS * 24 * 60 * 60;
        let changes = MIGRATIONS[1].text;
        assert!(changes.contains(&format!("default_time_to_live = {seconds}\n")));
    }

    #[test]
    fn released_texts_never_change() {
        let known = MIGRATIONS.iter().map(|one| one.checksum()[..8].to_owned());
        let released = ["3315a8ad", "89112261", "110684b6", "64451380", "025ab4ab"];
        assert_eq!(known.collect::<Vec<_>>(), released);
    }
}
