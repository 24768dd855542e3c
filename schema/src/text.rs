//! What may stand in a message, and how much of it an inbox shows.

use crate::limits::{PREVIEW_CHARS, TEXT_BYTES};
use thiserror::Error;

/// Says why a text is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("the text is empty: send at least one visible character")]
    Empty,
    /// Too long.
    #[error("the text has {bytes} bytes: at most {TEXT_BYTES} are allowed")]
    TooLong {
        /// How many bytes it had.
        bytes: usize,
    },
}

/// Refuses a text that is empty or too long.
pub fn check(text: &str) -> Result<(), TextError> {
    if text.len() > TEXT_BYTES {
        return Err(TextError::TooLong { bytes: text.len() });
    }
    if text.chars().all(char::is_whitespace) {
        return Err(TextError::Empty);
    }
    Ok(())
}

/// Gives the beginning of a text as an inbox shows it: one line of at most [`PREVIEW_CHARS`].
pub fn preview(text: &str) -> String {
    let text = text.trim_start();
    let is_plain = |bytes: &[u8]| bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    // Nearly all that people write, and decided without looking at characters one by one.
    let first = text.as_bytes().get(..PREVIEW_CHARS).unwrap_or(text.as_bytes());
    if is_plain(first) {
        return text[..first.len()].trim_end().to_owned();
    }
    let end = text.char_indices().nth(PREVIEW_CHARS).map_or(text.len(), |(end, _)| end);
    let line = text[..end].trim_end();
    let bent = |c: char| c != ' ' && c.is_whitespace();
    if line.contains(bent) { line.replace(bent, " ") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_needs_something_visible_and_an_end() {
        assert_eq!(check(" \n\t"), Err(TextError::Empty));
        assert_eq!(check(""), Err(TextError::Empty));
        assert_eq!(check("x"), Ok(()));
        assert_eq!(check(&"x".repeat(TEXT_BYTES)), Ok(()));
        let long = "x".repeat(TEXT_BYTES + 1);
        assert_eq!(check(&long), Err(TextError::TooLong { bytes: TEXT_BYTES + 1 }));
    }

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(preview("  one\ntwo  "), "one two");
        assert_eq!(preview(&"é".repeat(500)).chars().count(), PREVIEW_CHARS);
        assert_eq!(preview(&"x".repeat(500)), "x".repeat(PREVIEW_CHARS));
        assert_eq!(preview(&format!("{} {}", "x".repeat(99), "y")), "x".repeat(99));
        let bent = format!("{}\ny", "x".repeat(99));
        assert_eq!(preview(&bent), "x".repeat(99), "what ends it is no part of it");
        assert_eq!(preview("one\u{a0}two\u{7f}"), "one two\u{7f}");
    }
}
