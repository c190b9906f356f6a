//! A list of a foreign body that stops being read where it is too long.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::limits::REVIEW_IMAGES_COUNT_MAX;

/// A list that is never longer than what one review looks at.
#[derive(Debug)]
pub struct BoundedList<T>(pub Vec<T>);

impl<T> Default for BoundedList<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for BoundedList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = BoundedList<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(BoundedList::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut read = Vec::new();
                while let Some(element) = elements.next_element()? {
                    if read.len() == REVIEW_IMAGES_COUNT_MAX {
                        return Err(A::Error::custom(format!(
                            "a list has more than {REVIEW_IMAGES_COUNT_MAX} entries"
                        )));
                    }
                    read.push(element);
                }
                Ok(BoundedList(read))
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}
