//! Standard output, whose reader may leave when he has seen enough.
//!
//! Knows nothing of what is said.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context as _, Result};

/// Prints a text as lines. Who closed the pipe (`| head -1`) misses the rest, and that is no error:
/// files are still to be written, and the status still says how it went.
///
/// # Errors
///
/// It cannot be written, as to a full disk.
pub fn say(text: impl Display) -> Result<()> {
    write(&mut stdout().lock(), text)
}

fn write(out: &mut impl Write, text: impl Display) -> Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("writing to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_has_left_is_no_error_and_a_full_disk_is() {
        write(&mut Fails(ErrorKind::BrokenPipe), "said").unwrap();
        let error = write(&mut Fails(ErrorKind::StorageFull), "said").unwrap_err().to_string();
        assert_eq!(error, "writing to standard output");
        let mut lines = Vec::new();
        write(&mut lines, "said").unwrap();
        assert_eq!(lines, b"said\n");
    }
}
