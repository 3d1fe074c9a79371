//! Ending a pod's containers with the agent: the pod itself stays.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::sleep;

use super::{
    Shared,
    ending::Ends,
    stop,
    worker::{RETRY, Running},
};
use crate::{
    machine::{Key, spec},
    runtime::{ContainerStatus, Listing},
};

/// Ends what runs and what is being made. `ends` has been told; the caller does not wait for ever.
pub(super) async fn end(shared: &Shared, pod: &Pod, ends: &Ends, running: FuturesUnordered<Running>, grace: Duration) {
    // What is being made or stopped is waited for, beside what can be stopped at once: there may be more to stop then. The rest,
    // and the API, are not.
    let matters = |key: &Key| !matches!(key, Key::Probe(..) | Key::Volumes | Key::Delete);
    let running = running.into_iter().filter(|one| one.key.as_ref().is_some_and(matters));
    let mut running: FuturesUnordered<Running> = running.collect();
    let under_way: Vec<Key> = running.iter().filter_map(|one| one.key.clone()).collect();
    let finish = async { while running.next().await.is_some() {} };
    tokio::join!(stop_containers(shared, pod, ends, grace, &under_way), finish);
    let listing = stop_containers(shared, pod, ends, grace, &[]).await;
    for sandbox in &listing.sandboxes {
        if let Err(error) = shared.runtime.stop_sandbox(&sandbox.id).await {
            tracing::warn!(sandbox = %sandbox.id, %error, "not stopped");
        }
    }
}

/// Stops what runs and is not being stopped already, sidecars last.
async fn stop_containers(shared: &Shared, pod: &Pod, ends: &Ends, grace: Duration, under_way: &[Key]) -> Listing {
    let listing = loop {
        match shared.runtime.list(pod.metadata.uid.as_deref()).await {
            Ok(listing) => break listing,
            Err(_) => sleep(RETRY).await,
        }
    };
    let is_sidecar = |container: &&ContainerStatus| {
        let spec = spec::container(pod, &container.name);
        spec.is_some_and(spec::is_sidecar)
    };
    let running = listing.containers.iter().filter(|one| one.state.is_running());
    let running = running.filter(|one| !under_way.contains(&Key::Stop(one.id.clone())));
    let (last, first): (Vec<_>, Vec<_>) = running.partition(is_sidecar);
    for group in [first, last] {
        let stops = group.into_iter().map(|container| {
            let ending = ends.ending();
            stop::stop(shared, pod, &container.id, &container.name, grace, true, ending)
        });
        futures::future::join_all(stops).await;
    }
    listing
}
