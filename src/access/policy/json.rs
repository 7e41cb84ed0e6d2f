//! JSON that keeps what `serde_json::Value` would lose: which members an object has twice.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Any JSON; scalars as texts, as policies mean them. How deep it may be nested, `serde_json` limits.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    /// A string, a number or a boolean.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The first name that an object has twice.
    pub(super) fn duplicate(members: &[(String, Json)]) -> Option<&str> {
        let mut seen = BTreeSet::new();
        members.iter().map(|(name, _)| name.as_str()).find(|name| !seen.insert(*name))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

fn plain<E>(value: impl ToString) -> Result<Json, E> {
    Ok(Json::Scalar { text: value.to_string(), quoted: false })
}

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        plain(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        plain(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        plain(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        plain(value)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Scalar { text: value.to_owned(), quoted: true })
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Scalar { text, quoted: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
