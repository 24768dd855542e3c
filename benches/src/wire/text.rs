//! Texts that name their message, so that whatever a server delivers can be checked.
//!
//! `0000000000000c0f` and then letters that follow from that number alone: a text that was cut,
//! mixed up or made up does not fit itself. They are not one repeated filler: a store that
//! compresses would look better than people let it.

use crate::dice::Dice;

/// Digits that name the message.
const DIGITS: usize = 16;

/// Letters that are checked of each text, since all of them would cost too much.
const CHECKED: usize = 12;

/// Writes the text of message `seq`, of so many bytes, at least 20.
pub fn write(seq: usize, bytes: usize, out: &mut String) {
    use std::fmt::Write as _;
    out.clear();
    // Writing to a String cannot fail.
    let _ = write!(out, "{seq:0DIGITS$x}");
    let mut letters = std::mem::take(out).into_bytes();
    Dice::new(seq as u64).text(bytes.saturating_sub(DIGITS), &mut letters);
    *out = String::from_utf8(letters).expect("digits and letters are UTF-8");
}

/// Gives the message that a text of so many bytes names, if it is that message's text.
pub fn read(text: &str, bytes: usize) -> Option<usize> {
    let (digits, letters) = text.split_at_checked(DIGITS)?;
    let seq = usize::from_str_radix(digits, 16).ok()?;
    let mut first = Vec::with_capacity(CHECKED);
    Dice::new(seq as u64).text(CHECKED.min(letters.len()), &mut first);
    let fits = text.len() == bytes && letters.as_bytes().starts_with(&first);
    fits.then_some(seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_its_message_and_no_other_text_does() {
        let mut text = String::new();
        for seq in [0, 1, 77, 1 << 40] {
            for bytes in [20, 100, 1_000] {
                write(seq, bytes, &mut text);
                assert_eq!((text.len(), read(&text, bytes)), (bytes, Some(seq)));
                assert_eq!(read(&text, bytes + 1), None, "another length");
                assert_eq!(read(&text[1..], bytes - 1), None);
            }
        }
        write(7, 100, &mut text);
        let other = text.replacen("0000000000000007", "0000000000000008", 1);
        assert_eq!(read(&other, 100), None);
        for bad in ["", "hello", "zzzzzzzzzzzzzzzz----", "äöüäöüäöüäöü"] {
            assert_eq!(read(bad, bad.len()), None);
        }
    }
}
