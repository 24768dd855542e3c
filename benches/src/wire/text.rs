//! Texts that name their message, so that whatever a server delivers can be checked.
//!
//! `0000000000000c0f` and then letters that follow from that number alone: a text that was cut,
//! mixed up or made up does not fit itself. They are not one repeated filler: a store that
//! compresses would look better than people let it.

use std::ops::Range;

use crate::dice::Dice;

/// Digits that name the message.
const DIGITS: usize = 16;

/// Letters that are checked of each text, since all of them would cost too much; but of one in so many,
/// by its number, all are.
const CHECKED: usize = 12;
const WHOLLY: usize = 16;

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

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// That of this message.
    Whole(usize),
    /// Another one, which begins with the number of this message or with none.
    Other(Option<usize>),
}

/// Reads a text, which has so many bytes if it is a message's.
pub fn read(text: &str, bytes: usize) -> Text {
    let named = text.split_at_checked(DIGITS).and_then(|(digits, letters)| {
        let seq = usize::from_str_radix(digits, 16).ok()?;
        Some((seq, letters))
    });
    let Some((seq, letters)) = named else { return Text::Other(None) };
    let checked = match seq.is_multiple_of(WHOLLY) {
        true => letters.len(),
        false => CHECKED.min(letters.len()),
    };
    let mut first = Vec::with_capacity(checked);
    Dice::new(seq as u64).text(checked, &mut first);
    match text.len() == bytes && letters.as_bytes().starts_with(&first) {
        true => Text::Whole(seq),
        false => Text::Other(Some(seq)),
    }
}

/// Whose a message is that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The run's, with this number in it.
    Ours(usize),
    /// An earlier run's or people's: a server that was used before has such.
    Others,
    /// Nobody wrote that.
    Nobodys,
}

/// Tells whose a text is, by the numbers of what the run has sent so far. What is read from the store
/// may be anybody's, unless it claims a number of this run and is not that message.
pub fn whose(text: Text, run: &Range<usize>, stored: bool) -> Whose {
    match text {
        Text::Whole(number) if run.contains(&number) => Whose::Ours(number - run.start),
        Text::Other(Some(number)) if run.contains(&number) => Whose::Nobodys,
        Text::Whole(number) | Text::Other(Some(number)) if number < run.start => Whose::Others,
        Text::Whole(_) | Text::Other(_) if stored => Whose::Others,
        Text::Whole(_) | Text::Other(_) => Whose::Nobodys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_used_server_has_is_not_taken_for_what_it_garbled() {
        let run = 1_000..1_010;
        for stored in [false, true] {
            assert_eq!(whose(Text::Whole(1_003), &run, stored), Whose::Ours(3));
            assert_eq!(whose(Text::Other(Some(1_003)), &run, stored), Whose::Nobodys, "garbled");
            // Of an earlier run, with texts of this length or of another.
            assert_eq!(whose(Text::Whole(7), &run, stored), Whose::Others);
            assert_eq!(whose(Text::Other(Some(7)), &run, stored), Whose::Others);
        }
        // What people wrote, and what nobody has sent yet, is in a store and not in a push.
        for text in [Text::Other(None), Text::Whole(1_010), Text::Other(Some(1_010))] {
            assert_eq!(whose(text, &run, true), Whose::Others, "{text:?}");
            assert_eq!(whose(text, &run, false), Whose::Nobodys, "{text:?}");
        }
    }

    #[test]
    fn a_text_names_its_message_and_no_other_text_does() {
        let mut text = String::new();
        for seq in [0, 1, 77, 1 << 40] {
            for bytes in [20, 100, 1_000] {
                write(seq, bytes, &mut text);
                assert_eq!((text.len(), read(&text, bytes)), (bytes, Text::Whole(seq)));
                assert_eq!(read(&text, bytes + 1), Text::Other(Some(seq)), "another length");
                assert!(matches!(read(&text[1..], bytes - 1), Text::Other(_)));
            }
        }
        write(7, 100, &mut text);
        let other = text.replacen("0000000000000007", "0000000000000008", 1);
        assert_eq!(read(&other, 100), Text::Other(Some(8)));
        for bad in ["", "hello", "zzzzzzzzzzzzzzzz----", "äöüäöüäöüäöü"] {
            assert_eq!(read(bad, bad.len()), Text::Other(None));
        }
    }
}
