//! The order of keys in the definition, which the schema (a sorted map) loses.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::file::{AccessLog, ConfigFile, Retention, Sink, Upstream};

/// The keys of a table in the order of the definition, with those of tables within it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape(Vec<(String, Shape)>);

impl Shape {
    /// The shape of the whole configuration file.
    pub fn of_file() -> Self {
        let file = ConfigFile {
            upstream: vec![Upstream::default()],
            retention: vec![Retention::default()],
            access_log: AccessLog { sink: vec![Sink::default()], ..AccessLog::default() },
            ..ConfigFile::default()
        };
        let text = serde_json::to_string(&file).expect("texts, numbers and lists are always JSON");
        serde_json::from_str(&text).expect("what was just written as JSON is JSON")
    }

    /// Where `name` stands among its neighbours; behind all of them when it is not there.
    pub fn position(&self, name: &str) -> usize {
        self.0.iter().position(|(known, _)| known == name).unwrap_or(self.0.len())
    }

    /// The table under `name`.
    pub fn inner(&self, name: &str) -> Self {
        self.0.iter().find(|(known, _)| known == name).map(|(_, inner)| inner.clone()).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut keys = Vec::new();
        while let Some(entry) = map.next_entry()? {
            keys.push(entry);
        }
        Ok(Shape(keys))
    }

    /// A list of tables has the shape of its first one.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let first = items.next_element()?.unwrap_or_default();
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::default())
    }
}
