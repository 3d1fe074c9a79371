//! Strategic merge as upstream does it, as rows.

use serde_json::json;

use super::*;

fn patched(api_version: &str, kind: &str, target: Value, patch: Value) -> Result<Value, PatchError> {
    apply(&Schema::of(api_version, kind).expect(kind), &target, &patch)
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

#[test]
fn maps_and_scalars() {
    for (target, patch, expected) in [
        (json!({"spec": {"replicas": 1}}), json!({"spec": {"replicas": 2}}), json!({"spec": {"replicas": 2}})),
        (
            json!({"spec": {"replicas": 1, "paused": true}}),
            json!({"spec": {"paused": null}}),
            json!({"spec": {"replicas": 1}}),
        ),
        (
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
            json!({"metadata": {"labels": {"b": "2", "c": "3"}}}),
        ),
        // Nulls that match nothing do not survive.
        (json!({}), json!({"metadata": {"labels": {"a": null}}, "spec": null}), json!({"metadata": {"labels": {}}})),
        // Another type replaces.
        (
            json!({"spec": {"strategy": "x"}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
        // Unknown fields merge as maps do.
        (json!({"new": {"a": 1}}), json!({"new": {"b": 2}}), json!({"new": {"a": 1, "b": 2}})),
    ] {
        assert_eq!(patched("apps/v1", "Deployment", target, patch.clone()), Ok(expected), "{patch}");
    }
}

#[test]
fn directives_in_maps() {
    for (target, patch, expected) in [
        (
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
        (
            json!({"spec": {"strategy": {"type": "RollingUpdate"}}}),
            json!({"spec": {"strategy": {"$patch": "delete"}}}),
            json!({"spec": {"strategy": {}}}),
        ),
        (
            json!({"spec": {"strategy": {"type": "RollingUpdate"}}}),
            json!({"spec": {"strategy": {"$patch": "merge", "rollingUpdate": {}}}}),
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}}),
        ),
        (
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
        // Into nothing, directives do their work and vanish.
        (
            json!({}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
        (json!({"a": 1}), json!({"$patch": "replace", "b": 2}), json!({"b": 2})),
    ] {
        assert_eq!(patched("apps/v1", "Deployment", target, patch.clone()), Ok(expected), "{patch}");
    }
    // A field whose strategy is replace.
    assert_eq!(
        patched(
            "policy/v1",
            "PodDisruptionBudget",
            json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}}),
            json!({"spec": {"selector": {"matchLabels": {"b": "1"}}}})
        ),
        Ok(json!({"spec": {"selector": {"matchLabels": {"b": "1"}}}})),
    );
}

#[test]
fn lists_of_objects() {
    let pod = json!({"spec": {"containers": [{"name": "a", "image": "1", "args": ["x", "y"], "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "1"}],
        "tolerations": [{"key": "k"}], "volumes": [{"name": "v", "emptyDir": {}}]}});
    let containers = |patch: Value| {
        patched("v1", "Pod", pod.clone(), json!({"spec": {"containers": patch}}))
            .map(|pod| pod["spec"]["containers"].clone())
    };
    for (patch, expected) in [
        (
            json!([{"name": "b", "image": "2"}]),
            json!([{"name": "a", "image": "1", "args": ["x", "y"], "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "2"}]),
        ),
        (
            json!([{"name": "c"}]),
            json!([{"name": "a", "image": "1", "args": ["x", "y"], "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "1"}, {"name": "c"}]),
        ),
        (json!([{"name": "a", "$patch": "delete"}]), json!([{"name": "b", "image": "1"}])),
        (
            json!([{"name": "a", "$patch": "delete"}, {"name": "gone", "$patch": "delete"}, {"name": "c"}]),
            json!([{"name": "b", "image": "1"}, {"name": "c"}]),
        ),
        (json!([{"$patch": "replace"}, {"name": "c"}]), json!([{"name": "c"}])),
        (json!([{"$patch": "replace"}]), json!([])),
        (json!([]), pod["spec"]["containers"].clone()),
        // Lists of scalars without a strategy are replaced; inner lists merge by their own key.
        (
            json!([{"name": "a", "args": ["z"], "env": [{"name": "F", "value": "2"}]}]),
            json!([{"name": "a", "image": "1", "args": ["z"], "env": [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]}, {"name": "b", "image": "1"}]),
        ),
        (
            json!([{"name": "a", "env": [{"name": "E", "value": null, "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}, {"name": "b", "image": null}]),
            json!([{"name": "a", "image": "1", "args": ["x", "y"], "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}, {"name": "b"}]),
        ),
    ] {
        assert_eq!(containers(patch.clone()), Ok(expected), "{patch}");
    }
    // Atomic: tolerations have no strategy.
    let replaced = patched("v1", "Pod", pod.clone(), json!({"spec": {"tolerations": [{"key": "l"}]}})).expect("fits");
    assert_eq!(replaced["spec"]["tolerations"], json!([{"key": "l"}]));
    // A volume changes its source: retained keys only.
    let volume = patched(
        "v1",
        "Pod",
        pod,
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}}),
    )
    .expect("fits");
    assert_eq!(volume["spec"]["volumes"], json!([{"name": "v", "configMap": {"name": "c"}}]));
}

#[test]
fn lists_of_scalars() {
    let target = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    for (patch, expected) in [
        (json!({"finalizers": ["d", "a"]}), json!(["a", "b", "c", "d"])),
        (json!({"$deleteFromPrimitiveList/finalizers": ["b", "x"]}), json!(["a", "c"])),
        (json!({"$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["d"]}), json!(["a", "c", "d"])),
        (json!({"$setElementOrder/finalizers": ["c", "a"]}), json!(["b", "c", "a"])),
        (
            json!({"$setElementOrder/finalizers": ["d", "c", "a"], "$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["d"]}),
            json!(["d", "c", "a"]),
        ),
        (json!({"finalizers": null}), json!(null)),
    ] {
        let found = patched("v1", "ConfigMap", target.clone(), json!({"metadata": patch})).expect("fits");
        assert_eq!(found["metadata"]["finalizers"], expected, "{patch}");
    }
}

#[test]
fn element_order() {
    let target = json!({"spec": {"containers": [{"name": "a"}, {"name": "server-1"}, {"name": "b"}, {"name": "server-2"}, {"name": "c"}]}});
    for (order, changes, expected) in [
        // Nothing else changes: only the order.
        (vec!["c", "b", "a"], json!(null), vec!["server-1", "server-2", "c", "b", "a"]),
        (vec!["a", "b", "c"], json!(null), vec!["a", "server-1", "b", "server-2", "c"]),
        // Additions go where the order says.
        (vec!["new", "a", "b", "c"], json!([{"name": "new"}]), vec!["new", "a", "server-1", "b", "server-2", "c"]),
        (vec!["a", "new", "b", "c"], json!([{"name": "new"}]), vec!["a", "new", "server-1", "b", "server-2", "c"]),
        // What the order no longer names but nobody deleted stays.
        (vec!["a", "c"], json!([{"name": "b", "$patch": "delete"}]), vec!["a", "server-1", "server-2", "c"]),
    ] {
        let order: Vec<Value> = order.iter().map(|name| json!({"name": name})).collect();
        let mut spec = json!({"$setElementOrder/containers": order});
        if !changes.is_null() {
            spec["containers"] = changes;
        }
        let found = patched("v1", "Pod", target.clone(), json!({"spec": spec})).expect("fits");
        assert_eq!(names(&found["spec"]["containers"]), expected);
    }
}

#[test]
fn what_is_wrong_is_said() {
    let target = json!({"spec": {"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}, "metadata": {"finalizers": ["a"]}});
    for (patch, message) in [
        (json!([]), "the patch is malformed: a strategic merge patch is an object"),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "spec.containers: an item does not contain declared merge key: name",
        ),
        (json!({"spec": {"containers": ["x"]}}), "spec.containers: an item does not contain declared merge key: name"),
        (
            json!({"spec": {"containers": [{"$patch": "delete"}]}}),
            "spec.containers: an item does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"containers": [{"$patch": "erase", "name": "a"}]}}),
            "spec.containers: $patch is not replace, delete or merge: \"erase\"",
        ),
        (json!({"spec": {"$patch": 1}}), "spec: $patch is not replace, delete or merge: 1"),
        (
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "configMap": {}}]}}),
            "spec.volumes[name=\"v\"]: $retainKeys does not name configMap, which the patch sets",
        ),
        (json!({"$retainKeys": "name"}), "the object: $retainKeys is not a list of names"),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]}}),
            "spec.containers: $setElementOrder does not agree with the order of the list in the patch",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"image": "a"}]}}),
            "spec.containers: $setElementOrder has an item without name",
        ),
        (
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}),
            "metadata.finalizers: $deleteFromPrimitiveList is not a list",
        ),
    ] {
        let error = patched("v1", "Pod", target.clone(), patch.clone()).expect_err("wrong");
        assert_eq!((error.to_string().as_str(), error.status()), (message, 400), "{patch}");
    }
    assert_eq!(
        super::super::apply(super::super::PatchKind::Strategic, None, &target, &json!({})),
        Err(PatchError::NoSchema)
    );
}
