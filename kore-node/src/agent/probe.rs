//! Probing a container once.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, time::timeout};

use super::{Shared, http};
use crate::{
    machine::{Outcome, ProbeKind, Verdict, probe_timeout, spec},
    runtime::{ContainerId, Error},
};

/// The most of a command's output that becomes a message, in bytes.
const MESSAGE_BYTES: usize = 1024;

pub(super) async fn probe(shared: &Shared, pod: &Pod, id: &ContainerId, name: &str, kind: ProbeKind) -> Outcome {
    let container = spec::container(pod, name);
    let probe = container.and_then(|container| Some((container, kind.of(container)?)));
    let Some((container, probe)) = probe else {
        return Outcome::Probed(Verdict::Unknown("the container has no such probe".into()));
    };
    let limit = probe_timeout(probe);
    Outcome::Probed(match timeout(limit, once(shared, pod, id, container, probe)).await {
        Ok(Ok(())) => Verdict::Good,
        Ok(Err(Problem::Theirs(message))) => Verdict::Bad(message),
        Ok(Err(Problem::Ours(message))) => Verdict::Unknown(message),
        Err(_) => Verdict::Bad(format!("probe timed out after {}s", limit.as_secs())),
    })
}

/// Why a probe or a hook did not succeed.
pub(super) enum Problem {
    /// What it asked did not answer as it should.
    Theirs(String),
    /// It could not ask.
    Ours(String),
}

impl Problem {
    pub(super) fn into_message(self) -> String {
        let (Problem::Theirs(message) | Problem::Ours(message)) = self;
        message
    }
}

async fn once(
    shared: &Shared,
    pod: &Pod,
    id: &ContainerId,
    container: &Container,
    probe: &Probe,
) -> Result<(), Problem> {
    if let Some(action) = &probe.exec {
        let command = action.command.as_deref().unwrap_or_default();
        return exec(shared, id, command, probe_timeout(probe)).await;
    }
    let address = pod_address(shared, pod).await.map_err(Problem::Ours)?;
    if let Some(get) = &probe.http_get {
        return http::Get::of(get, container, address).map_err(Problem::Ours)?.send().await.map_err(Problem::Theirs);
    }
    if let Some(tcp) = &probe.tcp_socket {
        let host = tcp.host.clone().unwrap_or_else(|| address.to_string());
        let port = port(&tcp.port, container).map_err(Problem::Ours)?;
        return connect(&host, port).await.map(drop).map_err(Problem::Theirs);
    }
    if let Some(grpc) = &probe.grpc {
        let service = grpc.service.as_deref().unwrap_or_default();
        return http::grpc_health(address, grpc.port, service).await.map_err(Problem::Theirs);
    }
    Err(Problem::Ours("a probe of a kind that this node does not support".into()))
}

/// Runs a command in the container; it must exit with 0.
pub(super) async fn exec(
    shared: &Shared,
    id: &ContainerId,
    command: &[String],
    limit: Duration,
) -> Result<(), Problem> {
    let output = shared.runtime.exec_sync(id, command, limit).await.map_err(|error| match error {
        Error::DeadlineExceeded { .. } => Problem::Theirs(error.to_string()),
        _ => Problem::Ours(error.to_string()),
    })?;
    if output.exit_code == 0 {
        return Ok(());
    }
    let mut text = output.stdout;
    text.extend(output.stderr);
    text.truncate(MESSAGE_BYTES);
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    match text.is_empty() {
        true => Err(Problem::Theirs(format!("command exited with {}", output.exit_code))),
        false => Err(Problem::Theirs(text)),
    }
}

/// Where the pod's servers listen.
pub(super) async fn pod_address(shared: &Shared, pod: &Pod) -> Result<IpAddr, String> {
    let uid = pod.metadata.uid.as_deref();
    let listing = shared.runtime.list(uid).await;
    let listing = listing.map_err(|error| error.to_string())?;
    let newest = listing.sandboxes.iter().max_by_key(|one| one.attempt);
    let address = newest.and_then(|sandbox| sandbox.addresses.first());
    address.copied().ok_or_else(|| "the pod has no address".into())
}

/// A port by number, or by its name among the container's.
pub(super) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or(name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    number.ok_or_else(|| format!("no port {port:?} in container {}", container.name))
}

pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let connected = TcpStream::connect((host, port)).await;
    connected.map_err(|error| {
        let text = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {host}:{port}: {text}")
    })
}
