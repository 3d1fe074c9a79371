//! A cluster whose server is newer than its parts: fields that they do not know survive everything they write.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use kore_api::client::Client;
use kore_api::patch::PatchKind;
use kore_api::request::Options;
use kore_api::simulation::Newer;
use serde_json::json;

use crate::cluster::Cluster;
use crate::web;

#[tokio::test(start_paused = true)]
async fn unknown_fields_survive_every_part_of_a_cluster() {
    let newer: Arc<OnceLock<Newer>> = Arc::default();
    let layer = newer.clone();
    let through = move |user: &str, client: Client, admin: &Client| {
        let newer = layer.get_or_init(|| Newer::seeded(5, admin));
        newer.client(user, &client)
    };
    let mut cluster = Cluster::seeded(3).nodes(2).through(through).open().await;

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
    patch(json!({"spec": {"replicas": 2}})).await;
    cluster.until("two replicas", web::is_done).await;

    // A node goes silent: it is tainted, its pods are evicted, and others take their place.
    let silent = crate::cluster::node(1);
    cluster.kill(&silent).await;
    cluster
        .until::<Node>("a tainted node", |nodes| {
            let is_tainted =
                |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.taints.iter().flatten().count() > 0);
            nodes.iter().any(|node| is_tainted(node))
        })
        .await;
    cluster
        .until::<Pod>("no pod left to the silent node", |pods| {
            let there = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(&silent);
            pods.iter().filter(|pod| there(pod)).all(|pod| pod.metadata.deletion_timestamp.is_some())
        })
        .await;
    cluster.open(&silent);
    cluster.until("two replicas again", web::is_done).await;

    cluster.admin.api::<Namespace>().delete(web::NAMESPACE, &Options::default()).await.expect("a deletion");
    cluster.until::<Namespace>("no namespace", |all| all.iter().all(|one| &*one.key().name != web::NAMESPACE)).await;

    let newer = newer.get().expect("every part went through it");
    let violations = newer.violations();
    let lines: Vec<String> = violations.iter().take(50).map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} fields lost:\n{}", violations.len(), lines.join("\n"));
    // Everybody who writes has written.
    let checked = newer.checked();
    let wrote = |user: &str, what: &str| {
        let found = checked.keys().any(|(writer, resource)| writer.ends_with(user) && resource == what);
        assert!(found, "{user} has not written {what}: {checked:#?}");
    };
    wrote("deployment-controller", "deployments.apps/status");
    wrote("deployment-controller", "replicasets.apps");
    wrote("replicaset-controller", "replicasets.apps/status");
    wrote("endpointslice-controller", "endpointslices.discovery.k8s.io");
    wrote("namespace-controller", "namespaces/finalize");
    wrote("node-controller", "nodes");
    wrote("node-controller", "nodes/status");
    wrote("node-1", "pods/status");
    wrote("node-1", "nodes/status");
    wrote("node-1", "leases.coordination.k8s.io");
}
