//! A body that is a JSON object and nothing else.
//!
//! serde takes an array for a struct, member by member; the API's description does not, and
//! neither does this.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Reads a `T` from an object alone.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Pair {
        a: u8,
        b: Option<u8>,
    }

    #[test]
    fn an_array_is_no_object_whatever_its_members() {
        let Object(Pair { a, b }) = serde_json::from_str(r#"{"a": 1, "c": []}"#).unwrap();
        assert_eq!((a, b), (1, None));
        let error = serde_json::from_str::<Object<Pair>>("[1, 2]").unwrap_err();
        assert!(error.to_string().contains("expected a JSON object"), "{error}");
    }
}
