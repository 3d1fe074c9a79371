//! A control plane and an agent in one process.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod faulty;
pub(crate) mod silent;

use std::{path::Path, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kore_api::{
    auth::User,
    client::{Client, Selection},
    object::{Kind, ObjectKey},
    server::Server,
};
use kore_node::{agent::Agent, runtime::Runtime};
use kore_store::MemoryStore;
use serde_json::{Value, json};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const NODE: &str = "node-1";

/// Runs `test` beside a server.
pub(crate) async fn with_server(test: impl AsyncFnOnce(&Server)) {
    let store = Arc::new(MemoryStore::default());
    let (server, run) = Server::builder(store).open().await.unwrap();
    // Boxed: unoptimised futures are larger than a test's stack.
    let (test, run) = (Box::pin(test(&server)), Box::pin(run));
    tokio::select! {
        biased;
        () = test => {}
        () = run => panic!("the server ended"),
    }
}

/// Runs `test` beside an agent of this runtime, which is dropped at the end.
pub(crate) async fn with_agent(server: &Server, runtime: impl Runtime, dir: &Path, test: impl AsyncFnOnce(&Agent)) {
    with_agent_of(server.client(User::node(NODE)), runtime, dir, test).await;
}

/// The same for an agent that reaches the server through this client.
pub(crate) async fn with_agent_of(client: Client, runtime: impl Runtime, dir: &Path, test: impl AsyncFnOnce(&Agent)) {
    let agent = Agent::builder(client, runtime, NODE, dir).open().await;
    let (agent, run) = agent.unwrap();
    let test = Box::pin(test(&agent));
    tokio::select! {
        biased;
        () = test => {}
        () = run => panic!("the agent ended"),
    }
}

pub(crate) fn admin(server: &Server) -> Client {
    server.client(User::admin())
}

/// A pod of this name, bound to the node.
pub(crate) fn pod(name: &str, spec: Value) -> Pod {
    let mut all = json!({"nodeName": NODE, "terminationGracePeriodSeconds": 5});
    let fields = spec.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(fields);
    let metadata = json!({"name": name, "namespace": "default", "labels": {"app": name}});
    serde_json::from_value(json!({"metadata": metadata, "spec": all})).unwrap()
}

pub(crate) fn object<K: Kind>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// Waits until the object of this key is as wanted, or gone (None is wanted), and returns what was found.
pub(crate) async fn until<K: Kind, T>(
    client: &Client,
    key: ObjectKey,
    what: &str,
    mut wanted: impl FnMut(Option<&K>) -> Option<T>,
) -> T {
    let (informer, follow) = client.informer::<K>(Selection::all());
    let mut last = None;
    let watch = async {
        informer.synced().await;
        let mut changes = informer.subscribe();
        loop {
            let view = informer.view(&key).unwrap();
            if let Some(found) = wanted(view.as_deref()) {
                return found;
            }
            last = view;
            changes.next().await;
        }
    };
    tokio::select! {
        biased;
        found = tokio::time::timeout(PATIENCE, Box::pin(watch)) => match found {
            Ok(found) => found,
            Err(_) => panic!("waited too long until {what}: {last:#?}"),
        },
        () = follow => panic!("the informer ended"),
    }
}

/// Waits until the first container of a pod is as wanted.
pub(crate) async fn until_container<T>(
    client: &Client,
    name: &str,
    what: &str,
    mut wanted: impl FnMut(&Pod, &ContainerStatus) -> Option<T>,
) -> T {
    let key = ObjectKey::namespaced("default", name);
    until::<Pod, T>(client, key, what, |pod| {
        let pod = pod?;
        let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
        wanted(pod, status)
    })
    .await
}

pub(crate) async fn until_ready(client: &Client, name: &str) -> Pod {
    until_container(client, name, "the pod is ready", |pod, status| status.ready.then(|| pod.clone())).await
}

pub(crate) async fn until_running(client: &Client, name: &str) {
    until_container(client, name, "it runs", |_, status| status.state.as_ref()?.running.as_ref().map(drop)).await;
}

/// Waits until a container waits for this reason, and returns the message.
pub(crate) async fn until_waiting(client: &Client, name: &str, reason: &str) -> String {
    until_container(client, name, reason, |_, status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let found = waiting.reason.as_deref() == Some(reason);
        found.then(|| waiting.message.clone().unwrap_or_default())
    })
    .await
}

pub(crate) async fn until_gone(client: &Client, name: &str) {
    let key = ObjectKey::namespaced("default", name);
    until::<Pod, ()>(client, key, "the pod is gone", |pod| pod.is_none().then_some(())).await;
}

pub(crate) fn is_true(pod: &Pod, condition: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == condition && one.status == "True")
}
