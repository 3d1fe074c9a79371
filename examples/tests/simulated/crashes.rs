//! Parts that are killed right after any one of their writes, and opened anew.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kore_api::object::View;
use kore_api::patch::PatchKind;
use kore_api::simulation::{CrashPoint, Entry, EventKind, World};
use serde_json::json;

use crate::cluster::{CONTROLLERS, Cluster, SCHEDULER, node, simulate};
use crate::web;

/// Three replicas, another image, two replicas: with one crash of `part`. Pods never are more than allowed, and all ends well.
async fn survive(part: &str, crash: &CrashPoint) {
    let cluster = Cluster::seeded(9).crash(part, crash).open().await;
    cluster.create::<Namespace>("", web::namespace()).await;
    cluster.create::<Deployment>(web::NAMESPACE, web::deployment(3, false)).await;
    cluster.until("three replicas", web::is_done).await;
    let deployments = cluster.admin.namespaced::<Deployment>(web::NAMESPACE);
    let patch = async |change| deployments.patch("web", PatchKind::Strategic, change).await.expect("a patch");
    let containers = json!([{"name": "web", "image": web::NEXT_IMAGE}]);
    patch(json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
    cluster.until("the rollout", web::is_done).await;
    patch(json!({"spec": {"replicas": 2}})).await;
    cluster.until("two replicas", web::is_done).await;
    cluster.until::<Pod>("two pods", |pods| pods.len() == 2).await;

    let running: BTreeSet<String> = cluster.running().await.into_iter().map(|(_, pod)| pod).collect();
    let pods = cluster.admin.namespaced::<Pod>(web::NAMESPACE).list(&Default::default()).await.expect("a list");
    let wanted = pods.items.iter().map(|pod| pod.key().name.to_string()).collect();
    assert_eq!(running, wanted, "what runs is what there is");
    if let Err(broken) = cluster.log.check(never_too_many) {
        panic!("{broken}");
    }
}

/// What the ReplicaSets ask for is never more than wanted and, in a rollout, one; and none makes a pod beyond what it asks for.
/// (That a pod goes when its ReplicaSet asks for less takes a moment, in which there may be one more.)
fn never_too_many(world: &World, entry: &Entry) -> Result<(), String> {
    let sets: Vec<View<ReplicaSet>> = world.views().collect();
    let asked = |set: &ReplicaSet| set.spec.replicas.unwrap_or(1);
    let rolling = world.views::<Deployment>().any(|deployment| deployment.metadata.generation > Some(1));
    let (total, allowed) = (sets.iter().map(|set| asked(set)).sum::<i32>(), if rolling { 4 } else { 3 });
    if total > allowed {
        return Err(format!("{total} replicas asked for, {allowed} allowed"));
    }
    let owner = entry.object.controller().filter(|_| entry.kind == EventKind::Added && entry.object.kind() == "Pod");
    let set = owner.and_then(|owner| sets.iter().find(|set| set.object().uid() == &*owner.uid));
    let Some(set) = set else { return Ok(()) };
    let is_of = |pod: &View<Pod>| pod.object().controller().is_some_and(|owner| &*owner.uid == set.object().uid());
    let is_alive = |pod: &View<Pod>| !pod.object().is_deleting() && web::is_active(pod);
    let pods = world.views::<Pod>().filter(|pod| is_of(pod) && is_alive(pod)).count();
    match pods <= usize::try_from(asked(set)).unwrap_or_default() {
        true => Ok(()),
        false => Err(format!("{pods} pods of {}, which asks for {}", set.key(), asked(set))),
    }
}

/// Each run has a runtime, and with it a clock, of its own.
fn crash_at_every_write(part: &str) {
    for write in 1.. {
        let crash = CrashPoint::after(write);
        eprintln!("{part} crashes after write {write}");
        simulate(survive(part, &crash));
        if !crash.is_reached() {
            assert!(write > 8, "{part} has not written much: {crash:?}");
            return;
        }
    }
}

#[test]
fn the_controllers_crash_after_every_write() {
    crash_at_every_write(CONTROLLERS);
}

#[test]
fn the_scheduler_crashes_after_every_write() {
    crash_at_every_write(SCHEDULER);
}

#[test]
fn the_node_agent_crashes_after_every_write() {
    crash_at_every_write(&node(1));
}
