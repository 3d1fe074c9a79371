//! Sets as `FieldsV1` writes them: a tree of JSON objects whose keys are path elements; `.` stands for a member that has
//! members below.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::element::Element;
use super::set::FieldSet;

/// Appends a set.
pub(crate) fn write(set: &FieldSet, out: &mut Vec<u8>) {
    write_level(set, false, &mut String::new(), out);
}

fn write_level(set: &FieldSet, is_member: bool, text: &mut String, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    if is_member && !set.is_empty() {
        out.extend_from_slice(b"\".\":{}");
        first = false;
    }
    for (element, is_member, children) in set.children() {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        text.clear();
        element.write(text);
        write_text(text, out);
        out.push(b':');
        write_level(children, is_member, text, out);
    }
    out.push(b'}');
}

/// Appends the text of an element as a JSON string.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string is always JSON");
    }
}

/// A set as read; elements of a kind that this version does not know are left out.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub(crate) FieldSet);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Level).map(|(set, _)| Self(set))
    }
}

/// Reads one level: what is below, and whether the level itself is a member.
struct Level;

impl<'de> DeserializeSeed<'de> for Level {
    type Value = (FieldSet, bool);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = (FieldSet, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of path elements")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut set = FieldSet::default();
        let mut is_member = false;
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Parsed::Itself => {
                    is_member = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Parsed::Unknown => drop(map.next_value::<IgnoredAny>()?),
                Parsed::Element(element) => {
                    let (children, member) = map.next_value_seed(Level)?;
                    if member {
                        set.insert(element.clone());
                    }
                    set.add_below(element, children);
                }
            }
        }
        let is_leaf = set.is_empty();
        Ok((set, is_member || is_leaf))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok((FieldSet::default(), true))
    }
}

enum Parsed {
    Itself,
    Unknown,
    Element(Element),
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Parsed;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path element")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Parsed, E> {
        if text == "." {
            return Ok(Parsed::Itself);
        }
        Ok(Element::parse(text).map_err(E::custom)?.map_or(Parsed::Unknown, Parsed::Element))
    }
}

/// The set that a text holds.
pub(crate) fn read(text: &[u8]) -> Result<FieldSet, serde_json::Error> {
    serde_json::from_slice::<Fields>(text).map(|fields| fields.0)
}

#[cfg(test)]
pub(super) fn text(set: &FieldSet) -> String {
    let mut out = Vec::new();
    write(set, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}
