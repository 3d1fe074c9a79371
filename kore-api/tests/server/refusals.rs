//! What the built-in kinds refuse, as a client is told: the kind, the name, each field and why.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kore_api::kinds;
use kore_api::object::ResourceType;
use kore_api::patch::PatchKind;
use kore_api::request::Options;
use serde_json::{Value, json};

use crate::harness::*;

fn deployment(changes: Value) -> Value {
    let mut object = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}},
    }});
    json_patch::merge(&mut object, &changes);
    object
}

#[tokio::test(start_paused = true)]
async fn new_objects_are_refused_with_every_field_at_fault() {
    open(builder(&memory()).registry(kinds::builtin()), async |server| {
        let rows = [
            (
                ResourceType::of::<Deployment>(),
                deployment(json!({"spec": {"replicas": -1, "selector": {"matchLabels": {"app": "db"}}}})),
                2,
                "Deployment.apps \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, \
                 spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`]",
            ),
            (
                ResourceType::of::<Pod>(),
                json!({"metadata": {"name": "p"}, "spec": {"containers": [
                    {"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}], "ports": [{"containerPort": 0}]},
                ]}}),
                3,
                "Pod \"p\" is invalid: [spec.containers[0].image: Required value, \
                 spec.containers[0].ports[0].containerPort: Required value, \
                 spec.containers[0].volumeMounts[0].name: Not found: \"v\"]",
            ),
            (
                ResourceType::of::<Service>(),
                json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}, {"port": 80}]}}),
                3,
                "Service \"s\" is invalid: [spec.ports[0].name: Required value, spec.ports[1].name: Required value, \
                 spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}]",
            ),
            (
                ResourceType::of::<Secret>(),
                json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}}),
                1,
                "Secret \"s\" is invalid: data[tls.key]: Required value",
            ),
        ];
        for (resource, object, faults, message) in rows {
            let status = refused(api(&server, resource).create(object, &Options::default()).await);
            assert_eq!((status.code, status.message.as_str()), (422, message));
            let causes: Vec<String> =
                status.details.unwrap().causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            assert!(causes.iter().all(|cause| message.contains(cause)), "{causes:?}");
            assert_eq!(causes.len(), faults);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_may_not_change_does_not() {
    open(builder(&memory()).registry(kinds::builtin()), async |server| {
        let options = Options::default();
        let pods = api(&server, ResourceType::of::<Pod>());
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
        pods.create(pod, &options).await.unwrap();
        let image = json!({"spec": {"containers": [{"name": "c", "image": "a:2"}]}});
        let changed = pods.patch("p", None, PatchKind::Strategic, image, &options).await.unwrap();
        assert_eq!(changed.to_value()["spec"]["containers"][0]["image"], "a:2");
        let moved = json!({"spec": {"hostname": "x"}});
        let status = refused(pods.patch("p", None, PatchKind::Merge, moved, &options).await);
        assert!(
            status
                .message
                .starts_with("Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than")
        );

        let maps = api(&server, ResourceType::of::<ConfigMap>());
        let map = json!({"metadata": {"name": "m"}, "immutable": true, "data": {"a": "1"}});
        maps.create(map, &options).await.unwrap();
        let status = refused(maps.patch("m", None, PatchKind::Merge, json!({"data": {"a": "2"}}), &options).await);
        assert_eq!(
            status.message,
            "ConfigMap \"m\" is invalid: data: Forbidden: field is immutable when `immutable` is set"
        );

        let deployments = api(&server, ResourceType::of::<Deployment>());
        deployments.create(deployment(json!({})), &options).await.unwrap();
        let both = json!({"spec": {
            "selector": {"matchLabels": {"tier": "x"}}, "template": {"metadata": {"labels": {"tier": "x"}}},
        }});
        let status = refused(deployments.patch("web", None, PatchKind::Merge, both, &options).await);
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: \
             {\"matchLabels\":{\"app\":\"web\",\"tier\":\"x\"}}: field is immutable"
        );
    })
    .await;
}
