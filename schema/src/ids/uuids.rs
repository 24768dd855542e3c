//! How an id that is a UUID is read, written and compared; and those of which nothing more is known.

/// Makes a type of its own of a UUID. Names every path, for the files beside this one.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(type = "string"))]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// Wraps bytes that one of ours has written before.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(uuid::Uuid::from_bytes(bytes))
            }

            /// Gives the 16 bytes in the order in which ids compare.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }
        impl From<uuid::Uuid> for $name {
            fn from(value: uuid::Uuid) -> Self {
                Self(value)
            }
        }
        impl From<$name> for uuid::Uuid {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = super::IdError;
            fn from_str(value: &str) -> Result<Self, super::IdError> {
                uuid::Uuid::try_parse(value)
                    .map(Self)
                    .map_err(|_| super::IdError::Uuid { kind: $kind, value: super::shown(value) })
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    let mut buffer = uuid::Uuid::encode_buffer();
                    s.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
                } else {
                    serde::Serialize::serialize(self.0.as_bytes(), s)
                }
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let value: std::borrow::Cow<'de, str> = serde::Deserialize::deserialize(d)?;
                    value.parse().map_err(serde::de::Error::custom)
                } else {
                    serde::Deserialize::deserialize(d).map(Self::from_bytes)
                }
            }
        }
    };
}

pub(super) use uuid_id;

uuid_id! {
    /// Names one device or tab; the client makes it itself.
    ClientId, "client id"
}
uuid_id! {
    /// Names one intent of a client (a message, an edit, a question), however often it is sent.
    Ref, "ref"
}
uuid_id! {
    /// Names a store, so that a cursor made in another one is noticed.
    StoreId, "store id"
}
