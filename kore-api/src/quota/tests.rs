//! What is counted, and what is too much, as tables.

use serde_json::{Value, json};

use super::*;

fn pods(object: &Value) -> Counted<'_> {
    Counted { group: "", plural: "pods", object }
}

fn shown(amounts: &Amounts) -> Vec<String> {
    amounts.iter().map(|(name, amount)| format!("{name}={}", text(*amount, &Value::Null))).collect()
}

#[test]
fn what_objects_use() {
    let asks = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
    let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
    for (group, plural, object, expected) in [
        ("apps", "deployments", json!({}), vec!["count/deployments.apps=1"]),
        ("", "configmaps", json!({}), vec!["configmaps=1", "count/configmaps=1"]),
        (
            "",
            "services",
            json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}}),
            vec!["count/services=1", "services=1", "services.loadbalancers=1", "services.nodeports=2"],
        ),
        (
            "",
            "services",
            json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{}, {"nodePort": 30000}]}}),
            vec!["count/services=1", "services=1", "services.loadbalancers=1", "services.nodeports=1"],
        ),
        (
            "",
            "persistentvolumeclaims",
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}),
            vec![
                "count/persistentvolumeclaims=1",
                "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1",
                "fast.storageclass.storage.k8s.io/requests.storage=1073741824",
                "persistentvolumeclaims=1",
                "requests.storage=1073741824",
            ],
        ),
        (
            "",
            "pods",
            json!({"spec": {"containers": [asks("500m"), asks("250m")], "initContainers": [asks("2")]}}),
            vec!["count/pods=1", "cpu=2", "pods=1", "requests.cpu=2"],
        ),
        (
            "",
            "pods",
            json!({"spec": {"containers": [asks("500m")], "initContainers": [sidecar, asks("2")], "overhead": {"cpu": "100m"}}}),
            vec!["count/pods=1", "cpu=3100m", "pods=1", "requests.cpu=3100m"],
        ),
        (
            "",
            "pods",
            json!({"spec": {"containers": [{"resources": {"limits": {"memory": "1Gi", "example.com/gpu": "1"}, "requests": {"example.com/gpu": "1"}}}]}}),
            vec!["count/pods=1", "limits.memory=1073741824", "pods=1", "requests.example.com/gpu=1"],
        ),
        (
            "",
            "pods",
            json!({"spec": {"containers": [asks("1")]}, "status": {"phase": "Succeeded"}}),
            vec!["count/pods=1"],
        ),
    ] {
        assert_eq!(shown(&usage(Counted { group, plural, object: &object })), expected, "{plural} {object}");
    }
}

#[test]
fn which_objects_count() {
    let with = |spec: Value| json!({"spec": spec});
    let plain = with(json!({"containers": [{"name": "c"}]}));
    let ends = with(
        json!({"activeDeadlineSeconds": 5, "priorityClassName": "high", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}),
    );
    let selector = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    for (spec, of_plain, of_ends) in [
        (json!({}), true, true),
        (json!({"scopes": ["Terminating"]}), false, true),
        (json!({"scopes": ["NotTerminating"]}), true, false),
        (json!({"scopes": ["BestEffort"]}), true, false),
        (json!({"scopes": ["NotBestEffort", "Terminating"]}), false, true),
        (json!({"scopes": ["PriorityClass"]}), false, true),
        (selector("In", json!(["high"])), false, true),
        (selector("NotIn", json!(["high"])), true, false),
        (selector("DoesNotExist", json!([])), true, false),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), false, false),
    ] {
        let quota = with(spec.clone());
        assert_eq!(
            (Quota(&quota).counts(pods(&plain)), Quota(&quota).counts(pods(&ends))),
            (of_plain, of_ends),
            "{spec}"
        );
    }
    let scoped = with(json!({"scopes": ["Terminating"]}));
    assert!(
        !Quota(&scoped).counts(Counted { group: "", plural: "secrets", object: &plain }),
        "only pods are in scopes"
    );
}

#[test]
fn what_is_too_much() {
    let quota = json!({
        "spec": {"hard": {"pods": "2", "requests.memory": "1Gi", "cpu": "1"}},
        "status": {"used": {"pods": "1", "requests.memory": "512Mi"}},
    });
    let quota = Quota(&quota);
    let change = |pods: i128, memory: i128| {
        Amounts::from([("pods".to_owned(), pods * NANO), ("requests.memory".to_owned(), memory * NANO)])
    };
    let fits = quota.charged(&change(1, 256 << 20)).unwrap();
    assert_eq!(fits["used"], json!({"pods": "2", "requests.memory": "768Mi"}));
    assert_eq!(
        quota.charged(&change(2, 1 << 30)),
        Err(Exceeded::Limits(
            "pods=2,requests.memory=1Gi".into(),
            "pods=1,requests.memory=512Mi".into(),
            "pods=2,requests.memory=1Gi".into()
        ))
    );
    // What is given back is never too much, nor is there less than nothing.
    assert_eq!(quota.charged(&change(-5, 0)).unwrap()["used"]["pods"], "0");
    assert_eq!(quota.charged(&Amounts::from([("cpu".to_owned(), 1)])), Err(Exceeded::Unknown("cpu".into())));
    let pod = json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "resources": {"requests": {"cpu": "1"}}}]}});
    assert_eq!(unstated(quota, &pod), ["cpu for: b", "requests.memory for: a,b"]);
    let all = [
        json!({"spec": {"containers": [{"resources": {"requests": {"memory": "1Mi"}}}]}}),
        json!({"status": {"phase": "Failed"}}),
    ];
    let counted = quota.counted(all.iter().map(pods));
    assert_eq!(counted["used"], json!({"cpu": "0", "pods": "1", "requests.memory": "1Mi"}));
}
