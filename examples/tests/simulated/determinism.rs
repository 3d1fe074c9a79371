//! One seed, run twice, is one and the same run.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kore_api::client::Client;
use kore_api::patch::PatchKind;
use kore_api::request::Options;
use kore_api::simulation::{EventLog, Faults};
use serde_json::json;

use crate::cluster::{Cluster, simulate};
use crate::web;

/// A Deployment's whole life.
async fn life(seed: u64, faults: Option<&Faults>) -> EventLog {
    let way = faults.cloned();
    let through = move |_: &str, client: Client, _: &Client| match &way {
        Some(faults) => faults.client(&client),
        None => client,
    };
    let cluster = Cluster::seeded(seed).nodes(2).through(through).open().await;
    cluster.create::<Namespace>("", web::namespace()).await;
    cluster.create::<Service>(web::NAMESPACE, web::service()).await;
    cluster.create::<Deployment>(web::NAMESPACE, web::deployment(3, false)).await;
    cluster.until("three replicas", web::is_done).await;

    let deployments = cluster.admin.namespaced::<Deployment>(web::NAMESPACE);
    let patch = async |change| deployments.patch("web", PatchKind::Strategic, change).await.expect("a patch");
    patch(json!({"spec": {"replicas": 5}})).await;
    cluster.until("five replicas", web::is_done).await;
    let containers = json!([{"name": "web", "image": web::NEXT_IMAGE}]);
    patch(json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
    cluster.until("the rollout", web::is_done).await;

    deployments.delete("web", &Options::default()).await.expect("a deletion");
    cluster.until::<Pod>("no pods", |pods| pods.is_empty()).await;
    cluster.rest().await;
    cluster.log.clone()
}

/// Each run has a runtime, and with it a clock, of its own.
fn twice(run: impl AsyncFn() -> EventLog) {
    let (one, other) = (simulate(run()), simulate(run()));
    assert!(one.entries().len() > 100, "{one:?}");
    if let Some(difference) = one.difference(&other) {
        panic!("two runs of one seed differ:\n{difference}");
    }
}

#[test]
fn a_seed_gives_the_same_event_log_again() {
    twice(async || life(7, None).await);
}

#[test]
fn with_faults_too() {
    twice(async || {
        let faults = Faults::seeded(11)
            .delay(Duration::from_millis(20))
            .lost_requests(30)
            .lost_answers(30)
            .broken_watches(20)
            .late_watches(Duration::from_millis(100));
        let log = life(7, Some(&faults)).await;
        let injected = faults.injected();
        assert!(injected.lost_answers > 0 && injected.broken_watches > 0, "{injected:?}");
        log
    });
}

#[test]
fn another_seed_gives_another_log() {
    let run = |seed| simulate(life(seed, None));
    assert!(run(1).difference(&run(2)).is_some());
}
