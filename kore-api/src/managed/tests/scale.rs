//! Who owns the number of replicas when it is written through `scale`.
//!
//! Upstream turns the managed fields of an object into some of a `Scale`, writes those, and turns them back. With us whoever writes
//! through `scale` changes the object itself, and its managed fields: a row becomes such a write, which must end as the row says.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::managers::read;
use super::path::path;
use super::{expect, only, set, stated, text_of};
use crate::managed::element::same;
use crate::managed::entry::Operation;
use crate::managed::set::path_text;
use crate::managed::tracker::{Refusal, Tracker};
use crate::managed::{Filter, Place, Problem, Versions};
use crate::schema::Custom;

/// A kind whose versions each have their number of replicas somewhere in `spec`, or nowhere.
struct Kind<'r> {
    schema: Custom,
    mappings: &'r Map<String, Value>,
}

impl<'r> Kind<'r> {
    fn new(row: &'r Value) -> Result<Self, String> {
        let any = json!({"x-kubernetes-int-or-string": true});
        let names = ["replicas", "the-replicas", "not-the-replicas", "selector", "another-field", "test-other"];
        let fields: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), any.clone())).collect();
        let spec = json!({"type": "object", "properties": fields});
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let schema = Custom::read(&schema).map_err(|problem| problem.to_string())?;
        let mappings = row["mappings"].as_object().ok_or("no mappings")?;
        Ok(Self { schema, mappings })
    }

    /// What `spec` calls the number of replicas at a version.
    fn replicas(&self, version: &str) -> Option<&'r str> {
        match self.mappings.get(version)?.as_array().map(Vec::as_slice) {
            Some([spec, name]) if spec == "f:spec" => name.as_str()?.strip_prefix("f:"),
            _ => None,
        }
    }

    /// An object at a version which has everything that anybody may own.
    fn object(&self, version: &str) -> Result<Value, String> {
        let replicas = self.replicas(version).ok_or("the version has no replicas")?;
        let mut object = json!({"spec": {"selector": 1, "another-field": 1, "test-other": 1}});
        object["spec"][replicas] = json!(1);
        Ok(object)
    }
}

impl Versions for Kind<'_> {
    fn place(&self, version: &str) -> Option<Place<'_>> {
        self.mappings.contains_key(version).then_some(Place::Custom(&self.schema))
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Problem> {
        let mut object = object.clone();
        if let (Some(from), Some(to)) = (self.replicas(from), self.replicas(to))
            && let Some(spec) = object["spec"].as_object_mut()
            && let Some(number) = spec.remove(from)
        {
            spec.insert(to.to_owned(), number);
        }
        Ok(Cow::Owned(object))
    }

    fn filter(&self, _: &str) -> &Filter {
        &Filter::All
    }
}

fn scaler<'t>(kind: &'t Kind<'_>, version: &'t str, manager: &'t str, subresource: &'t str) -> Tracker<'t> {
    Tracker { versions: kind, version, manager, subresource, now: "2001-02-03T04:05:06Z" }
}

/// Those of whom upstream's `Scale` says that they own the number of replicas are those with whom another number is a conflict.
pub(super) fn to_subresource(row: &Value) -> Result<(), String> {
    only(row, "case op group_version mappings managed_fields expect")?;
    let (kind, version) = (Kind::new(row)?, text_of(row, "group_version")?);
    let live = kind.object(version)?;
    let stored = read(stated(row, "managed_fields")?)?.write().map(Bytes::from);
    let replicas = kind.replicas(version).ok_or("the version has no replicas")?;
    let mut config = json!({"spec": {}});
    config["spec"][replicas] = json!(2);
    let mut found: BTreeSet<(Operation, String, String)> = BTreeSet::new();
    match scaler(&kind, version, "somebody else", "scale").applied(&live, stored.as_ref(), &config, false) {
        Ok(_) => {}
        Err(Refusal::Conflicts(conflicts)) => {
            for conflict in conflicts {
                expect(path_text(&conflict.path), path_text(&path(&kind.mappings[version])?))?;
                found.insert((conflict.manager.operation, conflict.manager.name, conflict.manager.subresource));
            }
        }
        Err(refusal) => return Err(format!("{refusal:?}")),
    }
    let expected = read(stated(row, "expect")?)?.owners.into_keys();
    expect(found, expected.map(|manager| (manager.operation, manager.name, manager.subresource)).collect())
}

/// Whoever owns the replicas of the `Scale`, and did not own those of the object, has written them. If somebody has kept them, then
/// they still are what they were.
pub(super) fn to_parent(row: &Value) -> Result<(), String> {
    only(row, "case op group_version mappings parent subresource expect")?;
    let (kind, version) = (Kind::new(row)?, text_of(row, "group_version")?);
    let replicas = kind.replicas(version).ok_or("the version has no replicas")?;
    let list = |key: &str| stated(row, key).map(|entries| entries.as_array().cloned().unwrap_or_default());
    let identity = |entry: &Value| ["manager", "operation", "subresource"].map(|key| entry[key].clone());
    let before: Vec<[Value; 3]> = list("parent")?.iter().map(identity).collect();
    let scaled = path(&json!(["f:spec", "f:replicas"]))?;
    let owners = list("subresource")?.into_iter().filter(|entry| set(&entry["fieldsV1"]).contains_path(&scaled));
    let (kept, writers): (Vec<Value>, Vec<Value>) = owners.partition(|entry| before.contains(&identity(entry)));
    let number = if kept.is_empty() { 2 } else { 1 };

    let mut live = kind.object(version)?;
    let mut stored = read(stated(row, "parent")?)?.write().map(Bytes::from);
    for writer in &writers {
        let (manager, subresource) = (text_of(writer, "manager")?, writer["subresource"].as_str().unwrap_or_default());
        let tracker = scaler(&kind, version, manager, subresource);
        if writer["operation"] == "Apply" {
            let mut config = json!({"spec": {}});
            config["spec"][replicas] = json!(number);
            let applied = tracker.applied(&live, stored.as_ref(), &config, true);
            let applied = applied.map_err(|refusal| format!("{refusal:?}"))?;
            stored = applied.managed;
            live = applied.object.unwrap_or(live);
        } else {
            let mut new = live.clone();
            new["spec"][replicas] = json!(number);
            stored = tracker.updated(&live, stored.as_ref(), None, &new);
            live = new;
        }
    }

    // When they wrote is not in the rows, and decides where they stand.
    let mut found: Vec<Value> = match &stored {
        Some(text) => serde_json::from_slice(text).map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    for entry in found.iter_mut().filter_map(Value::as_object_mut) {
        entry.remove("time");
    }
    let expected = list("expect")?;
    let is_there = |entry: &Value| found.iter().any(|other| same(entry, other));
    if found.len() == expected.len() && expected.iter().all(is_there) {
        Ok(())
    } else {
        Err(format!("the entries are\n  {}\nand not\n  {}", json!(found), json!(expected)))
    }
}
