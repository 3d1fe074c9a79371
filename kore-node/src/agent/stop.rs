//! Stopping a container: the preStop hook and the stop itself share the grace.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, timeout};

use super::{Shared, hook};
use crate::{
    machine::spec,
    runtime::{ContainerId, Error},
};

/// What a container has to end in at least after its preStop hook, as upstream has it.
const LEAST_AFTER_HOOK: Duration = Duration::from_secs(2);

pub(super) async fn stop(
    shared: &Shared,
    pod: &Pod,
    id: &ContainerId,
    name: &str,
    grace: Duration,
    pre_stop: bool,
) -> Result<(), Error> {
    let begun = Instant::now();
    let container = spec::container(pod, name).filter(|_| pre_stop);
    let hook =
        container.and_then(|container| container.lifecycle.as_ref()).and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let mut left = grace;
    if let (Some(container), Some(hook)) = (container, hook) {
        let run = hook::run(shared, pod, container, id, hook);
        match timeout(grace, run).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(container = %id, error, "the preStop hook failed"),
            Err(_) => tracing::debug!(container = %id, "the preStop hook took all of the grace"),
        }
        left = grace.saturating_sub(begun.elapsed()).max(LEAST_AFTER_HOOK);
    }
    shared.runtime.stop(id, left).await
}
