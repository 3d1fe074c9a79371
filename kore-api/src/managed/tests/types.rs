//! Types for cases: schemas by name, the versions there are, and how objects get from one to another.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set;
use crate::managed::{Filter, Place, Problem, Versions};
use crate::schema::{Custom, Schema};

/// Types that contain themselves are written out so many times, unless it is said otherwise.
const UNFOLDED: usize = 8;

/// The type of a case: its schema at each version.
pub(super) struct Types {
    schemas: BTreeMap<String, Custom>,
    /// The name of the schema of every version, or of each.
    pub(super) schema: Value,
    filters: BTreeMap<String, Filter>,
    /// The versions there are, if not all.
    pub(super) versions: Option<Vec<String>>,
    converter: Value,
    builtin: Option<Schema>,
}

impl Types {
    pub(super) fn new(table: &Value, case: &Value) -> Self {
        Self::unfolded(table, case, UNFOLDED)
    }

    /// With types that contain themselves written out `depth` times.
    pub(super) fn unfolded(table: &Value, case: &Value, depth: usize) -> Self {
        let schemas = table["schemas"].as_object().cloned().unwrap_or_default();
        let parsed = schemas.iter().map(|(name, schema)| {
            let whole = unfold(schema, &schemas, depth);
            (name.clone(), Custom::read(&whole).unwrap_or_else(|problem| panic!("{name}: {problem}")))
        });
        let ignored = case["ignored"].as_object().into_iter().flatten();
        let filters = ignored.map(|(version, fields)| (version.clone(), Filter::Without(set(fields)))).collect();
        let builtin = case["schema"].as_str().and_then(|name| name.rsplit_once('/')).map(|(version, kind)| {
            Schema::of(version, kind).unwrap_or_else(|| panic!("there is no kind {version} {kind}"))
        });
        Self {
            schemas: parsed.collect(),
            schema: case["schema"].clone(),
            filters,
            versions: None,
            converter: case["converter"].clone(),
            builtin,
        }
    }

    /// The place of the type at a version, whether there is such a version or not.
    pub(super) fn root(&self, version: &str) -> Place<'_> {
        if self.builtin.is_some() {
            return Place::of(self.builtin.as_ref());
        }
        let name = self.schema.as_str().or_else(|| self.schema[version].as_str()).unwrap_or("deduced");
        if name == "deduced" {
            return Place::Deduced;
        }
        Place::Custom(self.schemas.get(name).unwrap_or_else(|| panic!("there is no schema {name}")))
    }
}

fn unfold(schema: &Value, all: &Map<String, Value>, depth: usize) -> Value {
    match schema {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                let name = name.trim_start_matches("#/");
                return if depth == 0 { Value::Object(Map::new()) } else { unfold(&all[name], all, depth - 1) };
            }
            members.iter().map(|(key, value)| (key.clone(), unfold(value, all, depth))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| unfold(item, all, depth)).collect(),
        value => value.clone(),
    }
}

impl Versions for Types {
    fn place(&self, version: &str) -> Option<Place<'_>> {
        let number = version.strip_prefix('v').and_then(|number| number.parse::<usize>().ok());
        let is_missing = self.versions.as_ref().is_some_and(|versions| !versions.iter().any(|other| other == version))
            || (self.converter["repeat"].is_string() && number.is_none())
            || (self.converter["rename_fields"].is_array() && !["v1", "v2"].contains(&version));
        (!is_missing).then(|| self.root(version))
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Problem> {
        if self.converter["repeat"].is_string() {
            let count = to[1..].parse().expect("the version is there");
            return Ok(Cow::Owned(match object {
                Value::Object(members) => members
                    .iter()
                    .map(|(name, value)| (name.clone(), repeat(value, count)))
                    .collect::<Map<_, _>>()
                    .into(),
                value => value.clone(),
            }));
        }
        if self.converter["rename_suffix"].is_string() {
            return Ok(Cow::Owned(rename(object, from, to)));
        }
        if let Some(renamed) = self.converter["rename_fields"].as_array() {
            let mut object = object.clone();
            let required = self.converter["required"][to].as_array().into_iter().flatten().filter_map(Value::as_str);
            for name in required {
                if object.get(name).is_none() {
                    return Err(Problem::here(format!("{name} is needed at {to}")));
                }
            }
            if let Some(members) = object.as_object_mut() {
                for pair in renamed {
                    if let Some(value) = members.remove(pair[from].as_str().unwrap()) {
                        members.insert(pair[to].as_str().unwrap().to_owned(), value);
                    }
                }
            }
            return Ok(Cow::Owned(object));
        }
        Ok(Cow::Borrowed(object))
    }

    fn filter(&self, version: &str) -> &Filter {
        self.filters.get(version).unwrap_or(&Filter::All)
    }
}

fn repeat(value: &Value, count: usize) -> Value {
    let Value::Object(members) = value else {
        return value.clone();
    };
    if members.is_empty() {
        return value.clone();
    }
    let inner = |value: &Value| match value {
        Value::Object(members) if !members.is_empty() => repeat(value, count),
        _ => Value::Null,
    };
    members.iter().map(|(name, value)| (name[..1].repeat(count), inner(value))).collect::<Map<_, _>>().into()
}

fn rename(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::Object(members) => {
            let renamed = members.iter().map(|(name, value)| {
                let name = name.strip_suffix(from).map_or_else(|| name.clone(), |stem| format!("{stem}{to}"));
                (name, rename(value, from, to))
            });
            renamed.collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| rename(item, from, to)).collect(),
        value => value.clone(),
    }
}
