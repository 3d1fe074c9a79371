//! The rules of a container's environment.

use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::names;

/// The fields of its pod that an environment variable may show.
const POD_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// The fields of its pod that a file may show.
pub(super) const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// The resources of a container that a variable or file may show.
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
/// The one place of a variable's value. In upstream's order.
const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

pub(super) fn variables(variables: &Field<'_, '_>) {
    for variable in variables.items() {
        let (name, from) = (variable.get("name"), variable.get("valueFrom"));
        if name.required() {
            name.named(names::env_name);
        }
        if from.is_set() {
            value_from(&from, !variable.get("value").text().is_empty());
        }
    }
}

fn value_from(from: &Field<'_, '_>, has_value: bool) {
    field_ref(&from.get("fieldRef"), &POD_FIELDS);
    resource_ref(&from.get("resourceFieldRef"), false);
    for source in ["configMapKeyRef", "secretKeyRef"] {
        let source = from.get(source);
        if source.is_set() {
            source.get("name").required();
            let key = source.get("key");
            if key.required() {
                key.named(names::config_key);
            }
        }
    }
    let file = from.get("fileKeyRef");
    if file.is_set() {
        for field in ["volumeName", "path", "key"] {
            file.get(field).required();
        }
    }
    let wrong = |detail: &str| from.report(FieldError::invalid(from.path(), "", detail));
    match SOURCES.iter().filter(|source| from.get(source).is_set()).count() {
        0 => wrong(
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        _ if has_value => wrong("may not be specified when `value` is not empty"),
        1 => {}
        _ => wrong("may not have more than one field specified at a time"),
    }
}

/// A reference to a field of the pod, one of `fields` or an entry of its labels or annotations.
pub(super) fn field_ref(reference: &Field<'_, '_>, fields: &[&str]) {
    if !reference.is_set() {
        return;
    }
    if !reference.get("apiVersion").required() {
        return;
    }
    let path = reference.get("fieldPath");
    if !path.required() {
        return;
    }
    let subscript = path.text().strip_suffix("']").and_then(|text| text.split_once("['"));
    match subscript {
        Some(("metadata.annotations", key)) => {
            path.named_as(&key.to_lowercase(), names::qualified_name);
        }
        Some(("metadata.labels", key)) => {
            path.named_as(key, names::qualified_name);
        }
        Some((other, _)) => path.invalid(format!("field `{other}` does not support subscript")),
        None => {
            path.one_of(fields);
        }
    }
}

/// A reference to a resource of a container, which must be named where it is not the container's own.
pub(super) fn resource_ref(reference: &Field<'_, '_>, of_volume: bool) {
    if !reference.is_set() {
        return;
    }
    if of_volume && reference.get("containerName").text().is_empty() {
        reference.get("containerName").missing("");
    }
    let resource = reference.get("resource");
    let pages = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.text().starts_with(prefix));
    if resource.required() && !pages {
        resource.one_of(&RESOURCES);
    }
}

/// ConfigMaps and Secrets taken over as a whole.
pub(super) fn sources(sources: &Field<'_, '_>) {
    for source in sources.items() {
        source.get("prefix").named(names::env_name);
        let kinds = ["configMapRef", "secretRef"];
        match kinds.iter().filter(|kind| source.get(kind).is_set()).count() {
            0 => source.report(FieldError::invalid(
                source.path(),
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => source.report(FieldError::invalid(
                source.path(),
                "",
                "may not have more than one field specified at a time",
            )),
        }
        for kind in kinds {
            let reference = source.get(kind);
            if reference.is_set() {
                reference.get("name").required();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::{Value, json};

    #[test]
    fn what_an_environment_may_not_say() {
        let field =
            |path: &str| json!({"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
        for (variable, expected) in [
            (json!({"name": "A", "value": "x"}), vec![]),
            (field("status.podIP"), vec![]),
            (field("metadata.labels['app']"), vec![]),
            (json!({"name": ""}), vec!["env[0].name: Required value"]),
            (
                json!({"name": "A=B"}),
                vec![
                    "env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII \
                     characters other than '='",
                ],
            ),
            (
                json!({"name": "A", "valueFrom": {}}),
                vec![
                    "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
                     `secretKeyRef` or `fileKeyRef`",
                ],
            ),
            (
                json!({"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
                vec!["env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
            ),
            (
                json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}, "configMapKeyRef": {}}}),
                vec![
                    "env[0].valueFrom.configMapKeyRef.name: Required value",
                    "env[0].valueFrom.configMapKeyRef.key: Required value",
                    "env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
                ],
            ),
            (
                field("spec.hostname['a']"),
                vec![
                    "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.hostname['a']\": field `spec.hostname` does not support \
                 subscript",
                ],
            ),
        ] {
            let object = json!({"env": [variable]});
            let found = check(&object, &Value::Null, |root, _| variables(&root.get("env")));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{variable}");
        }
        let unknown = json!({"env": [field("spec.hostname")]});
        let found = check(&unknown, &Value::Null, |root, _| variables(&root.get("env")));
        assert!(
            found[0]
                .to_string()
                .starts_with("env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.hostname\"")
        );
        let whole = json!({"envFrom": [{}, {"configMapRef": {"name": "a"}}, {"secretRef": {}}]});
        let found = check(&whole, &Value::Null, |root, _| sources(&root.get("envFrom")));
        let fields: Vec<&str> = found.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["envFrom[0]", "envFrom[2].secretRef.name"]);
    }
}
