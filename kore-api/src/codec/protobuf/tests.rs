//! Every type round-trips, and what the Go encoder writes is read as it would be.

use base64::Engine as _;
use serde_json::{Map, json};

use super::*;
use crate::facts::Special;
use crate::schema::sample::Dice;
use crate::schema::{Schema, check, normalize};

/// What a list says by being empty, protobuf cannot say.
fn drop_empty_lists(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(drop_empty_lists);
            members.retain(|_, member| !member.as_array().is_some_and(Vec::is_empty));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_lists),
        _ => {}
    }
}

#[test]
fn every_type_round_trips() {
    let mut dice = Dice(1);
    for found in facts::all().filter(|found| found.special == Special::None) {
        for _ in 0..6 {
            let schema = Schema::root(found);
            let mut object = dice.object(found, 0);
            assert_eq!(check(&schema, &object), [], "{}: {object}", found.definition());
            normalize(&schema, &mut object);
            let members = object.as_object().expect("an object");
            let bytes = write::message(found, members)
                .unwrap_or_else(|error| panic!("{}: {error}: {object}", found.definition()));
            let mut read = Value::Object(
                read::message(found, &bytes, 100).unwrap_or_else(|error| panic!("{}: {error}", found.definition())),
            );
            // Lists and maps that are kept when empty, and lists inside wrappers, differ only in that.
            normalize(&schema, &mut object);
            drop_empty(&mut read);
            drop_empty(&mut object);
            assert_eq!(read, object, "{}", found.definition());
        }
    }
}

fn drop_empty(value: &mut Value) {
    drop_empty_lists(value);
    if let Value::Object(members) = value {
        members.values_mut().for_each(drop_empty);
        members.retain(|_, member| !member.as_object().is_some_and(Map::is_empty));
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(drop_empty);
    }
}

#[test]
fn every_kind_round_trips_in_every_format() {
    let mut dice = Dice(2);
    let mut kinds = 0;
    for found in facts::all().filter(|found| found.is_kind) {
        kinds += 1;
        let mut object = dice.object(found, 0);
        normalize(&Schema::root(found), &mut object);
        drop_empty(&mut object);
        object["apiVersion"] = found.package.group_version.into();
        object["kind"] = found.name.into();
        let mut read = decode(&encode(&object).expect(found.name), 100).expect(found.name);
        drop_empty(&mut read);
        assert_eq!(read, object);
        for format in [super::super::Format::Json, super::super::Format::Yaml] {
            let text = super::super::encode(format, &object).expect(found.name);
            let decoded = super::super::decode(format, &text, &super::super::Limits::default())
                .unwrap_or_else(|error| panic!("{}: {error}: {}", found.name, String::from_utf8_lossy(&text)));
            assert_eq!(decoded.value, object, "{format:?}");
        }
    }
    assert_eq!(kinds, 201);
}

/// `create configmap` as the Go encoder writes it: fields that are not pointers are there even when empty.
#[test]
fn zeros_of_the_go_encoder_are_absence() {
    let mut meta = Writer::default();
    meta.bytes(1, b"settings"); // name
    meta.bytes(2, b""); // generateName
    meta.bytes(3, b"default"); // namespace
    meta.bytes(4, b"");
    meta.bytes(5, b"");
    meta.bytes(6, b"");
    meta.varint(7, 0); // generation
    meta.bytes(8, b""); // creationTimestamp
    let mut entry = Writer::default();
    entry.bytes(1, b"key");
    entry.bytes(2, b"value");
    let mut config_map = Writer::default();
    config_map.bytes(1, &meta.finish());
    config_map.bytes(2, &entry.finish());
    let mut type_meta = Writer::default();
    type_meta.bytes(1, b"v1");
    type_meta.bytes(2, b"ConfigMap");
    let mut unknown = Writer::default();
    unknown.bytes(1, &type_meta.finish());
    unknown.bytes(2, &config_map.finish());
    unknown.bytes(3, b"");
    unknown.bytes(4, b"");
    let body = [&MAGIC[..], &unknown.finish()].concat();
    assert_eq!(
        decode(&body, 100).expect("well formed"),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}, "data": {"key": "value"}}),
    );
}

#[test]
fn pointers_keep_their_zeros() {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "selector": {}, "template": {"spec": {
        "hostUsers": false, "containers": [{"name": "a", "resources": {}}],
        "volumes": [{"name": "c", "configMap": {"name": "settings", "optional": false}}, {"name": "e", "emptyDir": {}}]}}}});
    assert_eq!(decode(&encode(&deployment).expect("representable"), 100), Ok(deployment));
}

#[test]
fn what_has_no_place_is_an_error_with_its_path() {
    for (value, path) in [
        (
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}, {"name": "b", "new": 1}]}}),
            "spec.containers[1].new",
        ),
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": 1}}}), "metadata.labels.a"),
        (json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "1"}}), "spec.replicas"),
    ] {
        assert_eq!(encode(&value), Err(CodecError::NotRepresentable { path: path.to_owned() }));
    }
    let custom = json!({"apiVersion": "example.com/v1", "kind": "Widget"});
    assert_eq!(
        encode(&custom),
        Err(CodecError::NoProtobuf { api_version: "example.com/v1".to_owned(), kind: "Widget".to_owned() })
    );
}

#[test]
fn delete_options_belong_to_every_group() {
    for api_version in ["v1", "apps/v1", "batch/v1"] {
        let options = json!({"apiVersion": api_version, "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Background", "preconditions": {"uid": "u"}});
        assert_eq!(decode(&encode(&options).expect("representable"), 100), Ok(options));
    }
}

#[test]
fn damaged_bodies_are_errors_and_never_worse() {
    let mut dice = Dice(3);
    for found in facts::all().filter(|found| found.is_kind).take(60) {
        let mut object = dice.object(found, 2);
        object["apiVersion"] = found.package.group_version.into();
        object["kind"] = found.name.into();
        let whole = encode(&object).expect(found.name).to_vec();
        for _ in 0..50 {
            let mut damaged = whole.clone();
            match dice.roll(3) {
                0 => damaged.truncate(dice.roll(whole.len() as u64) as usize),
                1 => damaged[4 + dice.roll(whole.len() as u64 - 4) as usize] ^= 1 << dice.roll(8),
                _ => damaged.insert(4 + dice.roll(whole.len() as u64 - 4) as usize, dice.roll(256) as u8),
            }
            // Whatever comes out is a value that can be checked, or an error: the point is that nothing panics.
            if let Ok(value) = decode(&damaged, 100) {
                assert!(value.is_object());
            }
        }
    }
    assert!(matches!(decode(b"{}", 100), Err(CodecError::MalformedProtobuf { .. })));
    assert!(matches!(decode(b"k8s\0\x0a\xff", 100), Err(CodecError::MalformedProtobuf { .. })));
}

#[test]
fn nesting_is_bounded() {
    let mut schema = json!({"type": "object"});
    for _ in 0..150 {
        schema = json!({"not": schema});
    }
    let value = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {"group": "g", "names": {"kind": "K", "plural": "k"}, "scope": "Cluster", "versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": schema}}]}});
    assert_eq!(decode(&encode(&value).expect("representable"), 100), Err(CodecError::TooDeep { limit: 100 }));
}

/// The body of `kubectl create deployment x --image=nginx --replicas=0`, as kubectl 1.36.3 sent it.
#[test]
fn a_body_of_kubectl() {
    let body = base64::engine::general_purpose::STANDARD
        .decode("azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EqMBChsKAXgSABoAIgAqADIAOABCAFoICgNhcHASAXgSdggAEgoKCAoDYXBwEgF4Gl4KGgoAEg\
        AaACIAKgAyADgAQgBaCAoDYXBwEgF4EkASIgoFbmdpbngSBW5naW54KgBCAGoAcgCAAQCIAQCQAQCiAQAaADIAQgBKAFIAWABgAGgAggEAigEA\
        mgEAwgEAIgIKACgAOAAaDAgAEAAYACAAKAA4ABoAIgA=")
        .expect("base64");
    assert_eq!(
        decode(&body, 100).expect("well formed"),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": {"app": "x"}}, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "strategy": {}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "nginx", "image": "nginx", "resources": {}}]}}}, "status": {}}),
    );
}
