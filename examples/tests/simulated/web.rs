//! What runs in the cluster: a server that answers on its pod's own address, and the objects that ask for it.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kore_api::object::View;
use kore_node::task::Task;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const IMAGE: &str = "kore.dev/web:1";
pub(crate) const NEXT_IMAGE: &str = "kore.dev/web:2";
pub(crate) const PORT: u16 = 8080;
pub(crate) const NAMESPACE: &str = "shop";

/// Answers every connection with the pod's name, until it is to stop.
pub(crate) async fn serve(task: Task) -> i32 {
    if task.env("SERVE").is_none() {
        task.stopped().await;
        return 0;
    }
    let name = task.env("POD_NAME").unwrap_or_default().to_owned();
    let Ok(listener) = TcpListener::bind((task.address(), PORT)).await else {
        return 1;
    };
    let answer = async {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(name.as_bytes()).await;
        }
    };
    tokio::select! {
        biased;
        () = task.stopped() => 0,
        () = answer => 1,
    }
}

/// What a server answers.
pub(crate) async fn ask(address: IpAddr, port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::new(address, port)).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub(crate) fn namespace() -> Value {
    json!({"metadata": {"name": NAMESPACE}})
}

/// `serving`: really; else the containers just run.
pub(crate) fn deployment(replicas: i32, serving: bool) -> Value {
    let mut container = json!({"name": "web", "image": IMAGE, "ports": [{"containerPort": PORT}], "env": [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]});
    if serving {
        container["env"].as_array_mut().expect("a list").push(json!({"name": "SERVE", "value": "yes"}));
    }
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [container],
                    "tolerations": [{"key": "example.com/any", "operator": "Exists"}],
                    "terminationGracePeriodSeconds": 5,
                },
            },
        },
    })
}

pub(crate) fn service() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": PORT}]}})
}

/// Whether the Deployment has come to what it asks for.
pub(crate) fn is_done(deployments: &[View<Deployment>]) -> bool {
    let of = |deployment: &View<Deployment>| {
        let wanted = deployment.spec.replicas?;
        let status = deployment.status.as_ref()?;
        let observed = status.observed_generation == deployment.metadata.generation;
        let count = |number: Option<i32>| number.unwrap_or_default();
        Some(
            observed
                && count(status.replicas) == wanted
                && count(status.updated_replicas) == wanted
                && count(status.available_replicas) == wanted,
        )
    };
    deployments.iter().any(|deployment| deployment.key().name.as_ref() == "web" && of(deployment) == Some(true))
}

/// Whether a pod counts: it is not over.
pub(crate) fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}
