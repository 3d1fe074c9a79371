//! A cluster whose server is newer than its parts: fields that they do not know survive everything they write.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use kore_api::client::Client;
use kore_api::object::View;
use kore_api::patch::PatchKind;
use kore_api::request::{Options, Propagation};
use kore_api::simulation::Entry;
use kore_api::simulation::Newer;
use serde_json::{Value, json};

use crate::cluster::{Cluster, simulate};
use crate::web;

/// A Deployment with something of everything that has fields of its own below a template.
fn furnished() -> Value {
    let mut deployment = web::deployment(3, false);
    deployment["metadata"]["finalizers"] = json!(["example.com/of-a-user"]);
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["volumes"] = json!([
        {"name": "config", "configMap": {"name": "config", "items": [{"key": "a", "path": "x/a"}]}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "config"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}},
    ]);
    spec["securityContext"] = json!({"fsGroup": 1, "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]});
    spec["affinity"] = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}},
    ]}});
    spec["hostAliases"] = json!([{"ip": "127.0.0.9", "hostnames": ["nine"]}]);
    let container = &mut spec["containers"][0];
    container["volumeMounts"] =
        json!([{"name": "config", "mountPath": "/config"}, {"name": "scratch", "mountPath": "/scratch"}]);
    container["envFrom"] = json!([{"configMapRef": {"name": "config"}, "prefix": "C_"}]);
    container["resources"] = json!({"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}});
    deployment
}

#[test]
fn unknown_fields_survive_every_part_of_a_cluster() {
    // Which fields there are, and of which forms, follows from the seed.
    for seed in [5, 6, 7] {
        simulate(life(seed));
    }
}

async fn life(seed: u64) {
    let newer: Arc<OnceLock<Newer>> = Arc::default();
    let layer = newer.clone();
    let through = move |user: &str, client: Client, admin: &Client| {
        let newer = layer.get_or_init(|| Newer::seeded(seed, admin));
        newer.client(user, &client)
    };
    let mut cluster = Cluster::seeded(3).nodes(2).through(through).open().await;

    cluster.create::<Namespace>("", web::namespace()).await;
    cluster.create::<Service>(web::NAMESPACE, web::service()).await;
    cluster.create::<ConfigMap>(web::NAMESPACE, json!({"metadata": {"name": "config"}, "data": {"a": "1"}})).await;
    cluster.create::<Deployment>(web::NAMESPACE, furnished()).await;
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

    // A pod leaves its set, and comes back.
    let pods = cluster.admin.namespaced::<Pod>(web::NAMESPACE);
    let all = pods.list(&Options::default()).await.expect("a list");
    let name = all.items[0].key().name.to_string();
    let has_owner = |pods: &[View<Pod>]| {
        let pod = pods.iter().find(|pod| *pod.key().name == *name);
        pod.is_some_and(|pod| pod.object().controller().is_some())
    };
    let label = async |app| pods.patch(&name, PatchKind::Merge, json!({"metadata": {"labels": {"app": app}}})).await;
    label("other").await.expect("a patch");
    cluster.until::<Pod>("a pod that is released", |pods| !has_owner(pods)).await;
    cluster.until("two replicas without it", web::is_done).await;
    patch(json!({"spec": {"replicas": 3}})).await;
    let back = label("web").await.expect("a patch").object().revision();
    cluster.until("three replicas", web::is_done).await;
    cluster.rest().await;
    // Whether it may stay depends on how many its set wants by then; it is adopted before that is asked.
    let is_adopted = |entry: &Entry| {
        let pod = &entry.object;
        entry.revision > back && pod.kind() == "Pod" && *pod.key().name == *name && pod.controller().is_some()
    };
    assert!(cluster.log.entries().iter().any(is_adopted), "the pod that came back was never adopted");

    // A Deployment goes and leaves its set behind; another takes the set.
    let is_orphan = |set: &View<ReplicaSet>| set.object().controller().is_none();
    let orphan = Options::default().propagation(Propagation::Orphan);
    deployments.delete("web", &orphan).await.expect("a deletion");
    cluster.until::<ReplicaSet>("sets without an owner", |sets| sets.iter().all(is_orphan)).await;
    let release = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/of-a-user"]}});
    patch(release.clone()).await;
    cluster.until::<Deployment>("no deployment", |all| all.is_empty()).await;
    let mut again = furnished();
    again["spec"]["template"]["spec"]["containers"][0]["image"] = web::NEXT_IMAGE.into();
    cluster.create::<Deployment>(web::NAMESPACE, again).await;
    cluster.until::<ReplicaSet>("sets that are adopted", |sets| !sets.iter().any(is_orphan)).await;
    cluster.until("three replicas of the other", web::is_done).await;

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
    cluster.until("three replicas again", web::is_done).await;

    // What is deleted in the foreground waits for what depends on it, and for its finalizers.
    let foreground = Options::default().propagation(Propagation::Foreground);
    deployments.delete("web", &foreground).await.expect("a deletion");
    cluster.until::<ReplicaSet>("no set", |sets| sets.is_empty()).await;
    patch(release).await;
    cluster.until::<Deployment>("no deployment again", |all| all.is_empty()).await;

    cluster.admin.api::<Namespace>().delete(web::NAMESPACE, &Options::default()).await.expect("a deletion");
    cluster.until::<Namespace>("no namespace", |all| all.iter().all(|one| &*one.key().name != web::NAMESPACE)).await;

    let newer = newer.get().expect("every part went through it");
    let violations = newer.violations();
    let lines: Vec<String> = violations.iter().take(50).map(ToString::to_string).collect();
    assert!(violations.is_empty(), "seed {seed}: {} fields lost:\n{}", violations.len(), lines.join("\n"));
    // Everybody who writes has written.
    let checked = newer.checked();
    let wrote = |user: &str, what: &str| {
        let found = checked.keys().any(|(writer, resource)| writer.ends_with(user) && resource == what);
        assert!(found, "{user} has not written {what}: {checked:#?}");
    };
    wrote("deployment-controller", "deployments.apps");
    wrote("deployment-controller", "deployments.apps/status");
    wrote("deployment-controller", "replicasets.apps");
    wrote("deployment-controller", "create replicasets.apps");
    wrote("replicaset-controller", "create pods");
    wrote("replicaset-controller", "pods");
    wrote("replicaset-controller", "replicasets.apps/status");
    wrote("endpointslice-controller", "endpointslices.discovery.k8s.io");
    wrote("generic-garbage-collector", "replicasets.apps");
    wrote("generic-garbage-collector", "deployments.apps");
    wrote("namespace-controller", "namespaces/finalize");
    wrote("node-controller", "nodes");
    wrote("node-controller", "nodes/status");
    wrote("node-1", "pods/status");
    wrote("node-1", "nodes/status");
    wrote("node-1", "leases.coordination.k8s.io");
}
