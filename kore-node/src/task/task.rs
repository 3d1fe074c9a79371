use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use kore_api::Clock;
use tokio::sync::watch;

use crate::{
    log::{LogWriter, Stream},
    runtime::{ContainerConfig, Mount},
};

/// What a container of a [`TaskRuntime`](super::TaskRuntime) is given: its configuration, its pod's address, its log, and word when it is
/// to stop.
pub struct Task {
    config: ContainerConfig,
    address: IpAddr,
    stop: watch::Receiver<bool>,
    clock: Clock,
    log: Arc<Mutex<LogWriter>>,
}

impl Task {
    pub(super) fn new(
        config: ContainerConfig,
        address: IpAddr,
        stop: watch::Receiver<bool>,
        clock: Clock,
        log: LogWriter,
    ) -> Task {
        Task { config, address, stop, clock, log: Arc::new(Mutex::new(log)) }
    }

    pub(super) fn log_writer(&self) -> Arc<Mutex<LogWriter>> {
        self.log.clone()
    }

    /// The pod's own address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Command and arguments from the pod.
    pub fn args(&self) -> impl Iterator<Item = &str> {
        self.config.command.iter().chain(&self.config.args).map(String::as_str)
    }

    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        let found = self.config.env.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The mounts. Nothing is mounted: a function reads a volume at [`Mount::source`].
    pub fn mounts(&self) -> &[Mount] {
        &self.config.mounts
    }

    /// Writes one line to the container's log.
    pub fn log(&self, line: impl AsRef<str>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{}\n", line.as_ref());
        log.write(Stream::Stdout, line.as_bytes(), self.clock.now());
    }

    /// Waits until the container is asked to stop; it is killed if it does not return within its grace.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            // Forgotten without being asked: it is about to be killed.
            std::future::pending::<()>().await;
        }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("name", &self.config.name).finish_non_exhaustive()
    }
}
