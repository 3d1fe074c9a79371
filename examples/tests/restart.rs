//! kill -9 of the whole process, in the middle of a rollout or before it starts with fewer nodes: after a restart nothing is
//! lost, no process runs twice or without anybody to look after it, and what was asked for is there.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kore_api::client::{Client, Selection};
use kore_api::kubeconfig::Kubeconfig;
use kore_api::object::View;
use kore_api::patch::PatchKind;
use kore_api::remote::Remote;
use kore_api::request::Options;
use kore_api::{Clock, Entropy};
use serde_json::json;
use support::{PATIENCE, Standalone};

const REPLICAS: i32 = 4;

async fn connected<T>(cluster: &Standalone, work: impl AsyncFnOnce(Client) -> T) -> T {
    let kubeconfig = Kubeconfig::read(&cluster.kubeconfig()).await.expect("a kubeconfig");
    let access = kubeconfig.access(None).await.expect("usable");
    let (remote, run) = Remote::open(&access, Clock::system()).expect("usable");
    let client = Client::new(remote, Clock::system(), Entropy::system());
    let work = tokio::time::timeout(PATIENCE, work(client));
    tokio::select! {
        biased;
        outcome = work => outcome.expect("done in time"),
        () = run => unreachable!("it runs until it is dropped"),
    }
}

fn deployment() -> Deployment {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let env = [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")];
    let container = json!({"name": "server", "image": "kore.dev/hello:1", "env": env});
    let spec = json!({
        "replicas": REPLICAS,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
        },
    });
    serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).expect("a deployment")
}

/// Waits until the Deployment's status satisfies `done`.
async fn until(client: &Client, done: impl Fn(&Deployment) -> bool) {
    let (deployments, run) = client.informer::<Deployment>(Selection::all().namespace("default"));
    let mut changes = deployments.subscribe();
    let seen = async {
        while let Some(change) = changes.next().await {
            let view: Option<View<Deployment>> = change.after.and_then(|object| object.view().ok());
            if view.is_some_and(|deployment| done(&deployment)) {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = seen => {}
        () = run => {}
    }
}

fn is_complete(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let all = Some(REPLICAS);
    status.observed_generation == deployment.metadata.generation
        && (status.replicas, status.updated_replicas, status.available_replicas) == (all, all, all)
}

/// Waits until there are as many pods as asked for, and exactly their processes: the last of the old ones go a moment after the
/// new ones are available.
async fn settled(cluster: &Standalone, client: &Client) -> Vec<View<Pod>> {
    loop {
        let pods = client.namespaced::<Pod>("default").list(&Options::default()).await.expect("listed").items;
        let names: BTreeSet<String> = pods.iter().map(|pod| pod.object().name().to_owned()).collect();
        let processes = cluster.workloads();
        let running: BTreeSet<String> = processes.iter().map(|process| process.pod.clone()).collect();
        assert!(running.len() == processes.len(), "a pod has two processes: {processes:?}");
        let replicas = usize::try_from(REPLICAS).expect("positive");
        if pods.len() == replicas && running == names {
            return pods;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_rollout_survives_kill_9() {
    let mut cluster = Standalone::start(&[]);
    connected(&cluster, async |client| {
        client.namespaced::<Deployment>("default").create(&deployment()).await.expect("created");
        until(&client, is_complete).await;
        for number in 0..20 {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(format!("acknowledged-{number}"));
            client.namespaced::<ConfigMap>("default").create(&map).await.expect("created");
        }
        let image =
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "kore.dev/hello:2"}]);
        client.namespaced::<Deployment>("default").patch("web", PatchKind::Json, image).await.expect("patched");
        until(&client, |deployment| {
            deployment.status.as_ref().and_then(|status| status.updated_replicas).is_some_and(|updated| updated >= 1)
                && !is_complete(deployment)
        })
        .await;
    })
    .await;
    cluster.kill();
    let survivors = cluster.workloads();
    assert!(!survivors.is_empty(), "workloads outlive the process");
    cluster.start_again();
    connected(&cluster, async |client| {
        until(&client, is_complete).await;
        let maps = client.namespaced::<ConfigMap>("default").list(&Options::default()).await.expect("listed");
        assert_eq!(maps.items.len(), 20, "what was acknowledged is there");
        let image = |pod: &View<Pod>| pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone());
        let pods = settled(&cluster, &client).await;
        assert!(pods.iter().all(|pod| image(pod).as_deref() == Some("kore.dev/hello:2")));
    })
    .await;
    assert!(cluster.interrupt().success());
    assert_eq!(cluster.workloads(), [], "an orderly stop leaves nothing behind");
}

#[tokio::test]
async fn with_fewer_nodes_than_before_the_pods_of_the_others_go_elsewhere() {
    let mut cluster = Standalone::start(&["--nodes", "2"]);
    let nodes_of = |pods: &[View<Pod>]| -> BTreeSet<String> {
        pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect()
    };
    connected(&cluster, async |client| {
        client.namespaced::<Deployment>("default").create(&deployment()).await.expect("created");
        until(&client, is_complete).await;
        let pods = settled(&cluster, &client).await;
        assert_eq!(nodes_of(&pods).len(), 2, "both nodes have pods");
    })
    .await;
    // The number of nodes is remembered.
    cluster.kill();
    cluster.start_again_with(&[]);
    connected(&cluster, async |client| {
        until(&client, is_complete).await;
        assert_eq!(nodes_of(&settled(&cluster, &client).await).len(), 2);
    })
    .await;
    cluster.kill();
    cluster.start_again_with(&["--nodes", "1"]);
    connected(&cluster, async |client| {
        until(&client, is_complete).await;
        let pods = settled(&cluster, &client).await;
        assert_eq!(nodes_of(&pods), BTreeSet::from(["node-1".to_owned()]));
        let nodes = client.api::<Node>().list(&Options::default()).await.expect("listed").items;
        assert_eq!(nodes.len(), 1, "{nodes:?}");
    })
    .await;
    assert!(!cluster.data_dir().join("node-2").exists());
    assert!(cluster.interrupt().success());
    assert_eq!(cluster.workloads(), []);
}

#[tokio::test]
async fn the_next_start_may_listen_on_an_address_of_another_family() {
    let mut cluster = Standalone::start(&["--nodes", "0"]);
    for address in ["[::1]:0", "0.0.0.0:0", "127.0.0.1:0"] {
        assert!(cluster.interrupt().success());
        cluster.start_again_with(&["--listen", address]);
        connected(&cluster, async |client| {
            client.namespaced::<ConfigMap>("default").list(&Options::default()).await.expect("it answers");
        })
        .await;
    }
    assert!(cluster.interrupt().success());
}
