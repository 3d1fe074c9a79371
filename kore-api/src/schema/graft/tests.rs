//! Unknown fields survive typed edits.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::facts;
use crate::schema::{normalize, sample::Dice};

#[test]
fn rows() {
    let pod = Schema::of("v1", "Pod");
    let rows = [
        // Nothing changed: even the form stays.
        (
            json!({"q": "0.5", "n": null, "x": 1}),
            json!({"q": "500m"}),
            json!({"q": "500m"}),
            json!({"q": "0.5", "n": null, "x": 1}),
        ),
        // A known field removed, with what is below.
        (json!({"a": {"b": 1, "x": 1}, "y": 1}), json!({"a": {"b": 1}}), json!({}), json!({"y": 1})),
        // A field the round trip adds is no edit.
        (json!({"a": 1}), json!({"a": 1, "status": {}}), json!({"a": 2, "status": {}}), json!({"a": 2})),
        // A field that the struct read as absent is set.
        (json!({"a": null}), json!({}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        (json!({"a": {"x": 1}}), json!({}), json!({"a": {"b": 1}}), json!({"a": {"x": 1, "b": 1}})),
        // Items by key, reordered, changed, added and removed at once.
        (
            json!({"spec": {"containers": [{"name": "a", "x": 1}, {"name": "b", "x": 2}, {"name": "c", "x": 3}]}}),
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}}),
            json!({"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d"}, {"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "c", "image": "i", "x": 3}, {"name": "d"}, {"name": "a", "x": 1}]}}),
        ),
        // A renamed item is a new item where keys decide.
        (
            json!({"spec": {"containers": [{"name": "a", "x": 1}]}}),
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "b"}]}}),
            json!({"spec": {"containers": [{"name": "b"}]}}),
        ),
        // Without keys: the middle one changed, the first went.
        (
            json!({"spec": {"tolerations": [{"key": "a", "x": 1}, {"key": "b", "x": 2}, {"key": "c", "x": 3}]}}),
            json!({"spec": {"tolerations": [{"key": "a"}, {"key": "b"}, {"key": "c"}]}}),
            json!({"spec": {"tolerations": [{"key": "b", "value": "v"}, {"key": "c"}]}}),
            json!({"spec": {"tolerations": [{"key": "b", "value": "v", "x": 2}, {"key": "c", "x": 3}]}}),
        ),
        // Scalars are what the edit says.
        (json!([1, 2, 3]), json!([1, 2, 3]), json!([3, 1]), json!([3, 1])),
        // The struct lost an item on the way in: positions mean nothing, the edit stands.
        (json!([null, {"x": 1}]), json!([{}]), json!([{"a": 1}]), json!([{"a": 1}])),
    ];
    for (full, base, new, expected) in rows {
        assert_eq!(graft(pod.as_ref(), &full, &base, &new), expected);
    }
}

/// What a typed struct would see: members whose name starts with `x-` are unknown to it.
fn typed(full: &Value) -> Value {
    match full {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !name.starts_with("x-"))
            .map(|(name, value)| (name.clone(), typed(value)))
            .collect(),
        Value::Array(items) => items.iter().map(typed).collect(),
        scalar => scalar.clone(),
    }
}

/// Every unknown field with the path of known fields and item names that leads to it.
fn unknowns(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                if name.starts_with("x-") { found.push((path, member.clone())) } else { unknowns(&path, member, found) }
            }
        }
        Value::Array(items) => {
            for item in items {
                unknowns(&format!("{path}[{}]", item["name"]), item, found);
            }
        }
        _ => {}
    }
}

/// An object tree with unknown fields anywhere, in which list items have names of their own.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::btree_map("(x-)?[a-f]", inner.clone(), 0..6)
                .prop_map(|members| members.into_iter().collect()),
            proptest::collection::btree_map("[a-h]", proptest::collection::btree_map("(x-)?[a-f]", inner, 0..4), 0..5)
                .prop_map(|items| {
                    items
                        .into_iter()
                        .map(|(name, members)| {
                            let mut item: Map<String, Value> = members.into_iter().collect();
                            item.insert("name".to_owned(), Value::from(name));
                            Value::Object(item)
                        })
                        .collect()
                }),
        ]
    })
}

/// Changes a typed tree as a controller would: scalars change, fields and items come, go and move; names of items stay.
fn edit(value: &mut Value, dice: &mut impl Iterator<Item = u8>, removed: &mut Vec<String>, path: &str) {
    let mut roll = |sides: u8| dice.next().unwrap_or(0) % sides;
    match value {
        Value::Object(members) => {
            let names: Vec<String> = members.keys().filter(|name| *name != "name").cloned().collect();
            let gone: Vec<String> = names.iter().filter(|_| roll(8) == 7).cloned().collect();
            if roll(4) == 3 {
                members.insert("added".to_owned(), json!({"by": "the edit"}));
            }
            for name in gone {
                members.remove(&name);
                removed.push(format!("{path}.{name}"));
            }
            for (name, member) in members.iter_mut().filter(|(name, _)| *name != "name") {
                edit(member, dice, removed, &format!("{path}.{name}"));
            }
        }
        Value::Array(items) => {
            if roll(3) == 2 {
                items.reverse();
            }
            if roll(3) == 2 {
                items.insert(items.len() / 2, json!({"name": "added"}));
            }
            if roll(4) == 3 && !items.is_empty() {
                let gone = items.remove(0);
                removed.push(format!("{path}[{}]", gone["name"]));
            }
            for item in items.iter_mut() {
                let path = format!("{path}[{}]", item["name"]);
                edit(item, dice, removed, &path);
            }
        }
        scalar => {
            if roll(3) == 2 {
                *scalar = json!("changed");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn unknown_fields_survive_random_edits(full in tree(), dice in proptest::collection::vec(any::<u8>(), 0..200)) {
        let full = json!({"spec": full});
        let base = typed(&full);
        let mut new = base.clone();
        let mut removed = Vec::new();
        edit(&mut new, &mut dice.into_iter(), &mut removed, "");

        let grafted = graft(None, &full, &base, &new);

        // The edit is there, whole.
        prop_assert_eq!(typed(&grafted), new);
        // Nothing unknown was lost that the edit did not remove, and nothing unknown moved or appeared.
        let (mut before, mut after) = (Vec::new(), Vec::new());
        unknowns("", &full, &mut before);
        unknowns("", &grafted, &mut after);
        before.retain(|(path, _)| !removed.iter().any(|gone| path.starts_with(&format!("{gone}.")) || path.starts_with(&format!("{gone}["))));
        before.sort_by(|left, right| left.0.cmp(&right.0));
        after.sort_by(|left, right| left.0.cmp(&right.0));
        prop_assert_eq!(after, before);
    }
}

/// Puts fields into objects that no version of the API has; free-form maps are left alone, where every key is known.
fn salt(schema: &Schema, value: &mut Value, dice: &mut Dice, path: &str, salted: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if let Some(inner) = schema.field(name) {
                    salt(&inner, member, dice, &format!("{path}/{name}"), salted);
                }
            }
            if schema.form() == crate::schema::Form::Object && dice.roll(2) == 0 {
                let unknown = json!({"depth": path.len(), "list": [dice.roll(9)]});
                members.insert("notYetKnown".to_owned(), unknown.clone());
                salted.push((format!("{path}/notYetKnown"), unknown));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if let Some(inner) = schema.element() {
                    salt(&inner, item, dice, &format!("{path}/{index}"), salted);
                }
            }
        }
        _ => {}
    }
}

/// With the real typed structs: what they do not know survives an edit, wherever it stands.
fn survives_typed_edits<K: serde::Serialize + serde::de::DeserializeOwned>(
    api_version: &str,
    kind: &str,
    edit: impl Fn(&mut Value),
) {
    let found = facts::kind(api_version, kind).expect(kind);
    let schema = Schema::root(found);
    let mut tried = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut full = dice.object(found, 0);
        // The schema types of a CRD and free JSON aside, a struct reads back what it wrote.
        normalize(&schema, &mut full);
        let mut salted = Vec::new();
        salt(&schema, &mut full, &mut dice, "", &mut salted);
        full["apiVersion"] = api_version.into();
        full["kind"] = kind.into();

        // The struct demands some times that a random object does not always have.
        let Ok(typed) = serde_json::from_value::<K>(full.clone()) else {
            continue;
        };
        tried += 1;
        let base = serde_json::to_value(&typed).expect("serializes");
        let mut new = base.clone();
        edit(&mut new);
        let edited: K = serde_json::from_value(new).expect("still of its type");
        let new = serde_json::to_value(&edited).expect("serializes");
        let grafted = graft(Some(&schema), &full, &base, &new);

        for (pointer, unknown) in salted {
            // What the edits below leave in place: everything.
            assert_eq!(grafted.pointer(&pointer), Some(&unknown), "{kind} {seed}: {pointer}");
        }
        let again: K = serde_json::from_value(grafted).expect("still of its type");
        assert_eq!(serde_json::to_value(&again).expect("serializes"), new, "{kind} {seed}: the edit is there");
    }
    assert!(tried > 50, "{kind}: {tried} objects");
}

/// The value at a path of fields, made where there is none.
fn at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(value, |value, name| &mut value[*name])
}

fn each<'a>(value: &'a mut Value, path: &[&str]) -> impl Iterator<Item = &'a mut Value> {
    at(value, path).as_array_mut().into_iter().flatten()
}

fn push(value: &mut Value, path: &[&str], item: Value) {
    let list = at(value, path);
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

#[test]
fn unknown_fields_survive_edits_of_real_types() {
    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, discovery::v1 as discovery};

    survives_typed_edits::<apps::Deployment>("apps/v1", "Deployment", |deployment| {
        *at(deployment, &["spec", "replicas"]) = 7.into();
        *at(deployment, &["spec", "template", "metadata", "annotations", "edited"]) = "yes".into();
        for container in each(deployment, &["spec", "template", "spec", "containers"]) {
            container["image"] = "edited".into();
            push(container, &["env"], json!({"name": "EDITED"}));
        }
        push(deployment, &["status", "conditions"], json!({"type": "Edited", "status": "True"}));
    });
    survives_typed_edits::<core::Pod>("v1", "Pod", |pod| {
        *at(pod, &["metadata", "labels", "edited"]) = "yes".into();
        *at(pod, &["spec", "nodeName"]) = "node".into();
        *at(pod, &["status", "phase"]) = "Running".into();
        for container in each(pod, &["status", "containerStatuses"]) {
            container["restartCount"] = 12345.into();
        }
    });
    survives_typed_edits::<core::Node>("v1", "Node", |node| {
        *at(node, &["spec", "unschedulable"]) = true.into();
        push(node, &["spec", "taints"], json!({"key": "edited", "effect": "NoSchedule"}));
    });
    survives_typed_edits::<core::Service>("v1", "Service", |service| {
        *at(service, &["spec", "clusterIP"]) = "127.1.0.1".into();
    });
    survives_typed_edits::<discovery::EndpointSlice>("discovery.k8s.io/v1", "EndpointSlice", |slice| {
        push(slice, &["endpoints"], json!({"addresses": ["127.0.0.9"]}));
        for endpoint in each(slice, &["endpoints"]) {
            *at(endpoint, &["conditions", "ready"]) = true.into();
        }
    });
}
