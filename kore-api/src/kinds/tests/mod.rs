//! What holds of every kind.
//!
//! `samples.rs` has a small object of each.

mod samples;

use super::*;
use crate::schema::{Schema, check, normalize};
use samples::samples;
use serde_json::{Value, json};

#[test]
fn what_is_filled_in_fits_the_schema_and_stays_when_stored() {
    let samples = samples();
    assert_eq!(samples.len(), ENTRIES.len());
    for (entry, mut object) in samples {
        let info = entry.info();
        let (api_version, kind) = (info.resource.api_version(), info.resource.kind.clone());
        object["apiVersion"] = api_version.as_ref().into();
        object["kind"] = kind.as_ref().into();
        let name = object["metadata"]["name"].as_str().unwrap_or("a").to_owned();
        object["metadata"] = json!({"name": name, "uid": "u"});
        if info.resource.is_namespaced() {
            object["metadata"]["namespace"] = "b".into();
        }
        info.strategy.default(&mut object);
        info.strategy.prepare_create(&mut object);
        let schema = Schema::of(&api_version, &kind).unwrap();
        assert!(check(&schema, &object).is_empty(), "{kind}: {:?}", check(&schema, &object));
        let mut stored = object.clone();
        normalize(&schema, &mut stored);
        info.strategy.default(&mut stored);
        // Besides, empty objects and zeros are there that upstream always writes.
        assert_eq!(without_empty(&stored), without_empty(&object), "{kind}");
        let transition = crate::registry::Transition { new: &object, old: None, subresource: "" };
        assert_eq!(info.strategy.validate(&transition), [], "{kind}");
        let transition = crate::registry::Transition { old: Some(&object), ..transition };
        assert_eq!(info.strategy.validate(&transition), [], "{kind}: no change is no offence");
    }
}

fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), without_empty(value)));
            fields.filter(|(_, value)| *value != json!({}) && *value != json!(0)).collect()
        }
        Value::Array(items) => items.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_kind_is_whole() {
    let registry = builtin();
    assert_eq!(registry.iter().count(), ENTRIES.len() + super::versions::COUNT, "no two entries have the same names");
    for info in registry.iter() {
        let mut object = json!({"metadata": {"name": "a", "namespace": "b"}});
        info.strategy.default(&mut object);
        let once = object.clone();
        info.strategy.default(&mut object);
        assert_eq!(object, once, "{info:?}: defaults are stable");
        let cells = info.strategy.cells(&object, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(cells.len(), info.columns.len(), "{info:?}: a cell for each column");
        assert_eq!(info.columns.iter().filter(|column| column.format == "name").count(), 1, "{info:?}");
        for (cell, column) in cells.iter().zip(&info.columns) {
            assert!(!cell.is_null(), "{info:?}: {}", column.name);
            assert!(column.kind != "integer" || cell.is_i64(), "{info:?}: {} is {cell}", column.name);
        }
    }
}

/// Every place in a value, as a JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn flags_that_are_absent_are_selected_as_false() {
    for (kind, field, name) in
        [("pods", "spec.hostNetwork", "hostNetwork"), ("nodes", "spec.unschedulable", "unschedulable")]
    {
        let info = builtin().get("", "v1", kind).unwrap().clone();
        assert!(info.selectable_fields.iter().any(|known| known == field));
        let mut object = json!({"spec": {}});
        assert_eq!(info.strategy.selectable(&object, field).as_deref(), Some("false"));
        object["spec"][name] = json!(true);
        assert_eq!(info.strategy.selectable(&object, field).as_deref(), Some("true"));
        assert_eq!(info.strategy.selectable(&object, "metadata.name"), None);
    }
}

proptest::proptest! {
    /// Values of wrong types are reported before rules are asked, but rules and cells must not stumble over them.
    #[test]
    fn odd_objects_are_judged_not_stumbled_over(
        which in 0..ENTRIES.len(),
        changes in proptest::collection::vec((proptest::prelude::any::<u16>(), 0..9_usize), 1..6),
    ) {
        let odd = [
            json!(null), json!("x"), json!(-1), json!(1.5), json!(true), json!([]), json!({}), json!([null]), json!({"a": {"b": 1}}),
        ];
        let (entry, mut sample) = samples().swap_remove(which);
        let strategy = entry.info().strategy;
        strategy.default(&mut sample);
        strategy.prepare_create(&mut sample);
        let mut object = sample.clone();
        for (place, value) in changes {
            let mut found = Vec::new();
            places(&object, "", &mut found);
            let place = &found[usize::from(place) % found.len()];
            *object.pointer_mut(place).unwrap() = odd[value].clone();
        }
        for (new, old) in [(&object, &sample), (&sample, &object), (&object, &object)] {
            let mut changed = new.clone();
            strategy.default(&mut changed);
            strategy.prepare_create(&mut changed);
            strategy.prepare_update(&mut changed, old);
            strategy.begin_deletion(&mut changed);
            for subresource in ["", "status"] {
                let transition = crate::registry::Transition { new: &changed, old: Some(old), subresource };
                strategy.validate(&transition);
                strategy.warnings(&transition);
            }
            strategy.claims(&changed);
            strategy.is_held(&changed);
            strategy.grace_period_seconds(&changed);
            strategy.cells(&changed, jiff::Timestamp::UNIX_EPOCH);
        }
    }
}
