//! Where a client's knowledge ends, as it is told and told back.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{IdError, StoreId, shown};

/// Where a client's knowledge ends: a store, and the server's clock when the read began.
///
/// Opaque to clients. It claims nothing but its owner's own position, so it is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// In which store the position is.
    pub store: StoreId,
    /// Milliseconds since 1970 by the server's clock.
    pub at: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut raw = [0; 24];
        raw[..16].copy_from_slice(self.store.as_bytes());
        raw[16..].copy_from_slice(&self.at.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(raw))
    }
}

impl FromStr for Cursor {
    type Err = IdError;

    fn from_str(value: &str) -> Result<Self, IdError> {
        let bad = || IdError::Cursor(shown(value));
        let raw = URL_SAFE_NO_PAD.decode(value).map_err(|_| bad())?;
        let (store, at) = raw.split_at_checked(16).ok_or_else(bad)?;
        Ok(Self {
            store: StoreId::from_bytes(store.try_into().map_err(|_| bad())?),
            at: u64::from_be_bytes(at.try_into().map_err(|_| bad())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn cursors_survive_the_wire_and_strangers_do_not() {
        let cursor = Cursor { store: StoreId::from(Uuid::from_u128(7)), at: 1_790_000_000_123 };
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        for bad in ["", "x", "AAAA", "!!!!", &"A".repeat(1000)] {
            assert!(matches!(bad.parse::<Cursor>(), Err(IdError::Cursor(_))));
        }
    }
}
