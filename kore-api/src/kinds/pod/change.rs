//! What of a pod may change: images, a deadline that comes closer, more tolerations, fewer gates.

use serde_json::Value;

use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::row::list;

const ONLY: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
                    `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
                    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn pod(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    for field in ["containers", "initContainers"] {
        let containers = spec.get(field);
        if containers.len() != before.get(field).len() {
            containers.forbidden("pod updates may not add or remove containers");
            return;
        }
    }
    deadline(&spec.get("activeDeadlineSeconds"), &before.get("activeDeadlineSeconds"));
    tolerations(&spec.get("tolerations"), &before.get("tolerations"));
    gates(&spec.get("schedulingGates"), &before.get("schedulingGates"));
    // What may change is taken over; the rest must be as it was.
    let allowed = with_allowed_changes(spec.value(), before.value());
    let changed = differences(&allowed, spec.value());
    if !changed.is_empty() {
        spec.forbidden(format!("{ONLY}\nchanged: {}", changed.join(", ")));
    }
}

fn deadline(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    match (old.int(), new.int()) {
        (Some(_), None) => {
            let detail = "must not update from a positive integer to nil value";
            new.report(FieldError::invalid(new.path(), Value::Null, detail));
        }
        (Some(before), Some(after)) if after > before => new.invalid("must be less than or equal to previous value"),
        _ => {}
    }
}

/// Each toleration stays; only how long it lasts may change.
fn tolerations(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let without_time = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(fields) = toleration.as_object_mut() {
            fields.remove("tolerationSeconds");
        }
        toleration
    };
    let now: Vec<Value> = list(new.value()).iter().map(without_time).collect();
    if !list(old.value()).iter().map(without_time).all(|kept| now.contains(&kept)) {
        new.forbidden("existing toleration can not be modified except its tolerationSeconds");
    }
}

fn gates(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    for gate in new.items() {
        if !list(old.value()).contains(gate.value()) {
            gate.report(FieldError::forbidden(gate.path(), "only deletion is allowed, but found new scheduling gate"));
        }
    }
}

/// `old` with everything of `new` that may change.
fn with_allowed_changes(new: &Value, old: &Value) -> Value {
    let mut allowed = old.clone();
    let Some(fields) = allowed.as_object_mut() else {
        return allowed;
    };
    let mut take = |field: &str| match new.get(field) {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    };
    take("activeDeadlineSeconds");
    take("tolerations");
    take("schedulingGates");
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0)
        && new["terminationGracePeriodSeconds"] == 1
    {
        take("terminationGracePeriodSeconds");
    }
    // A pod that is not yet free to be placed may still be narrowed down.
    if !list(&old["schedulingGates"]).is_empty() {
        take("nodeSelector");
        take("affinity");
    }
    for field in ["containers", "initContainers"] {
        let containers = fields.get_mut(field).and_then(Value::as_array_mut);
        for (container, now) in containers.into_iter().flatten().zip(list(&new[field])) {
            if let (Some(container), Some(image)) = (container.as_object_mut(), now.get("image")) {
                container.insert("image".to_owned(), image.clone());
            }
        }
    }
    allowed
}

/// The fields in which two objects differ.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return Vec::new();
    };
    let mut fields: Vec<String> = one
        .keys()
        .chain(other.keys())
        .filter(|field| one.get(*field) != other.get(*field))
        .map(|field| format!("`spec.{field}`"))
        .collect();
    fields.sort();
    fields.dedup();
    fields
}

#[cfg(test)]
mod tests {
    use crate::kinds::pod::POD;
    use crate::kinds::testing::{errors_of_change, with};
    use serde_json::json;

    #[test]
    fn what_of_a_pod_may_change() {
        let mut old = json!({"metadata": {"name": "a"}, "spec": {
            "containers": [{"name": "c", "image": "a:1"}], "initContainers": [{"name": "i", "image": "a:1"}],
            "activeDeadlineSeconds": 10, "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
        }});
        POD.defaults.fill(&mut old);
        let image = |list: &str, image: &str| {
            let mut new = old.clone();
            new["spec"][list][0]["image"] = json!(image);
            new
        };
        let more = json!([
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}, {"key": "b", "operator": "Exists"},
        ]);
        let two = json!([{"name": "c", "image": "a:1"}, {"name": "d", "image": "a:1"}]);
        for (new, expected) in [
            (old.clone(), vec![]),
            (image("containers", "a:2"), vec![]),
            (image("initContainers", "a:2"), vec![]),
            (image("containers", ""), vec!["spec.containers[0].image: Required value"]),
            (with(&old, &json!({"spec": {"activeDeadlineSeconds": 9}})), vec![]),
            (
                with(&old, &json!({"spec": {"activeDeadlineSeconds": 11}})),
                vec!["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"],
            ),
            (
                with(&old, &json!({"spec": {"activeDeadlineSeconds": null}})),
                vec![
                    "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
                ],
            ),
            (with(&old, &json!({"spec": {"tolerations": more}})), vec![]),
            (
                with(&old, &json!({"spec": {"tolerations": []}})),
                vec![
                    "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
                ],
            ),
            (
                with(&old, &json!({"spec": {"containers": two}})),
                vec!["spec.containers: Forbidden: pod updates may not add or remove containers"],
            ),
            (with(&old, &json!({"metadata": {"labels": {"a": "b"}}})), vec![]),
            (
                with(&old, &json!({"spec": {"schedulingGates": [{"name": "a"}]}})),
                vec!["spec.schedulingGates[0]: Forbidden: only deletion is allowed, but found new scheduling gate"],
            ),
        ] {
            assert_eq!(errors_of_change(&POD, &new, &old), expected, "{new}");
        }
        let moved = with(&old, &json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}}));
        let found = errors_of_change(&POD, &moved, &old);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with(
                "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            )
        );
        assert!(found[0].ends_with("\nchanged: `spec.nodeName`, `spec.terminationGracePeriodSeconds`"), "{found:?}");
    }
}
