//! Versions as tools print them: `rustc 1.95.0 (5980…)`, `v20.20.2`, `11.19.1`.

use std::fmt;

/// A version without what follows a dash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Finds the first word that reads as a version; missing parts count as zero.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let word = word.strip_prefix('v').unwrap_or(word);
        let release = word.split(['-', '+']).next()?;
        let parts: Vec<u32> =
            release.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        match parts[..] {
            [major] => Some(Self(major, 0, 0)),
            [major, minor] => Some(Self(major, minor, 0)),
            [major, minor, patch] => Some(Self(major, minor, patch)),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_as_tools_print_them() {
        for (text, version) in [
            ("rustc 1.95.0 (59807616e 2026-04-14)", Some(Version(1, 95, 0))),
            ("rustc 1.97.0-nightly (b3869b94c 2026-02-23)", Some(Version(1, 97, 0))),
            ("v20.20.2", Some(Version(20, 20, 2))),
            ("11.19.1", Some(Version(11, 19, 1))),
            ("cargo-deny 0.20.2", Some(Version(0, 20, 2))),
            ("Python 3.13.0rc1", None),
            ("1.95", Some(Version(1, 95, 0))),
            ("command not found", None),
            ("", None),
        ] {
            assert_eq!(Version::find(text), version, "{text:?}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version(20, 9, 0) < Version(20, 19, 0));
        assert!(Version(20, 19, 0) <= Version(20, 19, 0));
        assert!(Version(22, 0, 0) > Version(20, 19, 5));
    }
}
