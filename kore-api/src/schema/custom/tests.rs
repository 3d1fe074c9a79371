//! What structural schemas do to objects, as tables.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{KindSchema, structural};

fn kind(schema: Value) -> KindSchema {
    KindSchema::read(&schema).unwrap()
}

fn of_spec(spec: Value) -> KindSchema {
    kind(json!({"type": "object", "properties": {"spec": spec}}))
}

#[test]
fn what_is_not_known_is_dropped() {
    let known = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    for (spec, object, left, dropped) in [
        (known.clone(), json!({"a": "x", "b": 1, "c": {"d": 2}}), json!({"a": "x"}), vec!["spec.b", "spec.c"]),
        (
            json!({"type": "array", "items": known}),
            json!([{"a": "x"}, {"z": 1}]),
            json!([{"a": "x"}, {}]),
            vec!["spec[1].z"],
        ),
        (
            json!({"type": "object", "additionalProperties": known}),
            json!({"k": {"a": "x", "z": 1}}),
            json!({"k": {"a": "x"}}),
            vec!["spec.k.z"],
        ),
        (
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"p": known}}),
            json!({"any": {"thing": 1}, "p": {"z": 1}}),
            json!({"any": {"thing": 1}, "p": {}}),
            vec!["spec.p.z"],
        ),
        (json!({"x-kubernetes-preserve-unknown-fields": true}), json!({"any": 1}), json!({"any": 1}), vec![]),
        (json!({"type": "object"}), json!({"any": 1}), json!({}), vec!["spec.any"]),
        (json!({"type": "object", "additionalProperties": true}), json!({"any": 1}), json!({"any": 1}), vec![]),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": known}}),
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}, "spec": {"z": 1}, "other": 1}),
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}, "spec": {}}),
            vec!["spec.other", "spec.spec.z"],
        ),
        (json!({"type": "object", "x-kubernetes-int-or-string": true}), json!(5), json!(5), vec![]),
    ] {
        let schema = of_spec(spec.clone());
        let mut value = json!({"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "a"}, "spec": object});
        assert_eq!(schema.prune(&mut value), dropped, "{spec}");
        assert_eq!(value["spec"], left, "{spec}");
        assert_eq!(value["metadata"], json!({"name": "a"}));
    }
}

#[test]
fn what_is_left_out_is_filled_in() {
    let inner =
        json!({"type": "object", "properties": {"n": {"type": "integer", "default": 5}, "t": {"type": "string"}}});
    for (spec, object, filled) in [
        (inner.clone(), json!({}), json!({"n": 5})),
        (inner.clone(), json!({"n": 7}), json!({"n": 7})),
        (inner.clone(), json!({"n": null, "t": null}), json!({"n": 5})),
        (json!({"type": "object", "properties": {"a": inner}}), json!({}), json!({})),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 5}}}}}),
            json!({}),
            json!({"a": {"n": 5}}),
        ),
        (json!({"type": "array", "items": inner}), json!([{}, {"n": 1}]), json!([{"n": 5}, {"n": 1}])),
        (json!({"type": "object", "additionalProperties": inner}), json!({"k": {}}), json!({"k": {"n": 5}})),
        (
            json!({"type": "object", "properties": {"n": {"type": "integer", "nullable": true, "default": 5}}}),
            json!({"n": null}),
            json!({"n": null}),
        ),
        (json!({"type": "array", "items": {"type": "string", "default": "x"}}), json!([null, "y"]), json!(["x", "y"])),
        (
            json!({"type": "object", "properties": {"n": {"type": "integer", "default": 5.0}}}),
            json!({}),
            json!({"n": 5}),
        ),
    ] {
        let schema = of_spec(spec.clone());
        let mut value = json!({"spec": object});
        schema.default(&mut value);
        assert_eq!(value["spec"], filled, "{spec} {object}");
    }
}

fn told(spec: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    let old = old.map(|old| json!({"spec": old}));
    of_spec(spec.clone()).validate(&json!({"spec": new}), old.as_ref()).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_is_told_in_upstreams_words() {
    for (spec, object, expected) in [
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            vec!["spec: Invalid value: 0: spec in body should be greater than or equal to 1"],
        ),
        (
            json!({"type": "number", "maximum": 1.5, "exclusiveMaximum": true}),
            json!(1.5),
            vec!["spec: Invalid value: 1.5: spec in body should be less than 1.5"],
        ),
        (
            json!({"type": "integer", "multipleOf": 2}),
            json!(3),
            vec!["spec: Invalid value: 3: spec in body should be a multiple of 2"],
        ),
        (
            json!({"type": "integer"}),
            json!("x"),
            vec!["spec: Invalid value: \"string\": spec in body must be of type integer: \"string\""],
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            vec!["spec: Invalid value: \"number\": spec in body must be of type integer: \"number\""],
        ),
        (json!({"type": "integer"}), json!(2.0), vec![]),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            vec!["spec: Unsupported value: \"c\": supported values: \"a\", \"b\""],
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            vec!["spec: Invalid value: \"b\": spec in body should match '^a+$'"],
        ),
        (json!({"type": "string", "maxLength": 2}), json!("äöü"), vec!["spec: Too long: may not be more than 2 bytes"]),
        (
            json!({"type": "string", "minLength": 2}),
            json!("ä"),
            vec!["spec: Invalid value: \"ä\": spec in body should be at least 2 chars long"],
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("soon"),
            vec!["spec: Invalid value: \"soon\": spec in body must be of type date-time: \"soon\""],
        ),
        (json!({"type": "string", "format": "no-such-format"}), json!("soon"), vec![]),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            vec!["spec: Too many: 2: must have at most 1 items"],
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
            json!([]),
            vec!["spec: Invalid value: 0: spec in body should have at least 1 items"],
        ),
        (
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
            json!({}),
            vec!["spec.a: Required value"],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b", "a"]),
            vec!["spec[2]: Duplicate value: \"a\""],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}}),
            json!([{"k": "a", "v": 1}, {"k": "a", "v": 2}]),
            vec!["spec[1]: Duplicate value: {\"k\":\"a\"}"],
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            vec!["spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\""],
        ),
        (json!({"type": "string", "nullable": true}), json!(null), vec![]),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": 1, "b": 1}),
            vec![
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"properties": {"a": {"minimum": 5}}, "required": ["a"]}]}),
            json!({}),
            vec![
                "<nil>: Invalid value: \"\": \"spec\" must validate at least one schema (anyOf)",
                "spec.a: Required value",
            ],
        ),
        (
            json!({"type": "integer", "not": {"minimum": 5}}),
            json!(7),
            vec!["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"],
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"kind": "A"}),
            vec!["spec.apiVersion: Required value: must not be empty"],
        ),
    ] {
        assert_eq!(told(&spec, &object, None), expected, "{spec}");
    }
}

#[test]
fn what_has_not_changed_is_not_told() {
    let spec = json!({"type": "object", "properties": {
        "old": {"type": "integer", "minimum": 5},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 3}}}},
    }});
    let old = json!({"old": 1, "list": [{"k": "a", "v": 9}]});
    assert_eq!(told(&spec, &json!({"old": 1, "list": [{"k": "b", "v": 1}, {"k": "a", "v": 9}]}), Some(&old)), [""; 0]);
    assert_eq!(told(&spec, &json!({"old": 2, "list": [{"k": "a", "v": 8}]}), Some(&old)).len(), 2);
}

#[test]
fn rules_in_cel() {
    let spec = json!({"type": "object", "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        },
        "x-kubernetes-validations": [{"rule": "self.min <= self.max", "messageExpression": "'min must not be over ' + string(self.max)"}]});
    assert_eq!(told(&spec, &json!({"min": 1, "max": 2}), None), [""; 0]);
    assert_eq!(
        told(&spec, &json!({"min": 3, "max": 2}), None),
        ["spec: Invalid value: \"object\": min must not be over 2"]
    );
    let old = json!({"min": 1, "max": 2, "fixed": "a"});
    assert_eq!(
        told(&spec, &json!({"min": 1, "max": 2, "fixed": "b"}), Some(&old)),
        ["spec.fixed: Invalid value: \"b\": is immutable"]
    );
    assert_eq!(told(&spec, &json!({"min": 1, "max": 3, "fixed": "a"}), Some(&old)), [""; 0]);
    // What broke the rule before may stay, and nothing else may.
    let broken = json!({"min": 3, "max": 2, "fixed": "a"});
    assert_eq!(told(&spec, &broken, Some(&broken)), [""; 0]);
}

#[test]
fn what_a_schema_may_not_say() {
    let of = |schema: Value| -> Vec<String> { structural(&schema, "s").iter().map(ToString::to_string).collect() };
    let root = |spec: Value| json!({"type": "object", "properties": {"spec": spec}});
    for (schema, expected) in [
        (json!({}), vec!["s.type: Required value: must not be empty at the root"]),
        (json!({"type": "string"}), vec!["s.type: Invalid value: \"string\": must be object at the root"]),
        (
            root(json!({})),
            vec!["s.properties[spec].type: Required value: must not be empty for specified object fields"],
        ),
        (root(json!({"type": "array"})), vec!["s.properties[spec].items: Required value: must be specified"]),
        (
            root(json!({"type": "thing"})),
            vec![
                "s.properties[spec].type: Unsupported value: \"thing\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
            ],
        ),
        (
            root(
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            ),
            vec![
                "s.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            root(json!({"type": "integer", "default": "x"})),
            vec!["s.properties[spec].default: Invalid value: \"string\":  in body must be of type integer: \"string\""],
        ),
        (
            root(json!({"type": "object", "default": {"z": 1}})),
            vec!["s.properties[spec].default: Invalid value: {\"z\":1}: must not have unknown fields"],
        ),
        (
            root(json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}})),
            vec![
                "s.properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ],
        ),
        (
            root(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}}})),
            vec![
                "s.properties[spec].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        ),
        (
            root(json!({"type": "string", "anyOf": [{"type": "string"}]})),
            vec!["s.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (root(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})), vec![]),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            vec![
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (json!({"type": "object", "properties": {"metadata": {"type": "object"}}}), vec![]),
    ] {
        assert_eq!(of(schema.clone()), expected, "{schema}");
    }
    let broken =
        of(root(json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.a +"}, {"rule": "other.a"}]})));
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(
        broken[0].starts_with(
            "s.properties[spec].x-kubernetes-validations[0].rule: Invalid value: \"self.a +\": compilation failed"
        ),
        "{broken:?}"
    );
    for rule in [format!("{}true{}", "(".repeat(5000), ")".repeat(5000)), "true ? ".repeat(5000) + "true"] {
        let schema = root(json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]}));
        assert!(of(schema.clone())[0].contains("nested more than 8 deep"));
        assert!(KindSchema::read(&schema).is_err());
    }
    // What is as deep as it may be has room enough, and what is only long is not deep.
    for rule in
        [format!("{}true{}", "(".repeat(8), ")".repeat(8)), "!".repeat(400) + "true", "true || ".repeat(200) + "true"]
    {
        let schema = root(json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]}));
        assert_eq!(of(schema), [""; 0], "{rule}");
    }
    let pattern = of(root(json!({"type": "string", "pattern": "("})));
    assert!(pattern[0].contains("must be a valid regular expression, but isn't"), "{pattern:?}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_map(|number| json!(number)),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is sent: what has been brought into form once is in that form, and nothing panics.
    #[test]
    fn form_is_final(object in any_json(), other in any_json()) {
        let schema = kind(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"], "items": {"type": "object",
                "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "integer", "default": 1, "maximum": 9}}}},
            "b": {"type": "object", "additionalProperties": {"type": "string", "nullable": true, "pattern": "^a"}},
            "c": {"type": "object", "default": {}, "properties": {"a": {"x-kubernetes-int-or-string": true, "default": 3}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "x-kubernetes-validations": [{"rule": "self.a != 4"}]},
        }}}}));
        let mut value = json!({"spec": object});
        schema.prune(&mut value);
        schema.default(&mut value);
        let once = value.clone();
        prop_assert!(schema.prune(&mut value).is_empty());
        schema.default(&mut value);
        prop_assert_eq!(&value, &once);
        schema.validate(&value, Some(&json!({"spec": other})));
        prop_assert!(schema.validate(&value, Some(&value)).is_empty());
        structural(&json!({"type": "object", "properties": {"spec": value}}), "s");
    }
}
