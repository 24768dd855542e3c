//! What the layer writes down of a process and its files, one record after the other.
//!
//! Shared by the layer, which writes, and by the test, which reads it after the cut.

/// Something that a process did to one of its files or folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which file or folder.
    pub inode: u64,
    /// What was done.
    pub act: Act,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Bytes were written.
    Write {
        /// Where they begin.
        at: u64,
        /// Which.
        bytes: Vec<u8>,
    },
    /// The file was given a length.
    Resize(u64),
    /// A sync has ended that began when there were so many records: it covers those of its file.
    Synced(u64),
    /// A sync of a folder has ended. It covers what stood in there when it began.
    Listed {
        /// How many records there were when it began.
        began: u64,
        /// Inode and name of each entry, a line each.
        entries: String,
    },
}

/// Kind, inode, a number, and how many bytes follow.
const HEAD: usize = 1 + 8 + 8 + 4;

impl Record {
    /// Gives its bytes.
    #[allow(dead_code, reason = "the layer writes")]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, number, bytes) = match &self.act {
            Act::Write { at, bytes } => (0, *at, bytes.as_slice()),
            Act::Resize(len) => (1, *len, &[][..]),
            Act::Synced(began) => (2, *began, &[][..]),
            Act::Listed { began, entries } => (3, *began, entries.as_bytes()),
        };
        let mut out = Vec::with_capacity(HEAD + bytes.len());
        out.push(kind);
        out.extend(self.inode.to_le_bytes());
        out.extend(number.to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
        out
    }

    /// Takes one off the front; `None` at the end, which a killed process may leave torn.
    #[allow(dead_code, reason = "the test reads")]
    pub fn take(from: &mut &[u8]) -> Option<Self> {
        let (head, rest) = from.split_first_chunk::<HEAD>()?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|nth| head[at + nth]));
        let len = u32::from_le_bytes(std::array::from_fn(|nth| head[17 + nth])) as usize;
        let (bytes, rest) = rest.split_at_checked(len)?;
        let act = match head[0] {
            0 => Act::Write { at: number(9), bytes: bytes.to_vec() },
            1 => Act::Resize(number(9)),
            2 => Act::Synced(number(9)),
            3 => Act::Listed { began: number(9), entries: str::from_utf8(bytes).ok()?.to_owned() },
            _ => return None,
        };
        *from = rest;
        Some(Self { inode: number(1), act })
    }
}
