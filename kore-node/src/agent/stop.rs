//! Stopping a container: the preStop hook and the stop itself share the grace.

use std::{pin::pin, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep_until};

use super::{Shared, ending::Ending, hook};
use crate::{
    machine::spec,
    runtime::{ContainerId, Error},
};

/// What a container has to end in at least after its preStop hook, as upstream has it.
const LEAST_AFTER_HOOK: Duration = Duration::from_secs(2);
/// What stands for a grace that no clock can hold.
const ENDLESS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Stops a container within `grace`, or earlier if the pod's end comes closer.
pub(super) async fn stop(
    shared: &Shared,
    pod: &Pod,
    id: &ContainerId,
    name: &str,
    grace: Duration,
    pre_stop: bool,
    mut ending: Ending,
) -> Result<(), Error> {
    let latest = after(grace);
    let earlier = |end: Option<Instant>| end.map_or(latest, |end| end.min(latest));
    let mut by = earlier(ending.by());
    let container = spec::container(pod, name).filter(|_| pre_stop);
    let hook =
        container.and_then(|container| container.lifecycle.as_ref()).and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let (Some(container), Some(hook)) = (container, hook) {
        let mut run = pin!(hook::run(shared, pod, container, id, hook));
        loop {
            tokio::select! {
                biased;
                result = &mut run => {
                    if let Err(error) = result {
                        tracing::debug!(container = %id, error, "the preStop hook failed");
                    }
                    break;
                }
                () = sleep_until(by) => {
                    tracing::debug!(container = %id, "the preStop hook took all of the grace");
                    break;
                }
                () = ending.comes_closer() => by = earlier(ending.by()),
            }
        }
        by = by.max(after(LEAST_AFTER_HOOK));
    }
    loop {
        let left = by.saturating_duration_since(Instant::now());
        tokio::select! {
            biased;
            result = shared.runtime.stop(id, left) => return result,
            // Stopping again with less shortens the stop under way.
            () = ending.comes_closer() => by = earlier(ending.by()),
        }
    }
}

/// The end of a wait that begins now.
pub(super) fn after(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait.min(ENDLESS)).unwrap_or(now)
}
