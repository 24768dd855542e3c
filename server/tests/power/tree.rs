//! All that is below a folder, by inode: read from a real one, and written as a new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::Path;

/// What is written to a file at once. Zeros are left out, or each journal would cost 64 MiB.
const PAGE: usize = 4_096;

/// Names in a folder, and what they stand for.
pub type Names = BTreeMap<String, u64>;

/// Folders and files, by inode.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The folder that all is below.
    pub root: u64,
    /// What stands in each folder.
    pub folders: BTreeMap<u64, Names>,
    /// What is in each file.
    pub files: BTreeMap<u64, Vec<u8>>,
}

impl Tree {
    /// Reads what is below a folder. `look` sees each file and folder, and gives what is in it.
    pub fn read(root: &Path, mut look: impl FnMut(&Path) -> Vec<u8>) -> Self {
        let mut tree = Self { root: fs::metadata(root).unwrap().ino(), ..Self::default() };
        let mut folders = vec![(tree.root, root.to_owned())];
        while let Some((folder, path)) = folders.pop() {
            let mut names = Names::new();
            for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
                names.insert(entry.file_name().into_string().unwrap(), entry.ino());
                let content = look(&entry.path());
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push((entry.ino(), entry.path())),
                    false => drop(tree.files.insert(entry.ino(), content)),
                }
            }
            tree.folders.insert(folder, names);
        }
        tree
    }

    /// Writes it as a new folder.
    pub fn write(&self, path: &Path) {
        self.write_folder(self.root, path);
    }

    fn write_folder(&self, folder: u64, path: &Path) {
        fs::create_dir(path).unwrap();
        for (name, inode) in &self.folders[&folder] {
            match self.files.get(inode) {
                Some(bytes) => write_file(&path.join(name), bytes),
                None => self.write_folder(*inode, &path.join(name)),
            }
        }
    }
}

fn write_file(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    for (nth, page) in bytes.chunks(PAGE).enumerate() {
        if *page != [0; PAGE][..page.len()] {
            file.seek(SeekFrom::Start((nth * PAGE) as u64)).unwrap();
            file.write_all(page).unwrap();
        }
    }
    file.set_len(bytes.len() as u64).unwrap();
}
