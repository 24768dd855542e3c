//! Names that people give: those of users and of nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{IdError, shown};

/// Names up to 32 bytes of `[a-z0-9][a-z0-9_.-]*`, kept inline: copying costs no allocation. Behind
/// its end are zeros, which are below all that a name is made of: bytes order as texts do.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name {
    len: u8,
    bytes: [u8; Name::MAX],
}

impl Name {
    pub(super) const MAX: usize = 32;

    fn parse(value: &str) -> Option<Self> {
        let raw = value.as_bytes();
        let head = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let tail = |b: &u8| head(b) || matches!(b, b'_' | b'.' | b'-');
        if raw.len() > Self::MAX || !raw.first().is_some_and(head) || !raw.iter().all(tail) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Self { len: raw.len() as u8, bytes })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("parsed as ASCII")
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $error:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(type = "string"))]
        pub struct $name(Name);

        impl $name {
            /// Borrows the name.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Name::parse(value).map(Self).ok_or_else(|| $error(shown(value)))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.bytes.cmp(&other.0.bytes)
            }
        }
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let value = std::borrow::Cow::<'de, str>::deserialize(d)?;
                value.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_id! {
    /// Names a person: `[a-z0-9][a-z0-9_.-]{0,31}`.
    UserId, IdError::User
}
name_id! {
    /// Names a server process across its lives; the same alphabet as [`UserId`].
    NodeId, IdError::Node
}

/// One run of a node: the same node starts again as another life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// Which process.
    pub node: NodeId,
    /// Which run of it; a later run has a larger number.
    pub generation: u64,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    #[test]
    fn user_ids_keep_to_their_alphabet() {
        for good in ["a", "rafa", "0", "a-b_c.d", "a2345678901234567890123456789012"] {
            assert_eq!(user(good).as_str(), good);
        }
        let too_long = "a23456789012345678901234567890123";
        for bad in ["", "Rafa", "-a", ".a", "a b", "ä", "a\0", "a/b", too_long] {
            let error = bad.parse::<UserId>().unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn user_ids_order_as_their_text_does() {
        assert!(user("a") < user("a-b"));
        assert!(user("ab") < user("b"));
        assert!(user("a") < user("a0") && user("a.b") < user("a0"));
        assert_eq!(user("a-b").cmp(&user("a-b")), std::cmp::Ordering::Equal);
    }
}
