//! Evictions: pods go only as their budgets allow.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kore_api::client::DynamicApi;
use kore_api::kinds;
use kore_api::object::ResourceType;
use kore_api::patch::PatchKind;
use kore_api::request::Options;
use kore_api::server::Server;
use serde_json::{Value, json};

use crate::harness::*;

async fn with_kinds<T>(work: impl AsyncFnOnce(Server) -> T) -> T {
    open(builder(&memory()).registry(kinds::builtin()), work).await
}

fn pods(server: &Server) -> DynamicApi {
    api(server, ResourceType::of::<Pod>())
}

async fn running(server: &Server, name: &str) {
    let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pods(server).create(pod, &Options::default()).await.unwrap();
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    pods(server).patch(name, Some("status"), PatchKind::Merge, status, &Options::default()).await.unwrap();
}

async fn budget(server: &Server, name: &str, allowed: i64) {
    let budgets = api(server, ResourceType::of::<PodDisruptionBudget>());
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    budgets.create(json!({"metadata": {"name": name}, "spec": spec}), &Options::default()).await.unwrap();
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": allowed + 1, "desiredHealthy": 1,
        "expectedPods": allowed + 1,
    }});
    budgets.patch(name, Some("status"), PatchKind::Merge, status, &Options::default()).await.unwrap();
}

fn eviction(name: &str, options: Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options})
}

async fn evict(pods: &DynamicApi, name: &str, options: Value) -> Result<(), kore_api::error::Status> {
    let outcome = pods.post(name, "eviction", eviction(name, options), &Options::default()).await;
    outcome.map(drop).map_err(|error| refused::<()>(Err(error)))
}

#[tokio::test(start_paused = true)]
async fn of_many_at_once_as_many_go_as_the_budget_allows() {
    with_kinds(async |server| {
        for at in 0..16 {
            running(&server, &format!("p{at}")).await;
        }
        budget(&server, "b", 3).await;
        let pods = pods(&server);
        let all = join_all((0..16).map(|at| {
            let pods = pods.clone();
            async move { evict(&pods, &format!("p{at}"), json!(null)).await }
        }))
        .await;
        assert_eq!(all.iter().filter(|outcome| outcome.is_ok()).count(), 3);
        for status in all.into_iter().filter_map(Result::err) {
            assert_eq!(
                (status.code, &*status.message),
                (429, "Cannot evict pod as it would violate the pod's disruption budget.")
            );
        }
        assert_eq!(pods.list(&Options::default()).await.unwrap().items.len(), 13);
        let budgets = api(&server, ResourceType::of::<PodDisruptionBudget>());
        let status = budgets.get("b").await.unwrap().to_value()["status"].clone();
        assert_eq!(status["disruptionsAllowed"], 0);
        assert_eq!(status["disruptedPods"].as_object().unwrap().len(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_an_eviction_asks_of_the_deletion_holds() {
    with_kinds(async |server| {
        let pods = pods(&server);
        running(&server, "p").await;
        assert_eq!(evict(&pods, "q", json!(null)).await.unwrap_err().code, 404);
        let other = pods.post("p", "eviction", eviction("q", json!(null)), &Options::default()).await;
        assert_eq!(refused(other).message, "name in URL does not match name in Eviction object");
        assert_eq!(evict(&pods, "p", json!({"preconditions": {"uid": "x"}})).await.unwrap_err().code, 409);
        budget(&server, "b", 1).await;
        evict(&pods, "p", json!({"dryRun": ["All"]})).await.unwrap();
        let budgets = api(&server, ResourceType::of::<PodDisruptionBudget>());
        assert_eq!(budgets.get("b").await.unwrap().to_value()["status"]["disruptionsAllowed"], 1);
        budget(&server, "c", 1).await;
        let two = evict(&pods, "p", json!(null)).await.unwrap_err();
        assert_eq!((two.code, two.message.contains("more than one PodDisruptionBudget")), (500, true));
        // What is over disrupts nobody, and budgets do not matter.
        let over = json!({"status": {"phase": "Succeeded"}});
        pods.patch("p", Some("status"), PatchKind::Merge, over, &Options::default()).await.unwrap();
        evict(&pods, "p", json!(null)).await.unwrap();
        assert!(pods.get_opt("p").await.unwrap().is_none());
    })
    .await;
}
