//! A small object of each kind.

use serde_json::{Value, json};

use crate::kinds::entry::Entry;
use crate::kinds::*;

/// Small objects of each kind, with as many parts that have defaults as fit.
pub(super) fn samples() -> Vec<(&'static Entry, Value)> {
    let container = json!({
        "name": "c", "image": "i", "ports": [{"containerPort": 80}], "startupProbe": {"grpc": {"port": 80}},
        "livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "1"}},
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
    });
    let spec = json!({"containers": [container], "volumes": [
        {"name": "a"}, {"name": "b", "hostPath": {"path": "/x"}}, {"name": "c", "configMap": {"name": "c"}},
        {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "e", "iscsi": {"targetPortal": "t", "iqn": "i", "lun": 0}}, {"name": "f", "rbd": {"monitors": ["m"], "image": "i"}},
        {"name": "g", "azureDisk": {"diskName": "d", "diskURI": "u"}}, {"name": "h", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        {"name": "j", "scaleIO": {"gateway": "g", "system": "s", "volumeName": "v", "secretRef": {}}},
    ]});
    let metadata = json!({"labels": {"a": "b"}});
    let mut samples = core(&spec);
    samples.extend(workloads(&json!({"metadata": metadata, "spec": spec})));
    samples.extend(storage());
    samples.extend(classes());
    samples.extend(networking());
    samples.extend(rights());
    samples.extend(reviewers());
    samples.extend(requests());
    samples.extend(devices());
    samples
}

fn core(spec: &Value) -> Vec<(&'static Entry, Value)> {
    vec![
        (&config::CONFIG_MAP, json!({"data": {"a": "b"}})),
        (&config::SECRET, json!({"stringData": {"a": "b"}})),
        (&endpoint_slice::ENDPOINT_SLICE, json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": []})),
        (&endpoints::ENDPOINTS, json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]})),
        (&event::EVENT, json!({"involvedObject": {"kind": "Pod", "name": "a", "namespace": "b"}})),
        (&lease::LEASE, json!({"spec": {"holderIdentity": "a"}})),
        (&limit_range::LIMIT_RANGE, json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}})),
        (&namespace::NAMESPACE, json!({})),
        (&node::NODE, json!({"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "1"}}})),
        (&pod::POD, json!({"spec": spec})),
        (&quota::RESOURCE_QUOTA, json!({"spec": {"hard": {"pods": "5"}}})),
        (
            &service::SERVICE,
            json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}}),
        ),
        (&service_account::SERVICE_ACCOUNT, json!({})),
    ]
}

/// The kinds that make pods of a template.
fn workloads(template: &Value) -> Vec<(&'static Entry, Value)> {
    let scaled = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let mut ending = template.clone();
    ending["spec"]["restartPolicy"] = "Never".into();
    let failing = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]});
    let job = json!({"template": ending, "podFailurePolicy": failing});
    let claim = json!({
        "metadata": {"name": "k"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let mut stateful = scaled.clone();
    stateful["spec"]["volumeClaimTemplates"] = json!([claim]);
    vec![
        (&batch::CRON_JOB, json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": job}}})),
        (&batch::JOB, json!({"spec": job})),
        (&scaled::DAEMON_SET, scaled.clone()),
        (&scaled::DEPLOYMENT, scaled.clone()),
        (&scaled::REPLICA_SET, scaled),
        (&scaled::REPLICATION_CONTROLLER, json!({"spec": {"template": template}})),
        (&scaled::STATEFUL_SET, stateful),
        (&templates::CONTROLLER_REVISION, json!({"data": {"spec": {}}, "revision": 1})),
        (&templates::POD_TEMPLATE, json!({"template": template})),
    ]
}

fn storage() -> Vec<(&'static Entry, Value)> {
    vec![
        (
            &volumes::CLAIM,
            json!({"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "dataSource": {"kind": "PersistentVolumeClaim", "name": "c"},
            }}),
        ),
        (
            &volumes::VOLUME,
            json!({"spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "iscsi": {"targetPortal": "t", "iqn": "i", "lun": 0},
            }}),
        ),
        (&storage::CSI_DRIVER, json!({"spec": {}})),
        (&storage::CSI_NODE, json!({"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}})),
        (&storage::CSI_STORAGE_CAPACITY, json!({"storageClassName": "s", "capacity": "1Gi"})),
        (&storage::STORAGE_CLASS, json!({"provisioner": "p"})),
        (
            &storage::VOLUME_ATTACHMENT,
            json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
        ),
        (&storage::VOLUME_ATTRIBUTES_CLASS, json!({"driverName": "d", "parameters": {"a": "b"}})),
    ]
}

fn classes() -> Vec<(&'static Entry, Value)> {
    vec![
        (&classes::PRIORITY_CLASS, json!({"value": 5})),
        (&classes::RUNTIME_CLASS, json!({"handler": "h"})),
        (
            &autoscaler::HORIZONTAL_POD_AUTOSCALER,
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a"}, "behavior": {}}}),
        ),
        (&disruption::POD_DISRUPTION_BUDGET, json!({"spec": {"minAvailable": 1}})),
    ]
}

fn networking() -> Vec<(&'static Entry, Value)> {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    vec![
        (&networking::INGRESS, json!({"spec": {"defaultBackend": backend}})),
        (
            &networking::INGRESS_CLASS,
            json!({"spec": {"controller": "a.b/c", "parameters": {"kind": "Config", "name": "a"}}}),
        ),
        (
            &networking::IP_ADDRESS,
            json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"resource": "services", "name": "a"}}}),
        ),
        (&networking::NETWORK_POLICY, json!({"spec": {"egress": [{"ports": [{"port": 80}]}]}})),
        (&networking::SERVICE_CIDR, json!({"spec": {"cidrs": ["10.0.0.0/16"]}})),
    ]
}

/// Who may do what.
fn rights() -> Vec<(&'static Entry, Value)> {
    let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "a"}, "subjects": [{"kind": "User", "name": "a"}]});
    vec![
        (&rbac::CLUSTER_ROLE, json!({"rules": [rule]})),
        (&rbac::CLUSTER_ROLE_BINDING, binding.clone()),
        (&rbac::ROLE, json!({"rules": [rule]})),
        (&rbac::ROLE_BINDING, binding),
    ]
}

/// What has a say in writes.
fn reviewers() -> Vec<(&'static Entry, Value)> {
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let webhook = json!({
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
        "clientConfig": {"service": {"name": "a", "namespace": "b"}},
    });
    let policy = json!({"matchConstraints": {"resourceRules": [rule]}});
    let (mut validating, mut mutating) = (policy.clone(), policy);
    validating["validations"] = json!([{"expression": "true"}]);
    mutating["mutations"] = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]);
    mutating["reinvocationPolicy"] = "Never".into();
    let binding = json!({"policyName": "a", "paramRef": {"name": "a"}, "matchResources": {}});
    let mut deny = binding.clone();
    deny["validationActions"] = json!(["Deny"]);
    vec![
        (&webhooks::MUTATING_POLICY, json!({"spec": mutating})),
        (&webhooks::MUTATING_POLICY_BINDING, json!({"spec": binding})),
        (&webhooks::MUTATING_WEBHOOKS, json!({"webhooks": [webhook]})),
        (&webhooks::VALIDATING_POLICY, json!({"spec": validating})),
        (&webhooks::VALIDATING_POLICY_BINDING, json!({"spec": deny})),
        (&webhooks::VALIDATING_WEBHOOKS, json!({"webhooks": [webhook]})),
    ]
}

/// What is about requests, and about what can be requested.
fn requests() -> Vec<(&'static Entry, Value)> {
    let subject = json!({"kind": "User", "user": {"name": "a"}});
    let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/x"]});
    let queue = json!({"limitResponse": {"type": "Queue", "queuing": {}}});
    vec![
        (
            &api_service::API_SERVICE,
            json!({"metadata": {"name": "v1.a.b"}, "spec": {
                "group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
                "service": {"name": "a", "namespace": "b"},
            }}),
        ),
        (&certificates::CERTIFICATE_SIGNING_REQUEST, certificates::tests::request()),
        (
            &definition::CUSTOM_RESOURCE_DEFINITION,
            json!({"metadata": {"name": "as.b.c"}, "spec": {
                "group": "b.c", "scope": "Cluster", "names": {"plural": "as", "kind": "A"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            }}),
        ),
        (
            &flow::FLOW_SCHEMA,
            json!({"spec": {
                "priorityLevelConfiguration": {"name": "a"}, "rules": [{"subjects": [subject], "nonResourceRules": [urls]}],
            }}),
        ),
        (&flow::PRIORITY_LEVEL, json!({"spec": {"type": "Limited", "limited": queue}})),
    ]
}

fn devices() -> Vec<(&'static Entry, Value)> {
    let wanted = json!({"deviceClassName": "d", "tolerations": [{"key": "a"}]});
    let claim = json!({"devices": {"requests": [{"name": "a", "exactly": wanted}]}});
    vec![
        (&devices::DEVICE_CLASS, json!({"spec": {"selectors": [{"cel": {"expression": "true"}}]}})),
        (&devices::RESOURCE_CLAIM, json!({"spec": claim})),
        (&devices::RESOURCE_CLAIM_TEMPLATE, json!({"spec": {"spec": claim}})),
        (
            &devices::RESOURCE_SLICE,
            json!({"spec": {
                "driver": "d", "nodeName": "n", "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": "a"}],
            }}),
        ),
    ]
}
