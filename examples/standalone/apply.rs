//! Applies manifests and follows them until they are available.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kore_api::client::{Client, Informer, Selection};
use kore_api::codec::{self, Format};
use kore_api::object::{Object, ResourceType, View};
use kore_api::patch::PatchKind;
use kore_api::registry::Registry;
use kore_api::request::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::args::Args;
use crate::progress::{Progress, say};

/// How often a service is asked again while it does not answer as it should.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Applies what the command line names, and shows how it becomes available. With `--once` that is all; else it says what to try
/// next, and does not return.
///
/// # Errors
/// Names the file and the object that cannot be applied; with `--once`, what is still missing after `--timeout`.
pub(crate) async fn run(client: &Client, registry: &Registry, args: &Args) -> Result<(), String> {
    let applied = apply(client, registry, &args.apply).await?;
    let outcome = follow(client, &applied, args.timeout).await;
    if args.once {
        return outcome;
    }
    what_next(&applied, outcome);
    std::future::pending().await
}

/// Creates, or changes by a merge patch, every object in these files, in order.
///
/// # Errors
/// Names the file and the object that cannot be applied.
async fn apply(client: &Client, registry: &Registry, files: &[PathBuf]) -> Result<Vec<Object>, String> {
    let mut applied = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for document in text.split("\n---").filter(|document| has_content(document)) {
            let object = apply_one(client, registry, document).await;
            applied.push(object.map_err(|problem| format!("{}: {problem}", file.display()))?);
        }
    }
    Ok(applied)
}

fn has_content(document: &str) -> bool {
    document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && line.trim() != "---")
}

async fn apply_one(client: &Client, registry: &Registry, document: &str) -> Result<Object, String> {
    let value = codec::decode(Format::Yaml, document.as_bytes(), &codec::Limits::default());
    let value = value.map_err(|error| error.to_string())?.value;
    let (api_version, kind) = (value["apiVersion"].as_str(), value["kind"].as_str());
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let named = format!("{} {name:?}", kind.unwrap_or("an object without a kind"));
    let is_wanted =
        |resource: &ResourceType| Some(&*resource.api_version()) == api_version && Some(&*resource.kind) == kind;
    let resource = registry.iter().map(|info| &info.resource).find(|resource| is_wanted(resource));
    let resource = resource.ok_or_else(|| format!("{named}: no such kind in {}", api_version.unwrap_or("\"\"")))?;
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or("default");
    let api = client.dynamic(ResourceType::clone(resource)).in_namespace(namespace);
    let outcome = match api.create(value.clone(), &Options::default()).await {
        Err(error) if error.is_already_exists() => {
            api.patch(&name, None, PatchKind::Merge, value, &Options::default()).await
        }
        other => other,
    };
    outcome.map_err(|error| format!("{named}: {error}"))
}

/// Shows how what was applied becomes available, until all of it is: every Deployment has its replicas, every Pod is ready or done, and every Service that
/// selects pods answers.
///
/// # Errors
/// What is still missing after `timeout`.
async fn follow(client: &Client, applied: &[Object], timeout: Duration) -> Result<(), String> {
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

/// Asks a service until each of its pods has answered, and prints the answers.
async fn answers(
    client: &Client,
    service: &Object,
    pods: &Informer<Pod>,
    missing: &mut Vec<String>,
) -> Result<(), String> {
    let api = client.namespaced::<Service>(service.namespace().unwrap_or_default());
    let service = api.get(service.name()).await.map_err(|error| error.to_string())?;
    let Some(spec) = service.spec.as_ref() else {
        return Ok(());
    };
    let port = spec.ports.iter().flatten().find(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let (Some(address), Some(port), Some(selector)) = (&spec.cluster_ip, port, &spec.selector) else {
        return Ok(());
    };
    let Ok(address) = format!("{address}:{}", port.port).parse::<std::net::SocketAddr>() else {
        return Ok(());
    };
    say(format_args!("service {} at http://{address} answers:", service.key()));
    let mut answers = BTreeSet::new();
    loop {
        let selected = |pod: &Object| selector.iter().all(|(key, value)| pod.label(key) == Some(value));
        let pods = pods.list_namespace(service.object().namespace().unwrap_or_default());
        let wanted = pods.iter().filter(|pod| selected(pod) && !pod.is_deleting()).count();
        if !answers.is_empty() && answers.len() >= wanted {
            return Ok(());
        }
        let problem = match tokio::time::timeout(ANSWER_WITHIN, ask(address)).await {
            Ok(Ok(answer)) => {
                if answers.insert(answer.clone()) {
                    say(format_args!("  {answer}"));
                }
                *missing = vec![format!("service {}: only {} of {wanted} pods answer", service.key(), answers.len())];
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ANSWER_WITHIN:?}"),
        };
        *missing = vec![format!("service {} at {address}: {problem}", service.key())];
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// The last line of what `address` answers to a GET, on a connection of its own.
async fn ask(address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    Ok(body.lines().next().unwrap_or_default().to_owned())
}

/// Says what a user may try now that everything is available, or is not.
fn what_next(applied: &[Object], outcome: Result<(), String>) {
    if let Err(problem) = &outcome {
        eprintln!("warning: {problem}");
    }
    say("next, with that KUBECONFIG in another terminal:");
    say("  kubectl get all -A");
    if outcome.is_err() {
        say("  kubectl get events -A");
    }
    for deployment in applied.iter().filter(|object| object.kind() == "Deployment") {
        let (name, namespace) = (deployment.name(), deployment.namespace().unwrap_or_default());
        say(format_args!("  kubectl scale deployment {name} -n {namespace} --replicas=5"));
        say(format_args!("  kubectl logs -n {namespace} deployment/{name} -f"));
    }
    say("Ctrl-C stops the workloads and the cluster; the next start resumes it.");
}
