//! What a user may be called on other people's screens.

use icu_properties::CodePointSetData;
use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint};

/// Most characters of a name.
const CHARACTERS: usize = 64;

/// Why a text is no name; the text itself is not quoted, since a terminal may not survive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or too much.
    #[error("a name has 1 to {CHARACTERS} characters: this one has {0}")]
    Length(usize),
    /// A line break, a tabulator, or another character that is none to see.
    #[error("a name is one line of text: this one has the control character U+{:04X}", u32::from(*.0))]
    Control(char),
    /// Blanks, and characters of no width.
    #[error("a name shows something: this one has no visible character")]
    Invisible,
}

/// Trims a name.
///
/// Refuses what would be no line of its own, or would turn round the sentence in which it stands:
/// control characters, and those of writing direction (Unicode Standard Annex 9). A mark that
/// belongs to a script's own spelling, such as the joiner of an emoji, is let through.
pub fn check(name: &str) -> Result<String, NameError> {
    let (turns, unseen) = (
        CodePointSetData::new::<BidiControl>(),
        CodePointSetData::new::<DefaultIgnorableCodePoint>(),
    );
    let name = name.trim();
    let characters = name.chars().count();
    if characters == 0 || characters > CHARACTERS {
        return Err(NameError::Length(characters));
    }
    let breaks_out =
        |c: &char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns.contains(*c);
    if let Some(control) = name.chars().find(breaks_out) {
        return Err(NameError::Control(control));
    }
    if name.chars().all(|c| c.is_whitespace() || unseen.contains(c)) {
        return Err(NameError::Invisible);
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_scripts_are_taken_as_they_are() {
        for name in
            ["Ana", "Renée O'Brien", "محمد", "דנה", "王芳", "👩\u{200d}💻", "x".repeat(64).as_str()]
        {
            assert_eq!(check(&format!(" {name} ")).as_deref(), Ok(name));
        }
    }

    #[test]
    fn a_name_shows_itself_and_turns_nothing_round() {
        let cases = [
            ("", NameError::Length(0)),
            (" \u{3000} ", NameError::Length(0)),
            (&"x".repeat(65), NameError::Length(65)),
            ("a\nb", NameError::Control('\n')),
            ("a\u{2028}b", NameError::Control('\u{2028}')),
            ("\u{202e}ana", NameError::Control('\u{202e}')),
            ("ana\u{2066}", NameError::Control('\u{2066}')),
            ("\u{200b}", NameError::Invisible),
            ("\u{3164} \u{2060}", NameError::Invisible),
        ];
        for (name, why) in cases {
            assert_eq!(check(name), Err(why), "{name:?}");
        }
    }
}
