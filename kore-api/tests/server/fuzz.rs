//! Whatever is sent, the answer is one that a client can be given: nothing panics, and nothing a client does is the server's fault.
//!
//! Every run sends the same requests; `KORE_FUZZ_CASES` (default 4,000) says how many, `KORE_FUZZ_SEED` (default 1) which.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use kore_api::auth::{TokenAuthenticator, User};
use kore_api::http::ApiService;
use kore_api::kinds;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use crate::harness::*;

/// A small generator of numbers that look random.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, sides: usize) -> usize {
        (self.next() % sides.max(1) as u64) as usize
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Values that are out of place nearly everywhere.
fn odd(dice: &mut Dice) -> Value {
    let values = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(0.1),
        json!(""),
        json!("a"),
        json!("../..\u{0}/é\u{202e}"),
        json!("9".repeat(400)),
        json!("x".repeat(70_000)),
        json!("2026-13-45T99:99:99Z"),
        json!("-0.0e-99999Ki"),
        json!("{\"$patch\":\"delete\"}"),
        json!([]),
        json!({}),
        json!([null]),
        json!([[[[[]]]]]),
        json!({"": {"": ""}}),
        json!({"$patch": "replace"}),
        json!({"$patch": "delete"}),
        json!({"$retainKeys": ["name"]}),
        json!([{"$patch": "replace"}, {"name": "c"}]),
        json!({"$setElementOrder/containers": [{"name": "z"}]}),
        json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
        json!([{"name": "c"}, {"name": "c"}]),
        json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In"}]}),
    ];
    dice.of(&values).clone()
}

/// Changes a value somewhere.
fn mutate(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !dice.one_in(6) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            let name = dice.of(&names).clone();
            match dice.below(8) {
                0 => drop(fields.remove(&name)),
                1 => {
                    let moved = fields.remove(&name).unwrap_or_default();
                    fields.insert(
                        dice.of(&["", "metadata", "spec", "status", "kind", "a.b", "$patch", "f:x"]).to_string(),
                        moved,
                    );
                }
                2 => drop(fields.insert(dice.of(&names).clone(), odd(dice))),
                _ => mutate(fields.get_mut(&name).expect("one of its names"), dice),
            }
        }
        Value::Array(items) if !items.is_empty() && !dice.one_in(6) => match dice.below(5) {
            0 => items.push(odd(dice)),
            1 => {
                let copy = items[dice.below(items.len())].clone();
                items.push(copy);
            }
            _ => {
                let at = dice.below(items.len());
                mutate(&mut items[at], dice);
            }
        },
        value => *value = odd(dice),
    }
}

fn pod_spec() -> Value {
    json!({"containers": [{"name": "c", "image": "i", "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"path": "/", "port": 80}}}],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}], "tolerations": [{"operator": "Exists"}]})
}

/// Objects that are well, and where they belong: group version, plural, kind.
fn seeds() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let selector = json!({"matchLabels": {"a": "b"}});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod_spec()});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object",
            "required": ["k"], "properties": {"k": {"type": "string"}, "n": {"type": "integer", "default": 1}}}},
        "text": {"type": "string", "pattern": "^a", "x-kubernetes-validations": [{"rule": "self.size() < 9"}]},
    }}}}});
    vec![
        ("v1", "pods", "Pod", json!({"spec": pod_spec()})),
        ("v1", "configmaps", "ConfigMap", json!({"data": {"a": "b"}, "binaryData": {"c": "aGk="}})),
        ("v1", "secrets", "Secret", json!({"stringData": {"a": "b"}, "type": "Opaque"})),
        (
            "v1",
            "services",
            "Service",
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": "http"}], "selector": {"a": "b"}}}),
        ),
        ("v1", "namespaces", "Namespace", json!({})),
        ("v1", "nodes", "Node", json!({"status": {"capacity": {"cpu": "1"}}})),
        ("v1", "events", "Event", json!({"involvedObject": {"namespace": "default"}, "message": "m"})),
        (
            "events.k8s.io/v1",
            "events",
            "Event",
            json!({"regarding": {"namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "a/b", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal"}),
        ),
        (
            "v1",
            "resourcequotas",
            "ResourceQuota",
            json!({"spec": {"hard": {"pods": "50", "requests.cpu": "20", "count/jobs.batch": "9"}}}),
        ),
        (
            "v1",
            "limitranges",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}}),
        ),
        (
            "v1",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
        (
            "apps/v1",
            "deployments",
            "Deployment",
            json!({"spec": {"replicas": 1, "selector": selector, "template": template}}),
        ),
        (
            "apps/v1",
            "statefulsets",
            "StatefulSet",
            json!({"spec": {"serviceName": "s", "selector": selector, "template": template}}),
        ),
        (
            "batch/v1",
            "cronjobs",
            "CronJob",
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": pod_spec()}}}}}),
        ),
        (
            "autoscaling/v1",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            json!({"spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 5,
            "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}}}),
        ),
        (
            "autoscaling/v2",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            json!({"spec": {"maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}, "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]}}}}),
        ),
        (
            "networking.k8s.io/v1",
            "ingresses",
            "Ingress",
            json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        ),
        (
            "networking.k8s.io/v1",
            "networkpolicies",
            "NetworkPolicy",
            json!({"spec": {"podSelector": selector, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}}),
        ),
        (
            "policy/v1",
            "poddisruptionbudgets",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": "50%", "selector": selector}}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "clusterroles",
            "ClusterRole",
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
        ("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", json!({"value": 5})),
        (
            "apiextensions.k8s.io/v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            json!({"spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "boxes", "kind": "Box"}, "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}}}]}}),
        ),
        ("example.com/v1", "boxes", "Box", json!({"spec": {"list": [{"k": "a"}], "text": "abc"}})),
    ]
}

fn query(dice: &mut Dice) -> String {
    let mut parts = Vec::new();
    for _ in 0..dice.below(4) {
        let name = *dice.of(&[
            "resourceVersion",
            "resourceVersionMatch",
            "limit",
            "continue",
            "labelSelector",
            "fieldSelector",
            "watch",
            "timeoutSeconds",
            "allowWatchBookmarks",
            "sendInitialEvents",
            "dryRun",
            "fieldManager",
            "force",
            "fieldValidation",
            "propagationPolicy",
            "gracePeriodSeconds",
            "pretty",
            "includeObject",
            "orphanDependents",
            "nonsense",
            "",
        ]);
        let value = *dice.of(&[
            "",
            "0",
            "1",
            "-1",
            "99999999999999999999",
            "true",
            "false",
            "All",
            "Strict",
            "Warn",
            "Foreground",
            "Orphan",
            "NotOlderThan",
            "Exact",
            "metadata.name=a",
            "metadata.name!=a,spec.nodeName=",
            "a in (b,c),!d",
            "a=b=c",
            "((",
            "%ff",
            "%00",
            "me",
            "x",
            "eyJ2IjoxfQ",
        ]);
        parts.push(format!("{name}={}", value.replace(' ', "%20").replace('(', "%28")));
    }
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

fn body(dice: &mut Dice, seed: &Value) -> Vec<u8> {
    let mut value = seed.clone();
    for _ in 0..dice.below(4) {
        mutate(&mut value, dice);
    }
    let mut bytes = match dice.below(12) {
        0 => return b"k8s\0\x0a\x10\x0a\x02v1\x12\x03Pod\x12\xff\xff\xff\xff\x7f".to_vec(),
        1 => format!("a: &a [*a, *a]\nb: {value}\n---\nc: d").into_bytes(),
        2 => [b"[".repeat(2000), b"]".repeat(2000)].concat(),
        _ => value.to_string().into_bytes(),
    };
    if dice.one_in(8) {
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len());
            match dice.below(3) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, *dice.of(&[0, 0xff, b'"', b'{', b'}', b'\\', b'&', b'*'])),
                _ if !bytes.is_empty() => bytes[at] = dice.next() as u8,
                _ => {}
            }
        }
    }
    bytes
}

fn json_patch(dice: &mut Dice, object: &Value) -> Value {
    let paths = [
        "",
        "/",
        "/metadata",
        "/metadata/labels/a~1b",
        "/spec/containers/0",
        "/spec/containers/-",
        "/spec/replicas",
        "/~2",
        "/spec/list/9",
    ];
    let operation = |dice: &mut Dice| {
        let op = *dice.of(&["add", "remove", "replace", "move", "copy", "test", "nope"]);
        let value = if dice.one_in(3) { object.clone() } else { odd(dice) };
        json!({"op": op, "path": dice.of(&paths), "from": dice.of(&paths), "value": value})
    };
    (0..1 + dice.below(3)).map(|_| operation(dice)).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(start_paused = true)]
async fn whatever_is_sent_has_an_answer() {
    let cases = setting("KORE_FUZZ_CASES", 4000);
    let mut dice = Dice(setting("KORE_FUZZ_SEED", 1));
    open(builder(&memory()).registry(kinds::builtin()), async |server| {
        let service = ApiService::new(server.clone(), TokenAuthenticator::new([("secret", User::admin())]));
        let seeds = seeds();
        let mut answers: Map<String, Value> = Map::new();
        for case in 0..cases {
            let (version, plural, kind, seed) = dice.of(&seeds).clone();
            let cluster_wide = ["namespaces", "nodes", "clusterroles", "priorityclasses", "customresourcedefinitions"]
                .contains(&plural);
            let name = match plural {
                "customresourcedefinitions" => "boxes.example.com",
                _ => *dice.of(&["a", "b", "default", "x%2fy", "A_B", "..", ""]),
            };
            let mut object =
                json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"app": "x"}}});
            object.as_object_mut().unwrap().extend(seed.as_object().cloned().unwrap());
            let root = if version.contains('/') { "apis" } else { "api" };
            let namespace = *dice.of(&["default", "default", "default", "none", "a%20b"]);
            let collection = match cluster_wide {
                true => format!("/{root}/{version}/{plural}"),
                false if dice.one_in(12) => format!("/{root}/{version}/{plural}"),
                false => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
            };
            let part = *dice.of(&[
                "",
                "",
                "",
                "",
                "",
                "/status",
                "/scale",
                "/log",
                "/binding",
                "/eviction",
                "/nope",
                "/status/x",
                "/finalize",
            ]);
            let one = format!("{collection}/{name}{part}");
            let (method, path) = match dice.below(10) {
                0..=3 => ("POST", collection),
                4 => ("PUT", one),
                5 | 6 => ("PATCH", one),
                7 => ("GET", if dice.one_in(2) { one } else { collection }),
                8 => ("DELETE", if dice.one_in(5) { collection } else { one }),
                _ => (
                    *dice.of(&["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"]),
                    (*dice.of(&[
                        "/",
                        "/api",
                        "/apis",
                        "/apis/apps/v1",
                        "/openapi/v2",
                        "/openapi/v3/apis/apps/v1",
                        "/version",
                        "/healthz",
                        "/livez?verbose",
                        "/api/v1/watch/pods",
                        "//api",
                        "/apis/none/v1/things",
                        "/api/v1/namespaces/a/b/c/d/e",
                        "/%",
                        "/api/v1/pods/%zz",
                    ]))
                    .to_owned(),
                ),
            };
            let separator = if path.contains('?') { String::new() } else { query(&mut dice) };
            let content = match method {
                "PATCH" => *dice.of(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/strategic-merge-patch+json",
                    "application/apply-patch+yaml",
                    "application/apply-patch+yaml",
                    "text/plain",
                ]),
                _ => *dice.of(&[
                    "application/json",
                    "application/json",
                    "application/json",
                    "application/yaml",
                    "application/vnd.kubernetes.protobuf",
                    "x",
                ]),
            };
            let sent = match content {
                "application/json-patch+json" => json_patch(&mut dice, &object).to_string().into_bytes(),
                _ => body(&mut dice, &object),
            };
            let uri = format!("{path}{separator}");
            let accept = *dice.of(&[
                "application/json",
                "*/*",
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                "application/vnd.kubernetes.protobuf",
                "application/yaml",
                "text/html",
                ";;",
            ]);
            let request = http::Request::builder()
                .method(method)
                .uri(&uri)
                .header("authorization", "Bearer secret")
                .header("content-type", content)
                .header("accept", accept)
                .body(Full::new(Bytes::from(sent.clone())));
            // What is no URI is not sent.
            let Ok(request) = request else { continue };
            let response = service.clone().oneshot(request).await.unwrap();
            let code = response.status().as_u16();
            let collected = tokio::time::timeout(Duration::from_secs(2), response.into_body().collect()).await;
            let answer = collected.map(|body| body.map(|body| body.to_bytes()).unwrap_or_default()).unwrap_or_default();
            // A revision that is yet to come is waited for, and then is too large.
            let allowed =
                code < 500 || code == 504 && String::from_utf8_lossy(&answer).contains("Too large resource version");
            assert!(
                allowed,
                "case {case}: {method} {uri} ({content})\n{}\nis answered with {code}:\n{}",
                String::from_utf8_lossy(&sent).chars().take(2000).collect::<String>(),
                String::from_utf8_lossy(&answer)
            );
            let count = answers.entry(code.to_string()).or_insert(json!(0));
            *count = json!(count.as_u64().unwrap_or_default() + 1);
        }
        // It is no test of one answer.
        for code in ["200", "201", "400", "404", "409", "415", "422"] {
            assert!(answers.contains_key(code), "none was answered with {code}: {answers:?}");
        }
    })
    .await;
}
