//! One object, and those who apply to it and update it: what the tracker says of each.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::path::path;
use super::types::Types;
use super::{expect_set, only, set, stated, text_of};
use crate::managed::conflict::Conflict;
use crate::managed::element::same;
use crate::managed::entry::{Managed, Manager};
use crate::managed::set::FieldSet;
use crate::managed::tracker::{Refusal, Tracker};
use crate::managed::{Filter, Place, Problem, Versions, check_config};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) fn row(table: &Value, row: &Value) -> Result<(), String> {
    only(row, "case op schema subresource cap track steps")?;
    let (version, kind) = text_of(row, "schema")?.rsplit_once('/').ok_or("the schema is no kind")?;
    let tracks = match &row["track"] {
        Value::Null => true,
        Value::String(text) if text == "on_apply" => false,
        other => return Err(format!("track: {other}")),
    };
    let mut history = History {
        types: Types::new(table, row),
        version,
        kind,
        subresource: row["subresource"].as_str().unwrap_or_default(),
        cap: row["cap"].as_u64().and_then(|cap| usize::try_from(cap).ok()),
        tracks,
        seconds: 0,
        is_new: true,
        live: json!({"apiVersion": version, "kind": kind}),
        stored: None,
    };
    for (index, step) in stated(row, "steps")?.as_array().into_iter().flatten().enumerate() {
        history.step(step).map_err(|problem| format!("step {index}: {problem}"))?;
    }
    Ok(())
}

struct History<'r> {
    types: Types,
    version: &'r str,
    kind: &'r str,
    subresource: &'r str,
    /// How many who update are kept apart: upstream's tests say so themselves, and have no bound where they do not.
    cap: Option<usize>,
    /// Whether updates are tracked from the beginning. With us they always are, but of objects that were there before.
    tracks: bool,
    /// What has passed.
    seconds: u64,
    /// Whether nobody has written yet.
    is_new: bool,
    /// Without managed fields.
    live: Value,
    stored: Option<Bytes>,
}

enum Outcome {
    Done,
    BadRequest(String),
    Refused(Refusal),
}

/// Without any version, no change of ownership can be told.
struct Nowhere;

impl Versions for Nowhere {
    fn place(&self, _: &str) -> Option<Place<'_>> {
        None
    }

    fn convert<'v>(&self, _: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Problem> {
        Err(Problem::here(format!("there is neither {from} nor {to}")))
    }

    fn filter(&self, _: &str) -> &Filter {
        &Filter::All
    }
}

impl History<'_> {
    fn step(&mut self, step: &Value) -> Result<(), String> {
        if let Some(seconds) = step["wait"].as_u64() {
            self.seconds += seconds;
            return only(step, "wait");
        }
        only(step, "apply update then")?;
        let (live, entries) = (self.live.clone(), self.entries());
        let (write, outcome, applied) = if step["apply"].is_object() {
            let (outcome, config) = self.apply(&step["apply"])?;
            (&step["apply"], outcome, config)
        } else {
            (&step["update"], self.update(stated(step, "update")?)?, Value::Null)
        };
        match (write["result"].as_str().unwrap_or("ok"), &outcome) {
            ("ok", Outcome::Done)
            | ("bad_request", Outcome::BadRequest(_))
            | ("error", Outcome::BadRequest(_) | Outcome::Refused(Refusal::Malformed(_) | Refusal::Unreadable(_))) => {}
            ("conflict", Outcome::Refused(Refusal::Conflicts(found))) => conflicts(found, write.get("conflicts"))?,
            (expected, Outcome::Done) => return Err(format!("did not end as {expected}")),
            (_, Outcome::BadRequest(problem)) => return Err(format!("is a bad request: {problem}")),
            (_, Outcome::Refused(refusal)) => return Err(format!("is refused: {refusal:?}")),
        }
        for (key, expected) in step["then"].as_object().into_iter().flatten() {
            if !self.holds(key, expected, (&live, entries.as_slice()), &applied)? {
                let now = json!(self.entries());
                return Err(format!("{key} is not {expected}:\n  {}\nof\n  {now}", self.live));
            }
        }
        Ok(())
    }

    fn now(&self) -> String {
        format!("2001-02-03T04:{:02}:{:02}Z", self.seconds / 60, self.seconds % 60)
    }

    fn entries(&self) -> Vec<Value> {
        let read = |text: &Bytes| serde_json::from_slice(text).expect("what is stored is a list");
        self.stored.as_ref().map(read).unwrap_or_default()
    }

    /// What is written, as the step puts it together.
    fn object(&self, write: &Value) -> Result<Value, String> {
        let mut object = write["object"].clone();
        if write["live"] == true {
            object = self.live.clone();
            if self.stored.is_some() {
                object["metadata"]["managedFields"] = json!(self.entries());
            }
        }
        for filling in write["fill"].as_array().into_iter().flatten() {
            fill(&mut object, filling)?;
        }
        let applied_of = write.get("last_applied_of").map(Value::to_string);
        if let Some(text) = write["last_applied"].as_str().or(applied_of.as_deref()) {
            object["metadata"]["annotations"][LAST_APPLIED] = text.into();
        }
        Ok(object)
    }

    fn update(&mut self, write: &Value) -> Result<Outcome, String> {
        only(write, "manager object live fill last_applied last_applied_of inner_fails result")?;
        let mut new = self.object(write)?;
        let metadata = new.get_mut("metadata").and_then(Value::as_object_mut);
        let sent = metadata.and_then(|metadata| metadata.remove("managedFields"));
        let (now, manager) = (self.now(), text_of(write, "manager")?);
        let versions: &dyn Versions = if write["inner_fails"] == true { &Nowhere } else { &self.types };
        let (version, subresource) = (self.version, self.subresource);
        let tracker = Tracker { versions, version, manager, subresource, now: &now };
        let stored = if self.is_new && self.tracks {
            tracker.created(sent.as_ref(), &new)
        } else {
            tracker.updated(&self.live, self.stored.as_ref(), sent.as_ref(), &new)
        };
        self.stored = stored;
        if let (Some(max), Some(text)) = (self.cap, &self.stored) {
            let mut managed = Managed::read(text).map_err(|error| error.to_string())?;
            managed.cap(max);
            self.stored = managed.write().map(Bytes::from);
        }
        self.live = new;
        self.is_new = false;
        Ok(Outcome::Done)
    }

    /// And what was applied.
    fn apply(&mut self, write: &Value) -> Result<(Outcome, Value), String> {
        only(write, "manager object fill force result conflicts")?;
        let config = self.object(write)?;
        if let Err(problem) = check_config(&config, self.version, self.kind) {
            return Ok((Outcome::BadRequest(problem), config));
        }
        let (now, manager, subresource) = (self.now(), text_of(write, "manager")?, self.subresource);
        let tracker = Tracker { versions: &self.types, version: self.version, manager, subresource, now: &now };
        let outcome = match tracker.applied(&self.live, self.stored.as_ref(), &config, write["force"] == true) {
            Ok(applied) => {
                self.stored = applied.managed;
                if let Some(object) = applied.object {
                    self.live = object;
                }
                self.is_new = false;
                Outcome::Done
            }
            Err(refusal) => Outcome::Refused(refusal),
        };
        Ok((outcome, config))
    }

    fn last_applied(&self) -> &Value {
        &self.live["metadata"]["annotations"][LAST_APPLIED]
    }

    /// Whether one thing that a step says of what is then is so. `live`, `entries`: what there was before the step.
    fn holds(
        &self,
        key: &str,
        expected: &Value,
        (live, entries): (&Value, &[Value]),
        applied: &Value,
    ) -> Result<bool, String> {
        let after = self.entries();
        let names: Vec<&str> = after.iter().filter_map(|entry| entry["manager"].as_str()).collect();
        let expected_names: Vec<&str> = expected.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let managed_changed = !same(&json!(after), &json!(entries));
        Ok(match key {
            "count" => *expected == json!(after.len()),
            "min_count" => expected.as_u64().is_some_and(|least| after.len() as u64 >= least),
            "managers" => names == expected_names,
            "first" => names.starts_with(&expected_names),
            "absent" => expected_names.iter().all(|name| !names.contains(name)),
            "changed" => json!(managed_changed || !same(&self.live, live)) == *expected,
            "managed_changed" => json!(managed_changed) == *expected,
            "last_applied" => self.last_applied() == expected,
            "last_applied_not" => self.last_applied() != expected,
            "last_applied_has" => {
                let text = self.last_applied().as_str().unwrap_or_default();
                expected_names.iter().all(|part| text.contains(part))
            }
            "contains_applied" => json!(contains(applied, &self.live)) == *expected,
            "manages" => {
                let mut all = true;
                for (name, paths) in expected.as_object().into_iter().flatten() {
                    let fields = entry_of(&after, name).map(|entry| set(&entry["fieldsV1"])).unwrap_or_default();
                    for owned in paths.as_array().into_iter().flatten() {
                        all &= fields.contains_path(&path(owned)?);
                    }
                }
                all
            }
            "time" => {
                let mut all = true;
                for (name, what) in expected.as_object().into_iter().flatten() {
                    let times =
                        [entries, after.as_slice()].map(|entries| entry_of(entries, name).map(|entry| &entry["time"]));
                    let [Some(was), Some(is)] = times else {
                        return Err(format!("{name} was or is nobody"));
                    };
                    all &= match what.as_str() {
                        Some("changed") => was != is,
                        Some("same") => was == is,
                        _ => return Err(format!("the time of {name} is {what}")),
                    };
                }
                all
            }
            _ => return Err(format!("what is then: {key} is not known")),
        })
    }
}

fn entry_of<'e>(entries: &'e [Value], name: &str) -> Option<&'e Value> {
    entries.iter().find(|entry| entry["manager"] == name)
}

/// Exactly these, each path of each manager once.
fn conflicts(found: &[Conflict], expected: Option<&Value>) -> Result<(), String> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let mut by_manager: BTreeMap<&Manager, FieldSet> = BTreeMap::new();
    for conflict in found {
        by_manager.entry(&conflict.manager).or_default().insert_path(&conflict.path);
    }
    let expected = expected.as_array().map(Vec::as_slice).unwrap_or_default();
    let paths: usize = by_manager.values().map(FieldSet::len).sum();
    if by_manager.len() != expected.len() || paths != found.len() {
        return Err(format!("the conflicts are {found:#?}"));
    }
    for conflict in expected {
        only(conflict, "manager operation apiVersion fields")?;
        let is_it = |manager: &Manager| {
            conflict["manager"] == *manager.name
                && conflict.get("operation").is_none_or(|operation| *operation == json!(manager.operation))
                && conflict.get("apiVersion").is_none_or(|version| *version == *manager.version)
        };
        let fields = by_manager.iter().find(|(manager, _)| is_it(manager)).map(|(_, fields)| fields);
        let fields = fields.ok_or_else(|| format!("there is no conflict with {conflict}, but {found:#?}"))?;
        expect_set("what conflicts", fields, stated(conflict, "fields")?)?;
    }
    Ok(())
}

/// Adds many of a kind at a place of an object.
fn fill(object: &mut Value, filling: &Value) -> Result<(), String> {
    only(filling, "at count key value item")?;
    let mut place = object;
    for step in stated(filling, "at")?.as_array().into_iter().flatten() {
        place = match (step, step.as_u64().and_then(|index| usize::try_from(index).ok())) {
            (Value::String(name), _) => &mut place[name.as_str()],
            (_, Some(index)) => &mut place[index],
            _ => return Err(format!("there is no way to {step}")),
        };
    }
    for number in 0..filling["count"].as_u64().ok_or("no count")? {
        match &mut *place {
            Value::Object(members) => {
                let key = numbered(stated(filling, "key")?, number);
                let value = numbered(stated(filling, "value")?, number);
                members.insert(key.as_str().ok_or("no key")?.to_owned(), value);
            }
            Value::Array(items) => items.push(numbered(stated(filling, "item")?, number)),
            other => return Err(format!("nothing can be added to {other}")),
        }
    }
    Ok(())
}

fn numbered(value: &Value, number: u64) -> Value {
    match value {
        Value::String(text) => text.replace("%04d", &format!("{number:04}")).replace("%d", &number.to_string()).into(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), numbered(member, number))).collect()
        }
        Value::Array(items) => items.iter().map(|item| numbered(item, number)).collect(),
        value => value.clone(),
    }
}

/// Whether everything that is not empty in an applied object is in another one.
fn contains(applied: &Value, object: &Value) -> bool {
    match (applied, object) {
        (Value::Null, _) => true,
        (Value::String(text), _) if text.is_empty() => true,
        (Value::Object(parts), _) if parts.is_empty() => true,
        (Value::Array(parts), _) if parts.is_empty() => true,
        (Value::Object(parts), Value::Object(members)) => {
            parts.iter().all(|(name, part)| members.get(name).is_some_and(|member| contains(part, member)))
        }
        (Value::Array(parts), Value::Array(items)) => {
            parts.len() <= items.len() && parts.iter().zip(items).all(|(part, item)| contains(part, item))
        }
        (part, whole) => same(part, whole),
    }
}
