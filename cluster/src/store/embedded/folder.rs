//! The store's folder: whose it is, of which format, and whether it can be used.
//!
//! ```text
//! DIR/lock        held while a process uses the folder; says which one
//! DIR/format-1/   the engine's files; the name is the format
//! ```
//!
//! The format is the name of a folder so that it can be read without opening anything, and so
//! that a store appears whole, by one rename, or not at all.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The format that this version reads and writes.
pub const FORMAT: u32 = 1;

/// Before the number, in the name of the engine's folder.
const PREFIX: &str = "format-";

/// How much the probe writes: less than this left is a full disk.
const PROBE_BYTES: usize = 1 << 20;

/// Why a store was not opened. Nothing in the folder was changed, but for its lock.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Something else has the path.
    #[error("{0} is not a folder: name a folder, or one that does not exist yet")]
    NotAFolder(PathBuf),
    /// Another process has it.
    #[error("the store in {folder} is in use by {by}: stop that one, or name another folder")]
    Locked {
        /// Which folder.
        folder: PathBuf,
        /// Who holds it.
        by: String,
    },
    /// Nothing can be written there.
    #[error("{folder} cannot be written ({source}): give this user write access to it")]
    ReadOnly {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk of {folder} is full ({source}): free some space and start again")]
    Full {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier or later version made it.
    #[error(
        "the store in {folder} has format {found}, and this version reads format {supported}: \
         start the version that made it, or name another folder"
    )]
    OtherFormat {
        /// Which folder.
        folder: PathBuf,
        /// What is there.
        found: String,
        /// What is understood.
        supported: u32,
    },
    /// It holds something that is no store.
    #[error("{folder} is not empty and holds no store (but {name:?}): name another folder")]
    Foreign {
        /// Which folder.
        folder: PathBuf,
        /// What is there.
        name: String,
    },
    /// What is there cannot be read.
    #[error(
        "the store in {folder} is damaged ({what}): keep a copy of the folder, then restore a \
         backup into it, or name another folder"
    )]
    Damaged {
        /// Which folder.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Something else went wrong.
    #[error("{folder} cannot be used: {source}")]
    Io {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Says what an error of the system means to whoever named the folder.
    pub(super) fn io(folder: &Path, source: io::Error) -> Self {
        let folder = folder.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { folder, source }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { folder, source },
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder(folder),
            _ => Self::Io { folder, source },
        }
    }

    /// Says what an error of the engine means.
    pub(super) fn engine(folder: &Path, error: fjall::Error) -> Self {
        let folder = folder.to_owned();
        match error {
            // What the engine misses or cannot read to its end is damage, not a lack of rights.
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source))
                if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) =>
            {
                Self::io(&folder, source)
            }
            fjall::Error::Locked => Self::Locked { folder, by: "another process".into() },
            other => Self::Damaged { folder, what: other.to_string() },
        }
    }
}

/// What stands in a folder.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Store,
}

/// A folder that this process holds.
pub(super) struct Folder {
    path: PathBuf,
    /// Held until the last use of the folder ends.
    _lock: File,
}

impl Folder {
    /// Takes the folder, making it if need be; says whether a store is in it.
    pub(super) fn take(path: &Path) -> Result<(Self, bool), OpenError> {
        let failed = |source| OpenError::io(path, source);
        if path.exists() && !path.is_dir() {
            return Err(OpenError::NotAFolder(path.to_owned()));
        }
        make_private(path).map_err(failed)?;
        look(path)?;
        let lock = lock(path)?;
        // Once more: another process may have finished making it.
        let found = look(path)?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.probe()?;
        Ok((folder, found == Found::Store))
    }

    /// Where the engine keeps its files.
    pub(super) fn engine(&self) -> PathBuf {
        self.path.join(format!("{PREFIX}{FORMAT}"))
    }

    /// Where the engine's files are made: a crash leaves nothing that looks like a store.
    pub(super) fn unfinished(&self) -> Result<PathBuf, OpenError> {
        let path = self.path.join("unfinished");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(OpenError::io(&self.path, error))
            }
            _ => Ok(path),
        }
    }

    /// Gives the finished files their name, durably.
    pub(super) fn finish(&self, unfinished: &Path) -> Result<(), OpenError> {
        let finish = || {
            // The engine syncs what is in its folders, and not that each stands in the next.
            sync_below(unfinished)?;
            fs::rename(unfinished, self.engine())?;
            sync(&self.path)?;
            // This folder may be new, and those above it; whose are not this user's, he may not
            // be able to read.
            for above in self.path.canonicalize()?.ancestors().skip(1) {
                match sync(above) {
                    Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        };
        finish().map_err(|error| OpenError::io(&self.path, error))
    }

    /// Fails when nothing can be written here now, saying why.
    pub(super) fn probe(&self) -> Result<(), OpenError> {
        let path = self.path.join("probe");
        let written = File::create(&path).and_then(|mut file| file.write_all(&[1; PROBE_BYTES]));
        let removed = fs::remove_file(&path);
        written.and(removed).map_err(|error| OpenError::io(&self.path, error))
    }

    /// The folder's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder's path as text.
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the names in a folder durable, and those in all folders below it.
fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_below(&entry.path())?;
        }
    }
    sync(folder)
}

/// Makes a folder that only its owner may read: it will hold a secret.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Tells what is in the folder, touching nothing.
fn look(path: &Path) -> Result<Found, OpenError> {
    let failed = |source| OpenError::io(path, source);
    let folder = || path.to_owned();
    let mut found = Found::Nothing;
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        match name.strip_prefix(PREFIX) {
            Some(format) if format == FORMAT.to_string() => found = Found::Store,
            Some(format) => {
                let (found, supported) = (format.to_owned(), FORMAT);
                return Err(OpenError::OtherFormat { folder: folder(), found, supported });
            }
            // The last is what a file system keeps in the root of a disk of its own.
            None if matches!(&*name, "lock" | "probe" | "unfinished" | "lost+found") => {}
            None => return Err(OpenError::Foreign { folder: folder(), name }),
        }
    }
    Ok(found)
}

/// Locks the folder for this process and says in it who did.
fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::io(path, source);
    let name = path.join("lock");
    let mut options = File::options();
    let mut file =
        options.create(true).truncate(false).read(true).write(true).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let by = fs::read_to_string(&name).unwrap_or_default();
            let by = if by.is_empty() { "another process".to_owned() } else { by };
            return Err(OpenError::Locked { folder: path.to_owned(), by });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // Only told to people: a full disk may refuse it.
    let told = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
    if let Err(error) = told {
        tracing::debug!(%error, "lock not labelled");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        Folder::take(path).err().expect("refused").to_string()
    }

    #[test]
    fn a_new_folder_is_made_and_taken_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let (first, store) = Folder::take(&path).unwrap();
        assert!(!store);
        let error = refused(&path);
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(Folder::take(&path).is_ok());
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        assert!(refused(&path).contains("is not a folder"));
        assert!(refused(&path.join("below")).contains("is not a folder"));
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }

    #[test]
    fn another_format_is_named_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("format-7")).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("has format 7, and this version reads format 1"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn somebody_else_s_folder_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert!(refused(dir.path()).contains("thesis.txt"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_of_the_system_say_what_to_do() {
        let text = |kind: ErrorKind| OpenError::io(Path::new("/d"), kind.into()).to_string();
        assert!(text(ErrorKind::ReadOnlyFilesystem).starts_with("/d cannot be written"));
        assert!(text(ErrorKind::PermissionDenied).ends_with("give this user write access to it"));
        assert!(text(ErrorKind::StorageFull).starts_with("the disk of /d is full"));
        assert!(text(ErrorKind::QuotaExceeded).starts_with("the disk of /d is full"));
        let lost = fjall::Error::Io(ErrorKind::NotFound.into());
        let text = OpenError::engine(Path::new("/d"), lost).to_string();
        assert!(text.starts_with("the store in /d is damaged"), "{text}");
    }
}
