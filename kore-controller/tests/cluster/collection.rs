//! Owners and namespaces: what goes, and what goes with it.

use crate::world::{World, web};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kore_api::request::{Options, Propagation};
use serde_json::json;

async fn delete(propagation: Propagation, check: impl AsyncFnOnce(&crate::world::Cluster)) {
    World::new(11)
        .run(async |cluster| {
            cluster.create::<Deployment>(web("web:1")).await;
            cluster.rolled_out("default", "web").await;
            let deployments = cluster.client.namespaced::<Deployment>("default");
            deployments.delete("web", &Options::default().propagation(propagation)).await.expect("deleted");
            check(&cluster).await;
        })
        .await
        .expect("no crash");
}

#[tokio::test(start_paused = true)]
async fn in_the_background_all_goes_in_the_end() {
    delete(Propagation::Background, async |cluster| {
        cluster.until::<ReplicaSet>("default", |sets| sets.is_empty()).await;
        cluster.until::<Pod>("default", |pods| pods.is_empty()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_the_owner_goes_last() {
    delete(Propagation::Foreground, async |cluster| {
        cluster.until::<Deployment>("default", |deployments| deployments.is_empty()).await;
        assert!(cluster.list::<ReplicaSet>("default", "").await.is_empty());
        assert!(cluster.list::<Pod>("default", "").await.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_and_are_adopted_again() {
    delete(Propagation::Orphan, async |cluster| {
        cluster.until::<Deployment>("default", |deployments| deployments.is_empty()).await;
        let sets = cluster.list::<ReplicaSet>("default", "").await;
        assert!(sets.len() == 1 && sets[0].object().owner_references().is_empty());
        let pods = cluster.list::<Pod>("default", "").await;
        assert_eq!(pods.len(), 3);
        cluster.create::<Deployment>(web("web:1")).await;
        cluster.rolled_out("default", "web").await;
        let again = cluster.list::<Pod>("default", "").await;
        let uids = |pods: &[kore_api::object::View<Pod>]| -> Vec<String> {
            pods.iter().map(|pod| pod.object().uid().to_owned()).collect()
        };
        assert_eq!(uids(&pods), uids(&again), "not one was replaced");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_never_had_an_owner_is_collected_too() {
    World::new(12)
        .run(async |cluster| {
            let owned = |name: &str, uid: &str| {
                json!({
                    "metadata": {"name": name, "namespace": "default", "ownerReferences": [
                        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid},
                    ]},
                })
            };
            let owner =
                cluster.create::<ConfigMap>(json!({"metadata": {"name": "owner", "namespace": "default"}})).await;
            cluster.create::<ConfigMap>(owned("kept", owner.object().uid())).await;
            cluster.create::<ConfigMap>(owned("stray", "00000000-0000-4000-8000-000000000000")).await;
            cluster.until::<ConfigMap>("default", |maps| maps.iter().all(|map| map.object().name() != "stray")).await;
            let names: Vec<String> = cluster
                .list::<ConfigMap>("default", "")
                .await
                .iter()
                .map(|map| map.object().name().to_owned())
                .collect();
            assert_eq!(names, ["kept", "owner"]);
        })
        .await
        .expect("no crash");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_all_that_is_in_it() {
    World::new(13)
        .run(async |cluster| {
            cluster.create::<Namespace>(json!({"metadata": {"name": "shop"}})).await;
            cluster
                .until::<ServiceAccount>("shop", |accounts| accounts.iter().any(|a| a.object().name() == "default"))
                .await;
            let mut value = web("web:1");
            value["metadata"]["namespace"] = "shop".into();
            cluster.create::<Deployment>(value).await;
            cluster.rolled_out("shop", "web").await;
            cluster
                .create::<ConfigMap>(json!({
                    "metadata": {"name": "held", "namespace": "shop", "finalizers": ["example.com/wait"]},
                }))
                .await;
            cluster.client.api::<Namespace>().delete("shop", &Options::default()).await.expect("deleted");
            cluster
                .until::<Namespace>("", |all| {
                    let shop = all.iter().find(|namespace| namespace.object().name() == "shop").expect("held");
                    let conditions = shop.status.iter().flat_map(|status| status.conditions.iter().flatten());
                    conditions.into_iter().any(|c| c.type_ == "NamespaceFinalizersRemaining" && c.status == "True")
                })
                .await;
            assert!(cluster.list::<Pod>("shop", "").await.is_empty());
            cluster.edit::<ConfigMap>("shop", "held", |map| map.metadata.finalizers = None).await;
            cluster.until::<Namespace>("", |all| all.iter().all(|namespace| namespace.object().name() != "shop")).await;
            assert!(cluster.list::<ServiceAccount>("shop", "").await.is_empty());
        })
        .await
        .expect("no crash");
}
