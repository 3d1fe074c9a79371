//! Deployments and the services in front of them.

use crate::world::{World, image, web};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kore_api::object::View;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn from_create_to_endpoints_through_an_update_and_back() {
    World::new(1)
        .run(async |cluster| {
            cluster
                .create::<Service>(json!({
                    "metadata": {"name": "web", "namespace": "default"},
                    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
                }))
                .await;
            cluster.create::<Deployment>(web("web:1")).await;
            cluster.rolled_out("default", "web").await;
            cluster.until::<EndpointSlice>("default", |slices| ready(slices) == 3).await;
            let slices = cluster.list::<EndpointSlice>("default", "kubernetes.io/service-name=web").await;
            assert_eq!(slices[0].ports.as_ref().and_then(|ports| ports[0].port), Some(8080), "the named port");

            cluster.edit::<Deployment>("default", "web", |web| set_image(web, "web:2")).await;
            cluster.rolled_out("default", "web").await;
            let pods = cluster.list::<Pod>("default", "app=web").await;
            assert!(pods.iter().all(|pod| pod.object().is_deleting() || image(pod) == "web:2"));
            let sets = cluster.list::<ReplicaSet>("default", "").await;
            assert_eq!(sets.len(), 2, "the old set is kept");
            assert_eq!(
                revision(&cluster.client.namespaced::<Deployment>("default").get("web").await.expect("there")),
                "2"
            );

            cluster.edit::<Deployment>("default", "web", |web| set_image(web, "web:1")).await;
            cluster.rolled_out("default", "web").await;
            let sets = cluster.list::<ReplicaSet>("default", "").await;
            assert_eq!(sets.len(), 2, "rolling back finds the old set again");
            assert_eq!(
                revision(&cluster.client.namespaced::<Deployment>("default").get("web").await.expect("there")),
                "3"
            );
            cluster.until::<EndpointSlice>("default", |slices| ready(slices) == 3).await;
            cluster
                .until::<Event>("default", |events| {
                    events.iter().any(|event| event.reason.as_deref() == Some("ScalingReplicaSet"))
                })
                .await;
            let checked: Vec<String> = cluster.newer.checked().into_keys().map(|(_, what)| what).collect();
            for what in ["replicasets.apps", "replicasets.apps/status", "deployments.apps", "deployments.apps/status"] {
                assert!(checked.iter().any(|is| is == what), "{what} was not among {checked:?}");
            }
        })
        .await
        .expect("no crash");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_cannot_work_stops_and_says_so() {
    World::new(2)
        .run(async |cluster| {
            cluster.create::<Deployment>(web("web:1")).await;
            cluster.rolled_out("default", "web").await;
            cluster.edit::<Deployment>("default", "web", |web| set_image(web, "broken")).await;
            cluster
                .until::<Deployment>("default", |all| {
                    let conditions = all[0].status.iter().flat_map(|status| status.conditions.iter().flatten());
                    conditions
                        .into_iter()
                        .any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
                })
                .await;
            let pods = cluster.list::<Pod>("default", "app=web").await;
            let working = pods.iter().filter(|pod| image(pod) == "web:1").count();
            assert_eq!((working, pods.len()), (3, 4), "the old pods still serve; one new one is being tried");
        })
        .await
        .expect("no crash");
}

#[tokio::test(start_paused = true)]
async fn pods_are_replaced_adopted_and_released() {
    World::new(3)
        .run(async |cluster| {
            cluster.create::<Deployment>(web("web:1")).await;
            cluster.rolled_out("default", "web").await;
            let pods = cluster.list::<Pod>("default", "app=web").await;
            let victim = pods[0].object().name().to_owned();
            cluster.client.namespaced::<Pod>("default").delete(&victim, &Default::default()).await.expect("deleted");
            cluster
                .until::<Pod>("default", |pods| pods.len() == 3 && pods.iter().all(|pod| pod.object().name() != victim))
                .await;
            // A pod that no longer matches is let go, and replaced.
            let released = pods[1].object().name().to_owned();
            cluster.edit::<Pod>("default", &released, |pod| pod.metadata.labels = None).await;
            cluster
                .until::<Pod>("default", |pods| {
                    let free = pods.iter().find(|pod| pod.object().name() == released);
                    pods.len() == 4 && free.is_some_and(|pod| pod.object().owner_references().is_empty())
                })
                .await;
            // Back with its labels it is adopted, and one too many goes.
            let labels = pods[1].metadata.labels.clone();
            cluster.edit::<Pod>("default", &released, |pod| pod.metadata.labels = labels.clone()).await;
            cluster
                .until::<Pod>("default", |pods| {
                    pods.len() == 3 && pods.iter().all(|pod| pod.object().controller().is_some())
                })
                .await;
        })
        .await
        .expect("no crash");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_nothing_happens() {
    let world = World::new(4);
    world
        .run(async |cluster| {
            cluster.create::<Deployment>(web("web:1")).await;
            cluster.rolled_out("default", "web").await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let writes = world.writes.done();
            tokio::time::sleep(Duration::from_secs(900)).await;
            assert_eq!(world.writes.done(), writes);
            let statistics = cluster.controllers.statistics();
            assert!(statistics.values().all(|of| of.failures == 0 && of.running == 0), "{statistics:?}");
        })
        .await
        .expect("no crash");
}

fn ready(slices: &[View<EndpointSlice>]) -> usize {
    let endpoints = slices.iter().filter(|slice| slice.object().label("kubernetes.io/service-name") == Some("web"));
    let endpoints = endpoints.flat_map(|slice| slice.endpoints.iter().flatten());
    endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count()
}

fn revision(deployment: &Deployment) -> String {
    deployment.metadata.annotations.clone().unwrap_or_default()["deployment.kubernetes.io/revision"].clone()
}

pub(crate) fn set_image(deployment: &mut Deployment, image: &str) {
    let spec = deployment.spec.template.spec.as_mut().expect("a pod spec");
    spec.containers[0].image = Some(image.into());
}
