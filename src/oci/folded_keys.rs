//! Keys of JSON objects that another reader takes for each other.
//!
//! Most clients are written in Go, whose decoder takes `Layers` and `layers` for the same field, and the last of them for its
//! value. Whoever is judged by one and run by the other is two images, so a document with such a key is none.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The first key of the document `bytes` that is not one of `known` and is another reader's spelling of one. What lies below keys
/// in `free` has names of somebody's own and is not looked at. What is no JSON has no keys.
pub fn find(bytes: &[u8], known: &[&str], free: &[&str]) -> Option<String> {
    let walk = Walk { known, free, found: RefCell::new(None) };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let _ = (&walk).deserialize(&mut reader);
    walk.found.into_inner()
}

/// As Go folds: letters without their case, and two that Unicode folds to ASCII.
fn folded(key: &str) -> String {
    key.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ſ' { 's' } else { letter }).collect()
}

struct Walk<'a> {
    known: &'a [&'a str],
    free: &'a [&'a str],
    found: RefCell<Option<String>>,
}

impl Walk<'_> {
    fn look(&self, key: &str) {
        if self.known.contains(&key) || self.found.borrow().is_some() {
            return;
        }
        let folded_key = folded(key);
        if self.known.iter().any(|known| folded(known) == folded_key) {
            *self.found.borrow_mut() = Some(key.chars().take(100).collect());
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<String>()? {
            self.look(&key);
            if self.free.contains(&key.as_str()) {
                entries.next_value::<IgnoredAny>()?;
            } else {
                entries.next_value_seed(self)?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_key_that_go_takes_for_another_is_found_wherever_it_stands() {
        let found = |text: &str| find(text.as_bytes(), &["layers", "config", "size"], &["annotations"]);
        for (text, key) in [
            (r#"{"layers":[],"Layers":[]}"#, "Layers"),
            (r#"{"LAYERS":[]}"#, "LAYERS"),
            (r#"{"layer\u017f":[]}"#, "layerſ"),
            (r#"{"layers":[{"si\u007ae":1,"Size":2}]}"#, "Size"),
            (r#"{"other":{"deep":[[{"Config":1}]]}}"#, "Config"),
        ] {
            assert_eq!(found(text).as_deref(), Some(key), "{text}");
        }
        for text in [
            r#"{"layers":[],"config":{"size":1},"more":{"layer":1}}"#,
            r#"{"annotations":{"Layers":"mine"}}"#,
            "[1,-2,2.5,true,null,\"Layers\"]",
            "no JSON",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
