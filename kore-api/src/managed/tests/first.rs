//! The short way of a new object's fields says what the long one says.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::facts;
use crate::managed::entry::{Managed, Manager, Operation};
use crate::managed::owners::{Owners, Write};
use crate::managed::tracker::UNTRACKED;
use crate::managed::{Filter, Place, Problem, Tracker, Versions};
use crate::schema::Schema;
use crate::schema::sample::Dice;

struct Kind<'k> {
    place: Place<'k>,
    filter: Filter,
}

impl Versions for Kind<'_> {
    fn place(&self, _: &str) -> Option<Place<'_>> {
        Some(self.place)
    }

    fn convert<'v>(&self, object: &'v Value, _: &str, _: &str) -> Result<Cow<'v, Value>, Problem> {
        Ok(Cow::Borrowed(object))
    }

    fn filter(&self, _: &str) -> &Filter {
        &self.filter
    }
}

/// Both ways; `None`: the object does not have the form of its type, as the long way sees it, which looks at what is left out, too.
fn both(kind: &Kind<'_>, object: &Value) -> Option<(Option<Managed>, Option<Managed>)> {
    let tracker =
        Tracker { versions: kind, version: "v1", manager: "me", subresource: "", now: "2030-01-01T00:00:00Z" };
    let short = tracker.created(None, object).map(|bytes| Managed::read(&bytes).expect("it can be read"));

    let manager = Manager::new(Operation::Update, "me", "v1", "");
    let nothing = Value::Object(Map::new());
    let write = Write { versions: kind, version: "v1", live: &nothing, manager: manager.clone() };
    let (mut owners, _) = write.update(object, Owners::new()).ok()?;
    if let Some(owned) = owners.get_mut(&manager) {
        owned.fields.subtract(&UNTRACKED);
    }
    owners.retain(|_, owned| !owned.fields.is_empty());
    let times = [(manager, tracker.now.to_owned())].into();
    Some((short, (!owners.is_empty()).then_some(Managed { owners, times })))
}

#[test]
fn the_short_way_says_what_the_long_one_says_of_any_object_of_any_kind() {
    let mut owned = 0;
    let mut dice = Dice(1);
    for found in facts::all().filter(|found| found.is_kind) {
        let schema = Schema::root(found);
        for (round, filter) in [Filter::All, Filter::Field("status"), Filter::All].into_iter().enumerate() {
            let kind = Kind { place: Place::of(Some(&schema)), filter };
            let object = dice.object(found, round as u64 / 2);
            let Some((short, long)) = both(&kind, &object) else {
                continue;
            };
            owned += usize::from(short.is_some());
            assert_eq!(short, long, "{} {object}", found.name);
        }
    }
    assert!(owned > 200, "{owned}");
}

#[test]
fn and_of_objects_without_a_type() {
    for (object, fields) in [
        (json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}}), None),
        (
            json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"list": [1], "map": {"a": {}, "b": null}}}),
            Some(json!({
                "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
                "f:spec": {".": {}, "f:list": {}, "f:map": {".": {}, "f:a": {}, "f:b": {}}},
            })),
        ),
        (json!({"a": "\"", "é/~": {}, "status": {"x": 1}}), Some(json!({"f:a": {}, "f:é/~": {}}))),
    ] {
        let kind = Kind { place: Place::Deduced, filter: Filter::Field("status") };
        let (short, long) = both(&kind, &object).expect("it is well");
        assert_eq!(short, long, "{object}");
        let found = short.map(|managed| {
            let owned = managed.owners.into_values().next().expect("one owner");
            let mut out = Vec::new();
            crate::managed::fields_v1::write(&owned.fields, &mut out);
            serde_json::from_slice::<Value>(&out).expect("JSON")
        });
        assert_eq!(found, fields, "{object}");
    }
}
