//! Builds a value from any serde format, watching depth and duplicate keys.

use std::cell::RefCell;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// As many duplicates are reported as upstream's strict decoder reports errors.
const DUPLICATES_MAX: usize = 100;

/// The text of the error by which a parser is stopped that went too deep.
pub(super) const TOO_DEEP: &str = "nested too deeply";

pub(super) struct Watch {
    pub(super) depth_max: usize,
    pub(super) duplicates: RefCell<Vec<String>>,
}

impl Watch {
    pub(super) fn new(depth_max: usize) -> Watch {
        Watch { depth_max, duplicates: RefCell::default() }
    }

    pub(super) fn root(&self) -> Tree<'_> {
        Tree { watch: self, above: None, depth: 0 }
    }
}

/// Where the value being built stands; a list threaded through the stack, so that a path costs nothing until it is needed.
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl Place<'_> {
    fn write(&self, path: &mut String) {
        if let Some(above) = self.above {
            above.write(path);
        }
        match self.step {
            Step::Item(index) => path.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tree<'a> {
    watch: &'a Watch,
    above: Option<&'a Place<'a>>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut items = Vec::new();
        loop {
            let place = Place { above: self.above, step: Step::Item(items.len()) };
            match access.next_element_seed(Tree { watch: self.watch, above: Some(&place), depth: self.depth + 1 })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut members = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let place = Place { above: self.above, step: Step::Key(&key) };
            let value =
                access.next_value_seed(Tree { watch: self.watch, above: Some(&place), depth: self.depth + 1 })?;
            if members.contains_key(&key) {
                let mut duplicates = self.watch.duplicates.borrow_mut();
                if duplicates.len() < DUPLICATES_MAX {
                    let mut path = String::new();
                    place.write(&mut path);
                    // The second and the third of the same key are one finding.
                    if !duplicates.contains(&path) {
                        duplicates.push(path);
                    }
                }
            }
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

impl Tree<'_> {
    fn enter<E: Error>(&self) -> Result<(), E> {
        if self.depth < self.watch.depth_max { Ok(()) } else { Err(E::custom(TOO_DEEP)) }
    }
}
