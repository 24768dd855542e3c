//! Secrets between programs of this machine: made once, kept in a file that its owner alone reads.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Gives the secret of a file, which is made where it is missing.
pub fn keep(file: &Path) -> anyhow::Result<String> {
    if !file.exists() {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        fs::write(file, random.map(|byte| format!("{byte:02x}")).concat())?;
        fs::set_permissions(file, Permissions::from_mode(0o400))?;
    }
    Ok(fs::read_to_string(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_stays_as_it_was_made_and_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        let secret = keep(&one).unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(keep(&one).unwrap(), secret);
        assert_ne!(keep(&other).unwrap(), secret);
        assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o400);
    }
}
