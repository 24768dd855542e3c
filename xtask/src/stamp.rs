//! Remembers what a result was made from, so that it is made again only when that changed.
//!
//! Compares contents, not times: a fresh clone, a branch switched to and fro, a deleted
//! file all give the right answer. Knows nothing of what makes the result.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// One result: what goes in, what comes out, and the file that remembers both.
pub struct Stamp {
    file: PathBuf,
    inputs: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
}

impl Stamp {
    /// Describes a result. Paths are files or folders; an input may be absent.
    pub fn new(file: PathBuf, inputs: Vec<PathBuf>, outputs: Vec<PathBuf>) -> Self {
        Self { file, inputs, outputs }
    }

    /// Whether the outputs are there, and both sides are as [`Stamp::set`] saw them.
    pub fn is_fresh(&self) -> anyhow::Result<bool> {
        if !self.outputs.iter().all(|path| path.exists()) {
            return Ok(false);
        }
        match fs::read_to_string(&self.file) {
            Ok(remembered) => Ok(remembered == self.fingerprint()?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| cannot_read(&self.file)),
        }
    }

    /// Remembers both sides as they are now. Call it when the result was made.
    pub fn set(&self) -> anyhow::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&self.file, self.fingerprint()?)
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn fingerprint(&self) -> anyhow::Result<String> {
        // Its keys are fixed; should another Rust hash otherwise, the result is made once more.
        let mut hasher = DefaultHasher::new();
        for path in self.inputs.iter().chain(&self.outputs) {
            add(path, &mut hasher)?;
        }
        Ok(format!("{:016x}\n", hasher.finish()))
    }
}

fn add(path: &Path, hasher: &mut DefaultHasher) -> anyhow::Result<()> {
    path.hash(hasher);
    if path.is_dir() {
        let entries = fs::read_dir(path).with_context(|| cannot_read(path))?;
        let mut inside = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| cannot_read(path))?;
        inside.sort();
        return inside.iter().try_for_each(|path| add(path, hasher));
    }
    match fs::read(path) {
        Ok(bytes) => bytes.hash(hasher),
        Err(error) if error.kind() == ErrorKind::NotFound => "absent".hash(hasher),
        Err(error) => return Err(error).with_context(|| cannot_read(path)),
    }
    Ok(())
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        stamp: Stamp,
    }

    /// A result made of `src/` and of a file that may be absent.
    fn made() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("src/deep")).unwrap();
        fs::write(at("src/deep/page.ts"), "one").unwrap();
        fs::write(at("out"), "built").unwrap();
        let inputs = vec![at("src"), at("settings")];
        let stamp = Stamp::new(at("kept/stamp"), inputs, vec![at("out")]);
        assert!(!stamp.is_fresh().unwrap(), "never made");
        stamp.set().unwrap();
        assert!(stamp.is_fresh().unwrap());
        Fixture { folder, stamp }
    }

    impl Fixture {
        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.folder.path().join(name)).unwrap();
        }
    }

    #[test]
    fn a_changed_input_makes_the_result_stale_and_its_return_fresh() {
        let made = made();
        made.write("src/deep/page.ts", "two");
        assert!(!made.stamp.is_fresh().unwrap());
        made.write("src/deep/page.ts", "one");
        assert!(made.stamp.is_fresh().unwrap());
    }

    #[test]
    fn an_added_or_deleted_input_makes_the_result_stale() {
        let made = made();
        made.write("settings", "");
        assert!(!made.stamp.is_fresh().unwrap());
        made.remove("settings");
        assert!(made.stamp.is_fresh().unwrap());
        made.remove("src/deep/page.ts");
        assert!(!made.stamp.is_fresh().unwrap());
    }

    #[test]
    fn a_missing_or_foreign_output_is_made_again() {
        let made = made();
        made.write("out", "built by hand from something else");
        assert!(!made.stamp.is_fresh().unwrap());
        made.remove("out");
        assert!(!made.stamp.is_fresh().unwrap());
    }
}
