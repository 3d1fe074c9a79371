//! What the server does itself with built-in kinds: more than the kinds' own tests can see.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::autoscaling::{v1, v2};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ReplicationController};
use k8s_openapi::api::events::v1 as events;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kore_api::auth::User;
use kore_api::kinds;
use kore_api::object::{Kind, ResourceType};
use kore_api::patch::PatchKind;
use kore_api::request::{Content, Options};
use kore_api::server::Server;
use serde_json::{Value, json};

use crate::harness::*;

async fn with_kinds<T>(work: impl AsyncFnOnce(Server) -> T) -> T {
    open(builder(&memory()).registry(kinds::builtin()), work).await
}

fn options() -> Options {
    Options::default()
}

fn template(restart: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}], "restartPolicy": restart},
    })
}

#[tokio::test(start_paused = true)]
async fn every_server_has_the_classes_of_what_it_cannot_do_without() {
    with_kinds(async |server| {
        let classes = admin(&server).api::<PriorityClass>();
        for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)] {
            assert_eq!(classes.get(name).await.unwrap().value, Some(value));
        }
        let mine = json!({"metadata": {"name": "system-mine"}, "value": 1});
        assert_eq!(refused(classes.dynamic().create(mine, &options()).await).code, 422);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_selects_its_own_pods() {
    with_kinds(async |server| {
        let jobs = api(&server, ResourceType::of::<Job>());
        let job = json!({"metadata": {"name": "pi"}, "spec": {"template": template("Never")}});
        let made = jobs.create(job, &options()).await.unwrap();
        let value = made.to_value();
        assert_eq!(
            value["spec"]["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": made.uid()}})
        );
        assert_eq!(value["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"], "pi");
        // What has been made can be applied again.
        let again = json!({"metadata": {"name": "pi"}, "spec": {"parallelism": 2, "template": template("Never")}});
        let patched = jobs.patch("pi", None, PatchKind::Strategic, again, &options()).await.unwrap();
        assert_eq!(patched.to_value()["spec"]["parallelism"], 2);
        assert_eq!(patched.generation(), made.generation() + 1);
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
        let status = refused(jobs.patch("pi", None, PatchKind::Strategic, image, &options()).await);
        assert!(
            status.message.contains("spec.template: Invalid value") && status.message.ends_with("field is immutable")
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn replicas_are_scaled_whatever_selects_them() {
    async fn scale<K: Kind>(server: &Server, object: Value) {
        let things = api(server, ResourceType::of::<K>());
        things.create(object, &options()).await.unwrap();
        let response = things.get_subresource("web", "scale", &options()).await.unwrap();
        let Content::Value(mut scale) = response.content else { panic!("a Scale is no object of the resource") };
        assert_eq!(scale["status"]["selector"], "app=web", "{}", K::KIND);
        scale["spec"]["replicas"] = json!(3);
        things.replace("web", Some("scale"), scale, &options()).await.unwrap();
        assert_eq!(things.get("web").await.unwrap().to_value()["spec"]["replicas"], 3);
    }
    with_kinds(async |server| {
        let selector = json!({"matchLabels": {"app": "web"}});
        let set = json!({"metadata": {"name": "web"}, "spec": {"selector": selector, "template": template("Always")}});
        scale::<StatefulSet>(&server, set).await;
        let controller = json!({"metadata": {"name": "web"}, "spec": {"template": template("Always")}});
        scale::<ReplicationController>(&server, controller).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_of_roles_may_have_colons() {
    with_kinds(async |server| {
        let roles = admin(&server).api::<ClusterRole>();
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        let role = json!({"metadata": {"name": "system:readers"}, "rules": [rule]});
        roles.dynamic().create(role, &options()).await.unwrap();
        assert_eq!(roles.get("system:readers").await.unwrap().rules.as_ref().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn everything_wrong_with_a_claim_is_said_at_once() {
    with_kinds(async |server| {
        let claims = api(&server, ResourceType::of::<PersistentVolumeClaim>());
        let status = refused(claims.create(json!({"metadata": {"name": "data"}, "spec": {}}), &options()).await);
        let fields: Vec<&str> = status.details.as_ref().unwrap().causes.iter().map(|cause| &*cause.field).collect();
        assert_eq!(fields, ["spec.accessModes", "spec.resources[storage]"]);
    })
    .await;
}

/// A request for a certificate, in PEM, in Base64.
const REQUEST: &str =
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUFBPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_certificate_and_who_approves() {
    with_kinds(async |server| {
        let requests = admin(&server).dynamic(ResourceType::of::<CertificateSigningRequest>());
        let spec = json!({
            "request": REQUEST, "usages": ["client auth"], "signerName": "example.com/signer", "username": "somebody-else",
        });
        let made = requests.create(json!({"metadata": {"name": "mine"}, "spec": spec}), &options()).await.unwrap();
        let admin = User::admin();
        assert_eq!(made.to_value()["spec"]["username"], admin.name.as_str());
        assert_eq!(made.to_value()["spec"]["groups"], json!(admin.groups));

        let condition = json!({"type": "Approved", "status": "True", "reason": "Test"});
        let approved = json!({"status": {"conditions": [condition], "certificate": "eA=="}, "spec": {"signerName": "x.y/z"}});
        let patch = async |part: &str| {
            requests.patch("mine", Some(part), PatchKind::Merge, approved.clone(), &options()).await
        };
        assert_eq!(refused(patch("status").await).code, 422, "a status does not approve");
        patch("approval").await.unwrap();
        let now = requests.get("mine").await.unwrap().to_value();
        assert_eq!(now["status"].as_object().unwrap().len(), 1, "an approval is no certificate");
        let noted = &now["status"]["conditions"][0];
        assert_eq!((&noted["type"], &noted["reason"]), (&json!("Approved"), &json!("Test")));
        for time in ["lastUpdateTime", "lastTransitionTime"] {
            assert!(noted[time].as_str().unwrap().starts_with("2030-01-01T00:00:0"), "{noted}");
        }
        assert_eq!(now["spec"]["signerName"], "example.com/signer");
        // As kubectl does.
        let mut whole = now.clone();
        whole["status"]["conditions"][0]["message"] = json!("again");
        requests.replace("mine", Some("approval"), whole, &options()).await.unwrap();
        let again = requests.get("mine").await.unwrap().to_value();
        assert_eq!(again["status"]["conditions"][0]["message"], "again");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_is_one_thing_in_both_groups() {
    with_kinds(async |server| {
        let (old, new) = (api(&server, ResourceType::of::<core::Event>()), api(&server, ResourceType::of::<events::Event>()));
        let pod = json!({"kind": "Pod", "name": "web", "namespace": "default"});
        let event = json!({
            "metadata": {"name": "e"}, "eventTime": "2030-01-01T00:00:00.000000Z", "reportingController": "example.com/c",
            "reportingInstance": "c-1", "action": "Pull", "reason": "Pulled", "type": "Normal", "regarding": pod, "note": "it is there",
        });
        new.create(event, &options()).await.unwrap();
        let seen = old.get("e").await.unwrap().to_value();
        assert_eq!((&seen["message"], &seen["involvedObject"]["name"]), (&json!("it is there"), &json!("web")));
        old.create(json!({"metadata": {"name": "f"}, "involvedObject": {"namespace": "default", "name": "db"}, "message": "no"}), &options())
            .await
            .unwrap();
        let seen = new.get("f").await.unwrap();
        assert_eq!((seen.api_version(), &seen.to_value()["note"]), ("events.k8s.io/v1", &json!("no")));
        let selected = new.list(&options().fields("regarding.name=web")).await.unwrap().items;
        assert_eq!(names(&selected), ["e"]);
        assert_eq!(names(&old.list(&options().fields("involvedObject.name=db")).await.unwrap().items), ["f"]);
        let missing = json!({"metadata": {"name": "g"}, "regarding": {"namespace": "default"}, "note": "x"});
        assert_eq!(refused(new.create(missing, &options()).await).code, 422);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_is_one_thing_in_both_versions() {
    with_kinds(async |server| {
        let (old, new) = (api(&server, ResourceType::of::<v1::HorizontalPodAutoscaler>()), api(&server, ResourceType::of::<v2::HorizontalPodAutoscaler>()));
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        let made = json!({"metadata": {"name": "a"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
        let made = old.create(made, &options()).await.unwrap();
        assert_eq!(made.to_value()["spec"]["minReplicas"], 1);
        let seen = new.get("a").await.unwrap().to_value();
        assert_eq!(seen["spec"]["metrics"][0]["resource"]["target"], json!({"type": "Utilization", "averageUtilization": 50}));
        let bad = json!({"metadata": {"name": "b"}, "spec": {"scaleTargetRef": target, "maxReplicas": 0}});
        assert_eq!(refused(old.create(bad, &options()).await).code, 422);
        old.patch("a", None, PatchKind::Strategic, json!({"spec": {"maxReplicas": 7}}), &options()).await.unwrap();
        assert_eq!(new.get("a").await.unwrap().to_value()["spec"]["maxReplicas"], 7);
        let plain = json!({"metadata": {"name": "c"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}});
        new.create(plain, &options()).await.unwrap();
        assert_eq!(old.get("c").await.unwrap().to_value()["spec"]["targetCPUUtilizationPercentage"], 80);
    })
    .await;
}
