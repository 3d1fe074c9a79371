//! Random types, values of them, and histories of objects.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

/// Those who write.
pub(super) const NAMES: [&str; 4] = ["m0", "m1", "m2", "m3"];

/// A place of a type; `depth`: of how many containers.
fn schema(depth: u32) -> BoxedStrategy<Value> {
    let scalar = select(vec!["string", "number", "boolean"]).prop_map(|kind| json!({"type": kind}));
    if depth == 0 {
        return scalar.boxed();
    }
    let inner = || schema(depth - 1);
    let is_atomic = || prop::bool::weighted(0.25);
    let object = (prop::collection::btree_map(select(vec!["a", "b", "c"]), inner(), 1..3), is_atomic());
    let map = (inner(), is_atomic());
    prop_oneof![
        3 => scalar,
        2 => object.prop_map(|(fields, atomic)| whole(json!({"type": "object", "properties": fields}), atomic)),
        2 => map.prop_map(|(inner, atomic)| whole(json!({"type": "object", "additionalProperties": inner}), atomic)),
        1 => Just(json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"})),
        1 => inner().prop_map(|items| json!({"type": "array", "items": items})),
        2 => inner().prop_map(|inner| json!({
            "type": "array",
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "a": inner, "b": {"type": "number"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
        })),
    ]
    .boxed()
}

fn whole(mut schema: Value, is_atomic: bool) -> Value {
    if is_atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    schema
}

/// A value of a type; `empties`: objects, maps and atomic lists may be empty, and anything but an item may be null.
fn value(schema: &Value, empties: bool) -> BoxedStrategy<Value> {
    let items = &schema["items"];
    let given = match (schema["type"].as_str(), schema["x-kubernetes-list-type"].as_str()) {
        (Some("string"), _) => select(vec!["x", "y", "z"]).prop_map(Value::from).boxed(),
        (Some("number"), _) => (0..3_i64).prop_map(Value::from).boxed(),
        (Some("boolean"), _) => any::<bool>().prop_map(Value::from).boxed(),
        (Some("object"), _) => object(schema, empties),
        (_, Some("set")) => subsequence(vec!["x", "y", "z"], 1..=3)
            .prop_shuffle()
            .prop_map(|items| items.into_iter().collect::<Value>())
            .boxed(),
        (_, Some(_)) => {
            let optional = |name: &str| prop::option::of(value(&items["properties"][name], empties));
            let fields = prop::collection::vec((optional("a"), optional("b")), 3);
            let keys = subsequence(vec!["x", "y", "z"], 1..=3).prop_shuffle();
            let item = |(key, (a, b)): (&str, (Option<Value>, Option<Value>))| {
                let fields = [("k", Some(Value::from(key))), ("a", a), ("b", b)];
                fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect::<Value>()
            };
            (keys, fields)
                .prop_map(move |(keys, fields)| keys.into_iter().zip(fields).map(item).collect::<Value>())
                .boxed()
        }
        _ => prop::collection::vec(value(items, empties), usize::from(!empties)..3).prop_map(Value::Array).boxed(),
    };
    if empties { prop_oneof![14 => given, 1 => Just(Value::Null)].boxed() } else { given }
}

/// An object or a map.
fn object(schema: &Value, empties: bool) -> BoxedStrategy<Value> {
    let least = usize::from(!empties);
    let additional = &schema["additionalProperties"];
    if additional.is_object() {
        let members = prop::collection::btree_map(select(vec!["p", "q", "r"]), value(additional, empties), least..4);
        return members.prop_map(|members| members.into_iter().collect::<Value>()).boxed();
    }
    let fields = schema["properties"].as_object().expect("an object has properties");
    let names: Vec<String> = fields.keys().cloned().collect();
    let all: Vec<BoxedStrategy<Value>> = fields.values().map(|field| value(field, empties)).collect();
    let kept = subsequence(names.clone(), least..=names.len());
    let members = move |(values, kept): (Vec<Value>, Vec<String>)| {
        let all = names.iter().cloned().zip(values);
        all.filter(|(name, _)| kept.contains(name)).collect::<Value>()
    };
    (all, kept).prop_map(members).boxed()
}

/// How somebody writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Apply,
    Force,
    /// Puts something else in place of what there is.
    Replace,
    /// Changes what there is.
    Change,
}

/// Who writes what.
pub(super) type Step = (How, &'static str, Value);

/// A type, and what happens to an object of it.
pub(super) fn history(empties: bool) -> impl Strategy<Value = (Value, Vec<Step>)> {
    let root = (schema(2), schema(2), schema(2));
    let root = root.prop_map(|(a, b, c)| json!({"type": "object", "properties": {"a": a, "b": b, "c": c}}));
    root.prop_flat_map(move |schema| {
        let how = select(vec![How::Apply, How::Apply, How::Force, How::Replace, How::Change]);
        let step = (how, select(NAMES.to_vec()), object(&schema, empties));
        (Just(schema), prop::collection::vec(step, 1..12))
    })
}
