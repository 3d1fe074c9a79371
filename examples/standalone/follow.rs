//! Follows what was applied until it is available, and asks the services.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kore_api::client::{Client, Informer, Selection};
use kore_api::object::{Object, View};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::progress::{Progress, say};

/// How often a service is asked again while it does not answer as it should.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A service that gives the same answers over and over for so long has given all it has.
const NOTHING_NEW: Duration = Duration::from_secs(2);

/// Shows how what was applied becomes available, until all of it is: every Deployment has its replicas, every Pod is ready or done, and every Service that
/// selects pods answers.
///
/// # Errors
/// What is still missing after `timeout`.
pub(crate) async fn follow(client: &Client, applied: &[Object], timeout: Duration) -> Result<(), String> {
    let (deployments, deployments_run) = client.informer::<Deployment>(Selection::all());
    let (pods, pods_run) = client.informer::<Pod>(Selection::all());
    let mut progress = Progress::new();
    let mut missing = Vec::new();
    let following = async {
        let (mut deployment_changes, mut pod_changes) = (deployments.subscribe(), pods.subscribe());
        deployments.synced().await;
        pods.synced().await;
        loop {
            missing = applied.iter().filter_map(|object| shortfall(object, &deployments, &pods)).collect();
            progress.update(applied.iter().filter_map(|object| status(object, &deployments, &pods)).collect());
            if missing.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                _ = deployment_changes.next() => {}
                _ = pod_changes.next() => {}
            }
        }
        progress.finish();
        for service in applied.iter().filter(|object| object.kind() == "Service") {
            answers(client, service, &pods, &mut missing).await?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        outcome = tokio::time::timeout(timeout, following) => match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("not available after {timeout:?}: {}", missing.join("; "))),
        },
        ((), ()) = async { futures::join!(deployments_run, pods_run) } => Err("the cluster has stopped".into()),
    }
}

fn deployment_of(object: &Object, deployments: &Informer<Deployment>) -> Option<View<Deployment>> {
    (object.kind() == "Deployment").then(|| deployments.view(object.key()).ok().flatten()).flatten()
}

/// Whether a pod is ready, or has done what it had to do.
fn is_available(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let ready = status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    ready || status.phase.as_deref() == Some("Succeeded")
}

fn pod_status(object: &Object, pod: Option<&Pod>) -> String {
    let state = match pod {
        Some(pod) if is_available(pod) => "available".to_owned(),
        Some(pod) => waiting_for(pod).unwrap_or_else(|| "not ready".to_owned()),
        None => "not seen yet".to_owned(),
    };
    format!("pod {}: {state}", object.key())
}

/// One line on a Deployment or a Pod.
fn status(object: &Object, deployments: &Informer<Deployment>, pods: &Informer<Pod>) -> Option<String> {
    if object.kind() == "Pod" {
        return Some(pod_status(object, pods.view(object.key()).ok().flatten().as_deref()));
    }
    let deployment = deployment_of(object, deployments)?;
    let (available, wanted) = replicas(&deployment);
    let waiting: BTreeSet<String> = pods_of(object, pods).iter().filter_map(|pod| waiting_for(pod)).collect();
    let waiting = waiting.into_iter().collect::<Vec<_>>().join("; ");
    let detail = if waiting.is_empty() { String::new() } else { format!(" ({waiting})") };
    Some(format!("deployment {}: {available}/{wanted} available{detail}", object.key()))
}

/// What keeps an applied object from being available.
fn shortfall(object: &Object, deployments: &Informer<Deployment>, pods: &Informer<Pod>) -> Option<String> {
    if object.kind() == "Pod" {
        let pod = pods.view(object.key()).ok().flatten();
        return (!pod.as_ref().is_some_and(|pod| is_available(pod))).then(|| pod_status(object, pod.as_deref()));
    }
    if object.kind() != "Deployment" {
        return None;
    }
    let Some(deployment) = deployment_of(object, deployments) else {
        return Some(format!("deployment {} is not seen yet", object.key()));
    };
    let (available, wanted) = replicas(&deployment);
    let seen =
        deployment.status.as_ref().and_then(|status| status.observed_generation) >= deployment.metadata.generation;
    (!seen || available < wanted).then(|| status(object, deployments, pods)).flatten()
}

fn replicas(deployment: &Deployment) -> (i32, i32) {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let available = deployment.status.as_ref().map(|status| {
        // Available and of the newest template: a rollout that has only begun is not done.
        status.available_replicas.unwrap_or(0).min(status.updated_replicas.unwrap_or(0))
    });
    (available.unwrap_or(0), wanted)
}

/// The pods of a Deployment: its replica sets are named after it.
fn pods_of(deployment: &Object, pods: &Informer<Pod>) -> Vec<View<Pod>> {
    let prefix = format!("{}-", deployment.name());
    let pods = pods.list_namespace(deployment.namespace().unwrap_or_default());
    let owned = pods.iter().filter(|pod| pod.controller().is_some_and(|owner| owner.name.starts_with(&prefix)));
    owned.filter_map(|pod| pod.view().ok()).collect()
}

/// Why a pod is not ready, in the words of its status.
fn waiting_for(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()).next();
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        return Some(waiting.message.as_ref().map_or(reason.to_owned(), |message| format!("{reason}: {message}")));
    }
    let unscheduled =
        status.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled" && one.status == "False");
    unscheduled.and_then(|condition| condition.message.clone())
}

/// Asks a service until each of its pods has answered, or it has nothing new to say, and prints the answers. A service without pods is
/// not asked.
async fn answers(
    client: &Client,
    service: &Object,
    pods: &Informer<Pod>,
    missing: &mut Vec<String>,
) -> Result<(), String> {
    let services = client.namespaced::<Service>(service.namespace().unwrap_or_default());
    let service = services.get(service.name()).await.map_err(|error| error.to_string())?;
    let Some(spec) = service.spec.as_ref() else {
        return Ok(());
    };
    let port = spec.ports.iter().flatten().find(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let (Some(address), Some(port), Some(selector)) = (&spec.cluster_ip, port, &spec.selector) else {
        return Ok(());
    };
    let Ok(address) = format!("{address}:{}", port.port).parse::<SocketAddr>() else {
        return Ok(());
    };
    let selected = |pod: &Object| selector.iter().all(|(key, value)| pod.label(key) == Some(value));
    let wanted = || {
        let pods = pods.list_namespace(service.object().namespace().unwrap_or_default());
        pods.iter().filter(|pod| selected(pod) && !pod.is_deleting()).count()
    };
    if wanted() == 0 {
        say(format_args!("service {}: no pods", service.key()));
        return Ok(());
    }
    say(format_args!("service {} at http://{address} answers:", service.key()));
    let mut answers = BTreeSet::new();
    let mut newest = Instant::now();
    loop {
        match tokio::time::timeout(ANSWER_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let answer = ask(stream, address).await;
                if answers.insert(answer.clone()) {
                    newest = Instant::now();
                    say(format_args!("  {answer}"));
                }
                if answers.len() >= wanted() || newest.elapsed() >= NOTHING_NEW {
                    return Ok(());
                }
                // The first round at once, the later ones without haste.
                if newest.elapsed() < ASK_AGAIN {
                    continue;
                }
            }
            Ok(Err(error)) => *missing = vec![format!("service {} at {address}: {error}", service.key())],
            Err(_) => *missing = vec![format!("service {} at {address}: no answer", service.key())],
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// The first line of the page that comes in answer to a GET; else what was said, if anything.
async fn ask(mut stream: TcpStream, address: SocketAddr) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    // A protocol of its own may keep the connection open, or end it: it answers all the same.
    let _ = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
    let answer = String::from_utf8_lossy(&answer);
    let body = answer.split_once("\r\n\r\n").map_or(&*answer, |(_, body)| body);
    body.lines().next().filter(|line| !line.is_empty()).unwrap_or("(a connection)").to_owned()
}
