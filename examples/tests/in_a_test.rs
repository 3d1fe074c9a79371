//! The whole cluster inside a test: from nothing to a request that was answered through a Service.
//!
//! In a binary of its own, so that no other test takes the processor from it while it looks at the clock.
#![allow(missing_docs)]

#[path = "simulated/cluster.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod cluster;
#[path = "simulated/web.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod web;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use tokio::time::Instant;

use cluster::Cluster;

#[tokio::test]
async fn from_create_to_answered_request_in_two_seconds() {
    let start = Instant::now();
    let cluster = Cluster::seeded(1).addresses(81).proxy().open().await;
    cluster.create::<Namespace>("", web::namespace()).await;
    let service = cluster.create::<Service>(web::NAMESPACE, web::service()).await;
    cluster.create::<Deployment>(web::NAMESPACE, web::deployment(3, true)).await;
    cluster.until("three replicas", web::is_done).await;
    cluster
        .until::<EndpointSlice>("three endpoints", |slices| {
            let ready = |slice: &EndpointSlice| {
                let endpoints = slice.endpoints.iter().flatten();
                endpoints.filter(|one| one.conditions.as_ref().and_then(|state| state.ready) == Some(true)).count()
            };
            slices.iter().any(|slice| ready(slice) == 3)
        })
        .await;
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).expect("an address");
    let address = address.parse().expect("an address");

    // The proxy hears of the endpoints as we do: at the same time, not before.
    let mut answers = BTreeSet::new();
    while answers.len() < 3 {
        match web::ask(address, web::PORT).await {
            Ok(answer) if !answer.is_empty() => drop(answers.insert(answer)),
            _ => tokio::task::yield_now().await,
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}, answers of {answers:?}", start.elapsed());
    }
    let running = cluster.running().await.into_iter().map(|(_, pod)| pod);
    assert_eq!(answers, running.collect());
}
