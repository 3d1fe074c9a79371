//! Nodes that fall silent, and what becomes of their pods.

use crate::world::{Cluster, World, web};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kore_api::object::View;
use serde_json::json;
use std::time::Duration;

async fn register(cluster: &Cluster, name: &str) {
    let now = cluster.client.clock().now().to_string();
    let node = cluster.register(name).await;
    let mut new = node.to_owned();
    new.status = serde_json::from_value(json!({"conditions": [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now},
    ]}))
    .expect("a status");
    cluster.client.api::<Node>().replace_status(&node, &new).await.expect("written");
    cluster
        .create::<Lease>(json!({
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name},
        }))
        .await;
}

/// Renews the node's lease every ten seconds.
async fn heartbeat(cluster: &Cluster, name: &str) {
    loop {
        let now = cluster.client.clock().now();
        cluster
            .edit::<Lease>("kube-node-lease", name, |lease| {
                let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(now);
                lease.spec.get_or_insert_default().renew_time = Some(time);
            })
            .await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

fn ready(nodes: &[View<Node>], name: &str) -> String {
    let node = nodes.iter().find(|node| node.object().name() == name).expect("registered");
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().find(|c| c.type_ == "Ready").map(|c| c.status.clone()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_loses_its_pods() {
    let world = World::new(21).controllers("*");
    world.run(async |cluster| {
        register(&cluster, "n1").await;
        register(&cluster, "n2").await;
        let mut value = web("web:1");
        value["spec"]["template"]["spec"]["tolerations"] = json!([
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        ]);
        cluster.create::<Deployment>(value).await;
        cluster.rolled_out("default", "web").await;
        let started = cluster.client.clock().now();
        let before: Vec<String> =
            cluster.list::<Pod>("default", "").await.iter().map(|pod| pod.object().uid().to_owned()).collect();
        let test = async {
            cluster.until::<Node>("", |nodes| ready(nodes, "n1") == "Unknown").await;
            let silent_for = cluster.client.clock().now().duration_since(started).as_secs();
            assert!((39..=45).contains(&silent_for), "{silent_for} s");
            cluster.until::<Node>("", |nodes| {
                let taints = nodes.iter().find(|node| node.object().name() == "n1").and_then(|n| n.spec.as_ref()?.taints.clone());
                taints.into_iter().flatten().filter(|t| t.key == "node.kubernetes.io/unreachable").count() == 2
            }).await;
            cluster.until::<Pod>("default", |pods| pods.iter().all(|pod| !before.contains(&pod.object().uid().to_owned()))).await;
            let gone_after = cluster.client.clock().now().duration_since(started).as_secs();
            assert!((339..=370).contains(&gone_after), "{gone_after} s");
            assert_eq!(ready(&cluster.list::<Node>("", "").await, "n2"), "True");
        };
        tokio::select! {
            biased;
            () = test => {}
            () = heartbeat(&cluster, "n2") => {}
        }
    }).await.expect("no crash");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_given_up_stays_so_when_the_controllers_restart() {
    let world = World::new(23).controllers("*,-node-lifecycle");
    world
        .run(async |cluster| {
            // The silent one comes first in every order.
            register(&cluster, "a-silent").await;
            register(&cluster, "b").await;
            let given_up = |nodes: &[View<Node>]| {
                let taints =
                    nodes.iter().find(|node| node.object().name() == "a-silent")?.spec.as_ref()?.taints.clone();
                let taint = taints?.into_iter().find(|taint| taint.effect == "NoExecute")?;
                taint.time_added.map(|time| time.0)
            };
            let mut since = None;
            for _ in 0..3 {
                let controllers = kore_controller::Controllers::new(&cluster.client);
                let (_controllers, run) = controllers.select("node-lifecycle").expect("a controller").open();
                let test = async {
                    cluster.until::<Node>("", |nodes| given_up(nodes).is_some()).await;
                    for _ in 0..20 {
                        let now = given_up(&cluster.list::<Node>("", "").await);
                        assert_eq!(now, *since.get_or_insert(now), "since when it is given up");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                };
                tokio::select! {
                    biased;
                    () = test => {}
                    () = run => unreachable!("it runs until it is dropped"),
                    () = heartbeat(&cluster, "b") => {}
                }
            }
        })
        .await
        .expect("no crash");
}

#[tokio::test(start_paused = true)]
async fn when_all_nodes_are_silent_nobody_is_evicted() {
    let world = World::new(22).controllers("*");
    world
        .run(async |cluster| {
            register(&cluster, "n1").await;
            cluster.create::<Deployment>(web("web:1")).await;
            cluster.rolled_out("default", "web").await;
            cluster.until::<Node>("", |nodes| ready(nodes, "n1") == "Unknown").await;
            tokio::time::sleep(Duration::from_secs(600)).await;
            let pods = cluster.list::<Pod>("default", "").await;
            assert_eq!(pods.iter().filter(|pod| !pod.object().is_deleting()).count(), 3);
            let nodes = cluster.list::<Node>("", "").await;
            let taints = nodes[0].spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
            assert!(taints.iter().all(|taint| taint.effect == "NoSchedule"), "{taints:?}");
        })
        .await
        .expect("no crash");
}
