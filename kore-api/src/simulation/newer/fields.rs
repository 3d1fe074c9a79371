//! The fields that clients do not know.

use std::hash::Hasher;

use rustc_hash::FxHasher;
use serde_json::{Value, json};

use crate::object::ResourceType;
use crate::schema::{Form, Schema};

/// What their names begin with; no field of the API does.
const PREFIX: &str = "koreNewer";

/// A place in an object: in the shape of a built-in kind, or in a kind whose shape nobody has stated.
#[derive(Clone)]
pub(super) enum Place {
    Known(Schema),
    /// Every JSON object here is one with fields.
    Free {
        root: bool,
    },
    /// A scalar, a map's text, or a value of which nothing is known.
    Leaf,
}

impl Place {
    pub(super) fn of(resource: &ResourceType) -> Self {
        Schema::of(&resource.api_version(), &resource.kind).map_or(Self::Free { root: true }, Self::Known)
    }

    pub(super) fn schema(&self) -> Option<&Schema> {
        match self {
            Self::Known(schema) => Some(schema),
            Self::Free { .. } | Self::Leaf => None,
        }
    }

    /// Whether an object here has fields of its own; the keys of a map are its user's.
    pub(super) fn has_fields(&self) -> bool {
        match self {
            Self::Known(schema) => schema.form() == Form::Object,
            Self::Free { .. } => true,
            Self::Leaf => false,
        }
    }

    pub(super) fn field(&self, name: &str) -> Self {
        match self {
            Self::Known(schema) => schema.field(name).map_or(Self::Leaf, Self::Known),
            Self::Free { root: true } if name == "metadata" => {
                let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
                Schema::definition(metadata).map_or(Self::Leaf, Self::Known)
            }
            Self::Free { .. } => Self::Free { root: false },
            Self::Leaf => Self::Leaf,
        }
    }

    pub(super) fn item(&self) -> Self {
        match self {
            Self::Known(schema) if schema.form() == Form::List => schema.element().map_or(Self::Leaf, Self::Known),
            Self::Free { .. } => Self::Free { root: false },
            Self::Known(_) | Self::Leaf => Self::Leaf,
        }
    }

    /// The fields that tell the items of the list here apart; none: nothing does.
    pub(super) fn item_keys(&self) -> Vec<&'static str> {
        self.schema().map(Schema::item_keys).unwrap_or_default()
    }
}

/// How an item is called in a path: by its keys, or by its place.
pub(super) fn item_path(path: &str, keys: &[&str], index: usize, item: &Value) -> String {
    let stated = |key: &&str| Some(format!("{key}={}", text(item.get(*key)?)));
    let keys: Option<Vec<String>> = keys.iter().map(stated).collect();
    match keys.filter(|keys| !keys.is_empty()) {
        Some(keys) => format!("{path}[{}]", keys.join(",")),
        None => format!("{path}[{index}]"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn field_path(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

pub(super) fn is_unknown(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Puts one unknown field into every object.
pub(super) fn put_in(seed: u64, place: &Place, value: &mut Value) {
    dress(seed, place, value, "");
}

fn dress(seed: u64, place: &Place, value: &mut Value, path: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                dress(seed, &place.field(name), value, &field_path(path, name));
            }
            if place.has_fields() {
                let drawn = hash(seed, path);
                fields.insert(format!("{PREFIX}{:02x}", drawn & 0xff), unknown(drawn));
            }
        }
        Value::Array(items) => {
            let (inner, keys) = (place.item(), place.item_keys());
            for (index, item) in items.iter_mut().enumerate() {
                let path = item_path(path, &keys, index, item);
                dress(seed, &inner, item, &path);
            }
        }
        _ => {}
    }
}

/// Takes every unknown field out.
pub(super) fn take_out(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !is_unknown(name));
            fields.values_mut().for_each(take_out);
        }
        Value::Array(items) => items.iter_mut().for_each(take_out),
        _ => {}
    }
}

fn hash(seed: u64, path: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u64(seed);
    hasher.write(path.as_bytes());
    hasher.finish()
}

/// A value of one of the forms that fields have.
fn unknown(drawn: u64) -> Value {
    let number = drawn >> 40;
    match drawn >> 8 & 0x7 {
        0 => json!(number),
        1 => json!(true),
        2 => json!({"mode": format!("m{number}"), "nested": {"list": [number]}}),
        3 => json!([{"name": format!("n{number}"), "weight": number}, {"name": "last"}]),
        4 => json!([format!("s{number}")]),
        _ => json!(format!("v{number}")),
    }
}
