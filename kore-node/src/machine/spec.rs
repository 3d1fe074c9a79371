//! A pod's spec, read with upstream's defaults.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

/// The restart policy of a container's pod, and of a restartable init container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    /// Whether a container that exited with this code runs again.
    pub(crate) fn applies(self, exit_code: i32) -> bool {
        match self {
            Restart::Always => true,
            Restart::OnFailure => exit_code != 0,
            Restart::Never => false,
        }
    }
}

pub(crate) fn init_containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
}

pub(crate) fn containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
}

/// A container of either sort.
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    init_containers(pod).iter().chain(containers(pod)).find(|container| container.name == name)
}

/// An init container that keeps running beside the others (KEP-753).
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

pub(crate) fn restart(pod: &Pod) -> Restart {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    match policy {
        Some("Never") => Restart::Never,
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Always,
    }
}

pub(crate) fn grace(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    Duration::from_secs(seconds.unwrap_or(30).max(0) as u64)
}

/// The end of a wait. Users may write any number of seconds: what no timestamp can hold ends with time itself.
pub(crate) fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// `name_namespace(uid)`, as messages name a pod.
pub(crate) fn display(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}_{}({})", text(&metadata.name), text(&metadata.namespace), text(&metadata.uid))
}
