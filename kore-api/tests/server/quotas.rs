//! Quotas hold whatever races, and what they show as used is what is used.

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota, Secret, Service};
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

fn options() -> Options {
    Options::default()
}

fn quotas(server: &Server) -> DynamicApi {
    api(server, ResourceType::of::<ResourceQuota>())
}

async fn limit(server: &Server, hard: Value) {
    quotas(server).create(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}), &options()).await.unwrap();
}

async fn used(server: &Server) -> Value {
    quotas(server).get("q").await.unwrap().to_value()["status"]["used"].clone()
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}},
    ]}})
}

#[tokio::test(start_paused = true)]
async fn no_more_is_made_than_there_may_be() {
    with_kinds(async |server| {
        limit(&server, json!({"pods": "10", "requests.cpu": "100"})).await;
        let pods = api(&server, ResourceType::of::<Pod>());
        let creations = (0..64).map(|at| {
            let pods = pods.clone();
            async move { pods.create(pod(&format!("p{at}"), "1"), &options()).await }
        });
        let outcomes = join_all(creations).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            let status = refused(outcome);
            let wanted = "exceeded quota: q, requested: pods=1, used: pods=10, limited: pods=10";
            assert!(status.code == 403 && status.message.contains(wanted), "{status}");
        }
        assert_eq!(used(&server).await, json!({"pods": "10", "requests.cpu": "10"}));
        assert_eq!(pods.list(&options()).await.unwrap().items.len(), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_is_given_back() {
    with_kinds(async |server| {
        let pods = api(&server, ResourceType::of::<Pod>());
        pods.create(pod("before", "500m"), &options()).await.unwrap();
        limit(&server, json!({"pods": "2", "requests.cpu": "2", "count/configmaps": "1", "services.nodeports": "1"}))
            .await;
        let nothing = json!({"count/configmaps": "0", "pods": "1", "requests.cpu": "500m", "services.nodeports": "0"});
        assert_eq!(used(&server).await, nothing, "what was there before counts");
        pods.create(pod("a", "1"), &options()).await.unwrap();
        assert_eq!(refused(pods.create(pod("b", "1"), &options()).await).code, 403);
        // A pod that has ended makes room, and so does one that is gone.
        pods.patch("a", Some("status"), PatchKind::Merge, json!({"status": {"phase": "Succeeded"}}), &options())
            .await
            .unwrap();
        assert_eq!(used(&server).await["pods"], "1");
        pods.delete("a", &options()).await.unwrap();
        pods.delete("before", &options()).await.unwrap();
        assert_eq!(used(&server).await["requests.cpu"], "0");
        // What is not said cannot be counted.
        let silent = json!({"metadata": {"name": "c"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let status = refused(pods.create(silent, &options()).await);
        assert!(status.message.contains("failed quota: q: must specify requests.cpu for: c"), "{status}");
        // A dry run uses nothing, and is told what would be.
        let configs = api(&server, ResourceType::of::<ConfigMap>());
        configs.create(json!({"metadata": {"name": "c"}}), &options().dry_run(true)).await.unwrap();
        configs.create(json!({"metadata": {"name": "c"}}), &options()).await.unwrap();
        assert_eq!(
            refused(configs.create(json!({"metadata": {"name": "d"}}), &options().dry_run(true)).await).code,
            403
        );
        configs.delete_collection(&options()).await.unwrap();
        configs.create(json!({"metadata": {"name": "d", "finalizers": ["example.com/x"]}}), &options()).await.unwrap();
        configs.delete("d", &options()).await.unwrap();
        assert_eq!(used(&server).await["count/configmaps"], "1", "it is still there");
        configs
            .patch("d", None, PatchKind::Merge, json!({"metadata": {"finalizers": null}}), &options())
            .await
            .unwrap();
        assert_eq!(used(&server).await["count/configmaps"], "0");
        // An update that uses more is charged, too.
        let services = api(&server, ResourceType::of::<Service>());
        let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
        services.create(json!({"metadata": {"name": "s"}, "spec": {"ports": ports}}), &options()).await.unwrap();
        let outward =
            services.patch("s", None, PatchKind::Merge, json!({"spec": {"type": "NodePort"}}), &options()).await;
        assert!(refused(outward).message.contains("requested: services.nodeports=2"));
        // Elsewhere nothing is limited, and what is limited later is counted then.
        let secrets = api(&server, ResourceType::of::<Secret>());
        secrets.create(json!({"metadata": {"name": "s"}}), &options()).await.unwrap();
        let more = json!({"spec": {"hard": {"secrets": "5", "resourcequotas": "1"}}});
        quotas(&server).patch("q", None, PatchKind::Merge, more, &options()).await.unwrap();
        assert_eq!(
            (&used(&server).await["secrets"], &used(&server).await["resourcequotas"]),
            (&json!("1"), &json!("1"))
        );
        let second = json!({"metadata": {"name": "r"}, "spec": {"hard": {"pods": "1"}}});
        assert_eq!(refused(quotas(&server).create(second, &options()).await).code, 403);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_comes_about_meanwhile_misses_nothing() {
    for seed in 0..20 {
        let builder = builder(&memory()).registry(kinds::builtin()).entropy(kore_api::Entropy::seeded(seed));
        open(builder, async |server| {
            let configs = api(&server, ResourceType::of::<ConfigMap>());
            let work = (0..24).map(|at| {
                let (configs, server) = (configs.clone(), server.clone());
                async move {
                    if at == seed {
                        limit(&server, json!({"configmaps": "100"})).await;
                    }
                    let name = format!("c{at}");
                    configs.create(json!({"metadata": {"name": name}}), &options()).await.unwrap();
                    if at % 3 == 0 {
                        configs.delete(&name, &options()).await.unwrap();
                    }
                }
            });
            join_all(work).await;
            let there = configs.list(&options()).await.unwrap().items.len();
            assert_eq!(used(&server).await, json!({"configmaps": there.to_string()}), "seed {seed}");
        })
        .await;
    }
}
