//! A runtime whose calls fail when a test says so.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use kore_node::{runtime::*, task::TaskRuntime};

/// Asked before a call, by the call's name and what it is about: an error is answered instead. It may panic, too.
type Fault = Arc<dyn Fn(&str, &str) -> Option<Error> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Faulty {
    inner: TaskRuntime,
    fault: Fault,
}

impl Faulty {
    pub(crate) fn new(
        inner: TaskRuntime,
        fault: impl Fn(&str, &str) -> Option<Error> + Send + Sync + 'static,
    ) -> Faulty {
        Faulty { inner, fault: Arc::new(fault) }
    }

    fn ask(&self, call: &str, about: &str) -> Result<()> {
        (self.fault)(call, about).map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Runtime for Faulty {
    fn images(&self) -> &dyn Images {
        self.inner.images()
    }
    async fn status(&self) -> Result<RuntimeStatus> {
        self.inner.status().await
    }
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus> {
        self.inner.run_sandbox(config).await
    }
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.inner.stop_sandbox(id).await
    }
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.inner.remove_sandbox(id).await
    }
    async fn create(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        self.inner.create(sandbox, config).await
    }
    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.ask("start", id.as_str())?;
        self.inner.start(id).await
    }
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.inner.stop(id, grace).await
    }
    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.inner.remove(id).await
    }
    async fn list(&self, pod_uid: Option<&str>) -> Result<Listing> {
        self.ask("list", pod_uid.unwrap_or_default())?;
        self.inner.list(pod_uid).await
    }
    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        self.ask("exec", id.as_str())?;
        self.inner.exec_sync(id, command, timeout).await
    }
    fn events(&self) -> Option<BoxStream<'static, RuntimeEvent>> {
        self.inner.events()
    }
}
