//! Values that no log line, span or error may show.
//!
//! Knows nothing of what they are for.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer};
use sha2::Sha256;

/// Keeps a value out of `Debug`; whoever needs it says so with [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Gives the value; every call is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// Tells whether `shown` is the same text, in a time that says nothing of where they differ
    /// or how long the secret is.
    pub fn is(&self, shown: &str) -> bool {
        let code = |text: &str| {
            let mac = Hmac::<Sha256>::new_from_slice(b"rally");
            mac.expect("HMAC takes keys of any length").chain_update(text)
        };
        code(shown).verify_slice(&code(&self.0).finalize().into_bytes()).is_ok()
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        T::deserialize(d).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_same_text_and_no_other() {
        let secret = Secret::new("hunter2".to_owned());
        assert!(secret.is("hunter2"));
        for other in ["", "hunter", "hunter22", "Hunter2", "hunter2\0"] {
            assert!(!secret.is(other), "{other:?}");
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
