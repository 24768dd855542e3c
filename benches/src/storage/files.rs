//! How much of the disk tables of Cassandra take, seen in its data folder.
//!
//! A table has a folder called like it and then like its id, in that of its keyspace; its indices
//! have theirs in that one. Knows no CQL.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use thiserror::Error;

use crate::disk::bytes_of;

/// Why a folder says nothing about tables.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The folder is not a Cassandra's.
    #[error(
        "{} holds no folder `system`: it is not the one that cassandra.yaml names in \
         data_file_directories", .0.display()
    )]
    NoData(PathBuf),
    /// The folder is another Cassandra's.
    #[error("{} holds no table of keyspace {keyspace}: it is another Cassandra's", data.display())]
    OtherData {
        /// Which folder.
        data: PathBuf,
        /// What is not in it.
        keyspace: String,
    },
}

/// A data folder of Cassandra.
#[derive(Debug)]
pub struct Files(PathBuf);

impl Files {
    /// Takes a folder for one, if it looks like one.
    pub fn of(data: &Path) -> Result<Self, FolderError> {
        match data.join("system").is_dir() {
            true => Ok(Self(data.to_owned())),
            false => Err(FolderError::NoData(data.to_owned())),
        }
    }

    /// Sums the files of tables, those of their indices included; nothing while one has none yet,
    /// or files go while they are looked at.
    pub fn bytes(&self, keyspace: &str, tables: &[&str]) -> Result<Option<u64>> {
        let Ok(folders) = std::fs::read_dir(self.0.join(keyspace)) else {
            let (data, keyspace) = (self.0.clone(), keyspace.to_owned());
            return Err(FolderError::OtherData { data, keyspace }.into());
        };
        let (mut sum, mut found) = (0, 0);
        for folder in folders {
            let folder = folder?.path();
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_wanted = |(table, _): (&str, &str)| tables.contains(&table);
            if !name.rsplit_once('-').is_some_and(is_wanted) {
                continue;
            }
            match holds_rows(&folder).and_then(|holds| Ok((holds, bytes_of(&folder)?))) {
                Ok((true, bytes)) => (sum, found) = (sum + bytes, found + 1),
                Ok((false, _)) => return Ok(None),
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok((found == tables.len()).then_some(sum))
    }
}

/// Tells whether a table has a file of rows.
fn holds_rows(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        if entry?.file_name().to_string_lossy().ends_with("-Data.db") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_gone(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    #[test]
    fn indices_count_and_other_tables_do_not_and_a_table_without_files_is_waited_for() {
        let data = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = data.path().join(name);
            create_dir_all(&folder).unwrap();
            folder
        };
        folder("system");
        let messages = folder("ks/messages-0a1b");
        write(messages.join("nb-1-big-Data.db"), [1; 5_000]).unwrap();
        write(folder("ks/messages-0a1b/.by_user").join("nb-1-big-Data.db"), [1; 5_000]).unwrap();
        write(folder("ks/messages_old-0a1b").join("nb-1-big-Data.db"), [1; 5_000]).unwrap();
        let files = Files::of(data.path()).unwrap();
        let seen = |tables: &[&str]| files.bytes("ks", tables).unwrap();
        let expected = bytes_of(&messages).unwrap();
        assert!(expected >= 10_000, "{expected}");
        assert_eq!(seen(&["messages"]), Some(expected));
        assert_eq!(seen(&["messages", "inbox"]), None, "its folder is not there yet");
        let inbox = folder("ks/inbox-2c");
        assert_eq!(seen(&["messages", "inbox"]), None, "nothing was flushed yet");
        write(inbox.join("nb-1-big-Data.db"), [1; 5_000]).unwrap();
        assert!(seen(&["messages", "inbox"]) > Some(expected));
    }

    #[test]
    fn a_folder_of_something_else_is_refused_by_name() {
        let data = tempfile::tempdir().unwrap();
        let error = Files::of(data.path()).unwrap_err().to_string();
        assert!(error.contains(&data.path().display().to_string()), "{error}");
        create_dir_all(data.path().join("system")).unwrap();
        let files = Files::of(data.path()).unwrap();
        let error = files.bytes("ks", &["messages"]).unwrap_err().to_string();
        assert!(error.contains("no table of keyspace ks"), "{error}");
    }
}
