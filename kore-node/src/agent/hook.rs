//! Lifecycle hooks.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use super::{
    Shared, http,
    probe::{self, Problem},
};
use crate::runtime::ContainerId;

/// The longest a hook may take where nothing else limits it.
const LONGEST: Duration = Duration::from_secs(600);

/// Runs a hook to its end; an error is its message.
pub(super) async fn run(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    id: &ContainerId,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        return probe::exec(shared, id, command, LONGEST).await.map_err(Problem::into_message);
    }
    if let Some(get) = &hook.http_get {
        let address = probe::pod_address(shared, pod).await?;
        let get = http::Get::of(get, container, address)?;
        return tokio::time::timeout(LONGEST, get.send()).await.map_err(|_| "timed out".to_owned())?;
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0) as u64)).await;
    }
    Ok(())
}
