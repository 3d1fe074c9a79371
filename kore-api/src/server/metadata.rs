//! The rules for what all objects have: `metadata`, `generation`, `status` kept apart.

use serde_json::{Map, Value};

use crate::error::{FieldError, Status};
use crate::kinds::{field, meta, names};
use crate::object::{Object, ObjectKey};
use crate::registry::ResourceInfo;

/// Finalizers that need no domain before them.
const STANDARD_FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// `metadata` of an object, made where it is missing.
pub(super) fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    crate::object::metadata_mut(object).map_err(|error| Status::bad_request(error.to_string()))
}

/// Takes a field out of `metadata`.
pub(super) fn take(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata").and_then(Value::as_object_mut).and_then(|metadata| metadata.remove(field))
}

/// A text in `metadata`; empty: not set.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Checks that a body is about the object that the request names.
pub(super) fn check_key(object: &Value, key: &ObjectKey) -> Result<(), Status> {
    let (namespace, name) = (text(object, "namespace"), text(object, "name"));
    if !namespace.is_empty() && *namespace != *key.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !name.is_empty() && *name != *key.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    Ok(())
}

/// What a new object gets from the server, whatever the client says.
pub(super) fn prepare_create(
    object: &mut Value,
    info: &ResourceInfo,
    key: &ObjectKey,
    uid: String,
    now: String,
) -> Result<(), Status> {
    if info.has_status
        && !info.status_on_create
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    let metadata = metadata_mut(object)?;
    for field in [
        "resourceVersion",
        "managedFields",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert("name".into(), (&*key.name).into());
    if info.resource.is_namespaced() {
        metadata.insert("namespace".into(), (&*key.namespace).into());
    } else {
        metadata.remove("namespace");
    }
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), now.into());
    if info.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    Ok(())
}

/// What a changed object keeps, whatever the client says.
pub(super) fn carry_over(object: &mut Value, old: &Value) -> Result<(), Status> {
    let metadata = metadata_mut(object)?;
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        match old["metadata"].get(field) {
            Some(value) => drop(metadata.insert(field.into(), value.clone())),
            None => drop(metadata.remove(field)),
        }
    }
    Ok(())
}

/// Takes one top-level field over from `old`.
pub(super) fn keep_field(object: &mut Value, old: &Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        match old.get(field) {
            Some(value) => drop(fields.insert(field.into(), value.clone())),
            None => drop(fields.remove(field)),
        }
    }
}

/// Counts a change of the desired state: of anything but metadata and status.
pub(super) fn count_generation(object: &mut Value, old: &Value, info: &ResourceInfo) {
    let nothing = Map::new();
    let fields = |value| Value::as_object(value).unwrap_or(&nothing);
    let (new_fields, old_fields) = (fields(object), fields(old));
    let desired = |name: &&String| *name != "metadata" && !(info.has_status && *name == "status");
    // By name: the order of fields says nothing.
    let same = new_fields.keys().filter(desired).all(|name| new_fields.get(name) == old_fields.get(name))
        && old_fields.keys().filter(desired).all(|name| new_fields.contains_key(name));
    if info.has_generation && !same {
        add_generation(object);
    }
}

/// Counts the generation up.
pub(super) fn add_generation(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
    object["metadata"]["generation"] = generation.into();
}

/// The finalizers of an object.
pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let listed = object["metadata"]["finalizers"].as_array();
    listed.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// All that is wrong with an object's metadata.
pub(super) fn validate(object: &Value, old: Option<&Object>, info: &ResourceInfo) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(object, "name");
    if old.is_none() {
        let prefix = text(object, "generateName");
        if name.is_empty() {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        } else if let Some(problem) = info.names.problem(name) {
            errors.push(FieldError::invalid("metadata.name", name, problem));
        }
        if !prefix.is_empty()
            && let Some(problem) = info.names.prefix_problem(prefix)
        {
            errors.push(FieldError::invalid("metadata.generateName", prefix, problem));
        }
    }
    errors.extend(field::check(object, &Value::Null, |object, _| {
        let metadata = object.get("metadata");
        meta::labels(&metadata.get("labels"));
        meta::annotations(&metadata.get("annotations"));
    }));
    owners(object, &mut errors);
    check_finalizers(object, old, &mut errors);
    errors
}

fn owners(object: &Value, errors: &mut Vec<FieldError>) {
    let mut controller: Option<&str> = None;
    for (index, owner) in object["metadata"]["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        let path = |field: &str| format!("metadata.ownerReferences[{index}].{field}");
        for (field, problem) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::invalid(path(field), "", problem));
            }
        }
        if owner["controller"] == true {
            let name = owner["name"].as_str().unwrap_or_default();
            if let Some(other) = controller.replace(name) {
                let problem = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {other} and {name}"
                );
                errors.push(FieldError::invalid("metadata.ownerReferences", name, problem));
            }
        }
    }
}

fn check_finalizers(object: &Value, old: Option<&Object>, errors: &mut Vec<FieldError>) {
    let listed = finalizers(object);
    for finalizer in &listed {
        let problems = names::qualified_name(finalizer);
        let is_name = problems.is_empty();
        for problem in problems {
            errors.push(FieldError::invalid("metadata.finalizers", *finalizer, problem));
        }
        if is_name && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(finalizer) {
            let problem = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid("metadata.finalizers", *finalizer, problem));
        }
    }
    let Some(old) = old.filter(|old| old.is_deleting()) else {
        return;
    };
    let added: Vec<&str> =
        listed.into_iter().filter(|finalizer| old.finalizers().all(|other| other != *finalizer)).collect();
    if !added.is_empty() {
        let problem = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.iter().map(|finalizer| format!("{finalizer:?}")).collect::<Vec<_>>().join(", ")
        );
        errors.push(FieldError::forbidden("metadata.finalizers", problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ResourceType, Scope};
    use serde_json::json;

    fn info() -> ResourceInfo {
        ResourceInfo::new(ResourceType {
            group: "".into(),
            version: "v1".into(),
            plural: "things".into(),
            kind: "Thing".into(),
            scope: Scope::Namespaced,
        })
    }

    #[test]
    fn everything_wrong_with_metadata_is_said_at_once() {
        let object = json!({"metadata": {
            "name": "Not_Good",
            "labels": {"a b": "c", "ok": "no space", "x/y/z": "1", "é": "ü"},
            "annotations": {"/x": "", "Upper.Case/Ok": ""},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1", "controller": true},
                {"apiVersion": "v1", "kind": "", "name": "b", "uid": "2", "controller": true},
            ],
            "finalizers": ["orphan", "mine", "example.com/ok"],
        }});
        let errors = validate(&object, None, &info());
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "metadata.name",
                "metadata.labels",
                "metadata.labels",
                "metadata.labels",
                "metadata.labels",
                "metadata.labels",
                "metadata.annotations",
                "metadata.ownerReferences[1].kind",
                "metadata.ownerReferences",
                "metadata.finalizers",
            ]
        );
    }

    #[test]
    fn generation_counts_changes_of_the_desired_state() {
        let old = json!({"metadata": {"generation": 3}, "spec": {"a": 1}, "status": {"b": 1}});
        for (new, generation) in [
            (json!({"metadata": {"generation": 3, "labels": {"x": "y"}}, "spec": {"a": 1}, "status": {"b": 2}}), 3),
            (json!({"metadata": {"generation": 3}, "spec": {"a": 2}}), 4),
            (json!({"metadata": {"generation": 3}}), 4),
            (json!({"metadata": {"generation": 3}, "spec": {"a": 1}, "data": {}}), 4),
        ] {
            let mut new = new;
            count_generation(&mut new, &old, &info());
            assert_eq!(new["metadata"]["generation"], generation);
        }
    }
}
