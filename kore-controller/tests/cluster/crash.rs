//! A crash after every single write of a rollout: the whole process stops there, starts again over what the store has, and
//! must end where it would have ended.

use crate::workloads::set_image;
use crate::world::{Cluster, World, image, web};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kore_api::object::View;
use std::time::Duration;

/// The rollout from `web:1` to `web:2` with one pod more, in a process that stops after `writes` writes of it; whether it
/// stopped before the rollout was complete.
async fn roll_out_with_crash(seed: u64, writes: u64) -> bool {
    let world = World::new(seed).same_version();
    let setup = world.run(async |cluster| {
        cluster.create::<Deployment>(web("web:1")).await;
        cluster.rolled_out("default", "web").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    setup.await.expect("no crash yet");
    let first = world.run(async |cluster| {
        cluster
            .edit::<Deployment>("default", "web", |web| {
                set_image(web, "web:2");
                web.spec.replicas = Some(4);
            })
            .await;
        world.writes.crash_after(writes);
        cluster.rolled_out("default", "web").await;
    });
    let crashed = first.await.is_none();
    world.writes.restore();
    let second = world.run(async |cluster| {
        check_limits(&cluster, writes).await;
        cluster.rolled_out("default", "web").await;
        // Converged, and stays so.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let settled = world.writes.done();
        check_end(&cluster, writes).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.writes.done(), settled, "after write {writes}: still writing");
    });
    second.await.expect("no second crash");
    crashed
}

/// What holds at every moment: the sets together want at most `maxSurge` (25 % of 4) pods too many, and at most
/// `maxUnavailable` of them are not serving.
async fn check_limits(cluster: &Cluster, writes: u64) {
    let sets = cluster.list::<ReplicaSet>("default", "").await;
    let wanted: i32 = sets.iter().filter_map(|set| set.spec.replicas).sum();
    assert!(wanted <= 5, "after write {writes}: {wanted} pods wanted");
    let pods = cluster.list::<Pod>("default", "app=web").await;
    let serves = |pod: &View<Pod>| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        phase == Some("Running") && !pod.object().is_deleting()
    };
    let serving = pods.iter().filter(|pod| serves(pod)).count();
    assert!(serving >= 3, "after write {writes}: {serving} pods serve");
}

/// What holds in the end.
async fn check_end(cluster: &Cluster, writes: u64) {
    let pods = cluster.list::<Pod>("default", "").await;
    let images: Vec<&str> = pods.iter().map(|pod| image(pod)).collect();
    assert_eq!(images, ["web:2"; 4], "after write {writes}");
    let sets = cluster.list::<ReplicaSet>("default", "").await;
    let mut sizes: Vec<Option<i32>> = sets.iter().map(|set| set.spec.replicas).collect();
    sizes.sort();
    assert_eq!(sizes, [Some(0), Some(4)], "after write {writes}");
    let owned = |pod: &Pod| pod.metadata.owner_references.as_ref().is_some_and(|owners| owners.len() == 1);
    assert!(pods.iter().all(|pod| owned(pod)), "after write {writes}: a pod without an owner");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_survives_a_crash_after_every_write() {
    let mut writes = 0;
    while roll_out_with_crash(7, writes).await {
        writes += 1;
    }
    assert!(writes > 20, "the rollout took only {writes} writes: was it one?");
}
