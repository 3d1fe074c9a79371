use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Container, Pod, Toleration};
use serde_json::{Value, json};

use super::*;
use crate::client::Api;
use crate::patch::PatchKind;
use crate::request::Options;
use kore_store::{Clock, Entropy};

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "ns", "uid": "u", "labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "app", "image": "a"}, {"name": "log", "image": "l"}],
            "tolerations": [{"key": "one", "operator": "Exists"}, {"key": "two", "operator": "Exists"}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "False"}]},
    })
}

/// Has one pod, and remembers what was last sent.
#[derive(Clone, Default)]
struct OnePod(Arc<Mutex<Option<Value>>>);

#[async_trait]
impl Transport for OnePod {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        if let Body::Value(value) | Body::Patch(_, value) = request.body {
            *self.0.lock().unwrap() = Some(value);
        }
        Ok(Content::Object(Object::from_value(pod(), 7)?).into())
    }
}

fn newer() -> (Newer, OnePod, Api<Pod>) {
    let server = OnePod::default();
    let client = Client::new(server.clone(), Clock::system(), Entropy::seeded(1));
    let newer = Newer::seeded(3, &client);
    let api = newer.client("writer", &client).namespaced("ns");
    (newer, server, api)
}

fn paths(newer: &Newer) -> Vec<String> {
    let without_name = |path: &str| match path.rsplit_once("koreNewer") {
        Some((path, _)) => path.trim_end_matches('.').to_owned(),
        None => path.to_owned(),
    };
    let violations = newer.violations();
    violations.iter().map(|violation| without_name(&violation.path)).collect()
}

#[tokio::test]
async fn every_object_has_a_field_that_clients_do_not_know_and_maps_have_none() {
    let (_, _, api) = newer();
    let dressed = api.get("web").await.unwrap().object().to_value();
    let has = |pointer: &str| {
        let fields = dressed.pointer(pointer).and_then(Value::as_object).expect(pointer);
        fields.keys().any(|name| fields::is_unknown(name))
    };
    for pointer in ["", "/metadata", "/spec", "/spec/containers/1", "/spec/tolerations/0", "/status/conditions/0"] {
        assert!(has(pointer), "{pointer:?}");
    }
    assert!(!has("/metadata/labels"));
    let mut bare = dressed.clone();
    fields::take_out(&mut bare);
    let mut expected = pod();
    expected["metadata"]["resourceVersion"] = "7".into();
    assert_eq!(bare, expected);
}

#[tokio::test]
async fn a_typed_replacement_loses_nothing_and_the_server_sees_nothing_unknown() {
    let (newer, server, api) = newer();
    let base = api.get("web").await.unwrap();
    let mut new = base.to_owned();
    let spec = new.spec.as_mut().unwrap();
    spec.node_name = Some("node-1".into());
    spec.containers.remove(0);
    spec.containers.insert(0, Container { name: "new".into(), ..Container::default() });
    let first = Toleration { key: Some("zero".into()), ..Toleration::default() };
    spec.tolerations.as_mut().unwrap().insert(0, first);
    api.replace(&base, &new).await.unwrap();
    assert_eq!(newer.violations(), []);
    assert_eq!(newer.checked(), BTreeMap::from([(("writer".into(), "pods".into()), 1)]));
    let sent = server.0.lock().unwrap().clone().unwrap();
    let mut bare = sent.clone();
    fields::take_out(&mut bare);
    assert_eq!(sent, bare);
    assert_eq!(sent["spec"]["nodeName"], "node-1");
}

#[tokio::test]
async fn a_client_that_writes_what_it_knows_is_found_out() {
    let (newer, _, api) = newer();
    let base = api.get("web").await.unwrap();
    let mut known = serde_json::to_value(&*base).unwrap();
    known["metadata"]["resourceVersion"] = "7".into();
    api.dynamic().replace("web", None, known, &Options::default()).await.unwrap();
    let expected = [
        "",
        "metadata",
        "spec",
        "spec.containers[name=app]",
        "spec.containers[name=log]",
        "spec.tolerations[0]",
        "spec.tolerations[1]",
        "status",
        "status.conditions[type=Ready]",
    ];
    let mut found = paths(&newer);
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_status_is_checked_and_nothing_else_of_a_status_write() {
    let (newer, _, api) = newer();
    let base = api.get("web").await.unwrap();
    let known = serde_json::to_value(&*base).unwrap();
    api.dynamic().replace("web", Some("status"), known, &Options::default()).await.unwrap();
    let mut found = paths(&newer);
    found.sort();
    assert_eq!(found, ["status", "status.conditions[type=Ready]"]);
}

#[tokio::test]
async fn a_patch_that_replaces_a_list_is_found_out_and_one_that_merges_is_not() {
    let (newer, _, api) = newer();
    let conditions = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    api.patch_status("web", PatchKind::Strategic, conditions.clone()).await.unwrap();
    assert_eq!(newer.violations(), []);
    api.patch_status("web", PatchKind::Merge, conditions).await.unwrap();
    assert_eq!(paths(&newer), ["status.conditions[type=Ready]"]);
}

#[tokio::test]
async fn a_stale_write_is_the_servers_to_refuse() {
    let (newer, _, api) = newer();
    let mut stale = pod();
    stale["metadata"]["resourceVersion"] = "6".into();
    api.dynamic().replace("web", None, stale, &Options::default()).await.unwrap();
    assert_eq!((newer.violations().len(), newer.checked().len()), (0, 0));
}

/// Has one ReplicaSet, and takes every pod.
#[derive(Clone)]
struct OneSet;

fn set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "ns", "uid": "u"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}},
        },
    })
}

#[async_trait]
impl Transport for OneSet {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let answer = match request.body {
            Body::Value(mut created) => {
                created["metadata"]["name"] = "web-1".into();
                created
            }
            _ => set(),
        };
        Ok(Content::Object(Object::from_value(answer, 7)?).into())
    }
}

#[tokio::test]
async fn what_is_made_from_a_template_carries_all_of_it_along() {
    let client = Client::new(OneSet, Clock::system(), Entropy::seeded(1));
    let newer = Newer::seeded(3, &client);
    let writer = newer.client("writer", &client);
    let set = writer.namespaced::<ReplicaSet>("ns").get("web").await.unwrap();
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true});
    let pod = json!({
        "metadata": {"generateName": "web-", "namespace": "ns", "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "app"}]},
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let pods = writer.namespaced::<Pod>("ns");

    let whole = crate::client::carry_part(&set, "spec.template.spec", &pod, "spec").unwrap();
    pods.dynamic().create(whole, &Options::default()).await.unwrap();
    assert_eq!(newer.violations(), []);
    assert_eq!(newer.checked(), BTreeMap::from([(("writer".into(), "create pods".into()), 1)]));

    pods.create(&pod).await.unwrap();
    let mut found = paths(&newer);
    found.sort();
    assert_eq!(found, ["spec", "spec.containers[name=app]"]);
}
