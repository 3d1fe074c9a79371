//! Containers as async functions of the application: [`TaskRuntime`], for tests and simulations.
//!
//! - this file: the runtime as the agent sees it
//! - `task`: what a function is given ([`Task`])
//! - `run`: the future in which the functions run

mod run;
#[expect(clippy::module_inception, reason = "what a container of this runtime is")]
mod task;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use kore_api::Clock;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    log::{self, LogWriter},
    native::{addresses::Addresses, images::Registered},
    runtime::{
        Capabilities, ContainerConfig, ContainerId, ContainerStatus, Error, ExecOutput, Images, Listing, Result,
        Runtime, RuntimeEvent, RuntimeStatus, SandboxConfig, SandboxId, SandboxState, SandboxStatus,
    },
};

pub use self::task::Task;

/// Runs containers as async functions, registered by image name.
///
/// The functions run as tasks inside the future that [`Builder::open`] returns, follow tokio's clock and end with that
/// future. Everything is in memory: a new runtime knows nothing of an old one's containers. Pods get addresses from a slice of
/// 127.0.0.0/8, which a function can really bind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> kore_node::runtime::Result<()> {
/// use kore_node::{runtime::*, task::TaskRuntime};
///
/// let (runtime, run) = TaskRuntime::builder(kore_api::Clock::system())
///     .image("kore.dev/worker", async |task| {
///         task.log(format!("working at {}", task.address()));
///         task.stopped().await;
///         0
///     })
///     .open()?;
/// let work = async {
///     let sandbox = runtime.run_sandbox(&SandboxConfig::new(PodIdentity::new("ns", "pod", "uid"), 0)).await?;
///     let id = runtime.create(&sandbox.id, &ContainerConfig::new("app", "kore.dev/worker")).await?;
///     runtime.start(&id).await?;
///     runtime.stop(&id, std::time::Duration::from_secs(30)).await?;
///     assert_eq!(runtime.list(None).await?.containers[0].state.exit().unwrap().exit_code, 0);
///     Ok(())
/// };
/// tokio::select! {
///     biased;
///     result = work => result,
///     () = run => unreachable!("it runs for as long as it is driven"),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct TaskRuntime {
    inner: Arc<Inner>,
}

/// Configures a [`TaskRuntime`].
pub struct Builder {
    clock: Clock,
    addresses: String,
    images: BTreeMap<String, Function>,
    exec: Option<Exec>,
}

type Function = Arc<dyn Fn(Task) -> BoxFuture<'static, i32> + Send + Sync>;
type Exec = Arc<dyn Fn(ContainerStatus, Vec<String>) -> BoxFuture<'static, ExecOutput> + Send + Sync>;

struct Inner {
    clock: Clock,
    images: Registered<Function>,
    exec: Option<Exec>,
    state: Mutex<State>,
    starts: mpsc::Sender<run::Start>,
    events: broadcast::Sender<String>,
}

struct State {
    sandboxes: BTreeMap<SandboxId, SandboxStatus>,
    containers: BTreeMap<ContainerId, Container>,
    addresses: Addresses,
}

struct Container {
    status: ContainerStatus,
    config: ContainerConfig,
    started: bool,
    /// Becomes true when the container is asked to stop.
    stop: watch::Sender<bool>,
    /// Becomes true when the container is to be killed.
    kill: watch::Sender<bool>,
    /// Becomes true when the container is over.
    over: watch::Sender<bool>,
}

/// How many hints wait for a slow agent before it is told to look at everything.
const EVENTS: usize = 256;
/// How many starts wait for the run future.
const STARTS: usize = 64;

impl TaskRuntime {
    /// A runtime without images.
    pub fn builder(clock: Clock) -> Builder {
        Builder { clock, addresses: "127.65.0.0/16".into(), images: BTreeMap::new(), exec: None }
    }
}

impl Builder {
    /// The range pods get addresses from, inside 127.0.0.0/8. Default `127.65.0.0/16`.
    #[must_use]
    pub fn addresses(mut self, range: impl Into<String>) -> Self {
        self.addresses = range.into();
        self
    }

    /// Gives a function a name that pods can use as `image`. What it returns is the container's exit code; a panic is exit code
    /// 101.
    #[must_use]
    pub fn image<F>(mut self, name: impl Into<String>, function: impl Fn(Task) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = i32> + Send + 'static,
    {
        let function: Function = Arc::new(move |task| function(task).boxed());
        self.images.insert(name.into(), function);
        self
    }

    /// What running a command in a container does. Without it, the runtime has no `exec`.
    #[must_use]
    pub fn exec<F>(mut self, exec: impl Fn(ContainerStatus, Vec<String>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ExecOutput> + Send + 'static,
    {
        self.exec = Some(Arc::new(move |container, command| exec(container, command).boxed()));
        self
    }

    /// The runtime, and the future in which its containers run.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad range of addresses.
    pub fn open(self) -> Result<(TaskRuntime, impl Future<Output = ()> + Send + use<>)> {
        let (starts, receiver) = mpsc::channel(STARTS);
        let state = State {
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            addresses: Addresses::new(&self.addresses)?,
        };
        let inner = Arc::new(Inner {
            clock: self.clock,
            images: Registered::new(self.images, None),
            exec: self.exec,
            state: Mutex::new(state),
            starts,
            events: broadcast::Sender::new(EVENTS),
        });
        let run = run::run(inner.clone(), receiver);
        Ok((TaskRuntime { inner }, run))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receiver of the container's end, if it was started and is not forgotten.
    fn end_of(&self, id: &ContainerId, then: impl FnOnce(&Container)) -> Option<watch::Receiver<bool>> {
        let state = self.state();
        let container = state.containers.get(id).filter(|container| container.started)?;
        then(container);
        Some(container.over.subscribe())
    }

    async fn kill(&self, id: &ContainerId) {
        let end = self.end_of(id, |container| {
            container.kill.send_replace(true);
        });
        if let Some(mut end) = end {
            // An error: forgotten in between, and so over.
            let _ = end.wait_for(|over| *over).await;
        }
    }

    fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let state = self.state();
        let of = state.containers.values().filter(|container| container.status.sandbox == *sandbox);
        of.map(|container| container.status.id.clone()).collect()
    }
}

#[async_trait]
impl Runtime for TaskRuntime {
    fn images(&self) -> &dyn Images {
        &self.inner.images
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().exec(self.inner.exec.is_some())
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        Ok(RuntimeStatus::ready("task", env!("CARGO_PKG_VERSION")))
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus> {
        let id = SandboxId::new(format!("{}_{}", config.pod.uid, config.attempt));
        let mut state = self.inner.state();
        if let Some(sandbox) = state.sandboxes.get(&id) {
            return Ok(sandbox.clone());
        }
        let address = match config.host_network {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => state.addresses.allocate(&id)?,
        };
        let mut status = SandboxStatus::new(id.clone(), config, vec![address]);
        status.created_at = Some(self.inner.clock.now());
        state.sandboxes.insert(id, status.clone());
        Ok(status)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        for container in self.inner.containers_of(id) {
            self.inner.kill(&container).await;
        }
        let mut state = self.inner.state();
        let State { sandboxes, addresses, .. } = &mut *state;
        if let Some(sandbox) = sandboxes.get_mut(id) {
            sandbox.state = SandboxState::NotReady;
            for address in &sandbox.addresses {
                addresses.release(*address, id);
            }
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.stop_sandbox(id).await?;
        let mut state = self.inner.state();
        state.containers.retain(|_, container| container.status.sandbox != *id);
        state.sandboxes.remove(id);
        Ok(())
    }

    async fn create(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let mut state = self.inner.state();
        let pod = match state.sandboxes.get(sandbox) {
            Some(sandbox) if sandbox.state == SandboxState::Ready => sandbox.pod.clone(),
            Some(_) => {
                return Err(Error::Transient(format!("sandbox {sandbox} is stopped")));
            }
            None => return Err(Error::not_found("sandbox", sandbox)),
        };
        if self.inner.images.get(&config.image).is_none() {
            return Err(Error::not_found("image", &config.image));
        }
        let id = ContainerId::new(format!("{}_{}_{}", pod.uid, config.name, config.attempt));
        if state.containers.contains_key(&id) {
            return Err(Error::already_exists("container", &id));
        }
        let container = Container {
            status: ContainerStatus::created(id.clone(), sandbox.clone(), pod, config),
            config: config.clone(),
            started: false,
            stop: watch::Sender::new(false),
            kill: watch::Sender::new(false),
            over: watch::Sender::new(false),
        };
        state.containers.insert(id.clone(), container);
        Ok(id)
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let start = {
            let mut state = self.inner.state();
            let State { sandboxes, containers, .. } = &mut *state;
            let container = containers.get_mut(id).ok_or_else(|| Error::not_found("container", id))?;
            if container.started {
                return Err(Error::already_exists("container", id));
            }
            let sandbox = sandboxes
                .get(&container.status.sandbox)
                .ok_or_else(|| Error::not_found("sandbox", &container.status.sandbox))?;
            let path = &container.config.log_path;
            let log = LogWriter::open(path, log::MAX_BYTES, log::MAX_FILES)
                .map_err(|error| Error::Transient(error.to_string()))?;
            let address = sandbox.addresses[0];
            let task = Task::new(container.config.clone(), address, container.stop.subscribe(), self.inner.clock, log);
            let function = self
                .inner
                .images
                .get(&container.config.image)
                .ok_or_else(|| Error::not_found("image", &container.config.image))?;
            container.started = true;
            let (started, answer) = oneshot::channel();
            let start = run::Start {
                id: id.clone(),
                log: task.log_writer(),
                future: function(task),
                kill: container.kill.subscribe(),
                started,
            };
            (start, answer)
        };
        let (start, answer) = start;
        let gone = || Error::Transient("the runtime's run future is gone".into());
        self.inner.starts.send(start).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let end = self.inner.end_of(id, |container| {
            container.stop.send_replace(true);
        });
        if let Some(mut end) = end
            && tokio::time::timeout(grace, end.wait_for(|over| *over)).await.is_err()
        {
            self.inner.kill(id).await;
        }
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.inner.kill(id).await;
        self.inner.state().containers.remove(id);
        Ok(())
    }

    async fn list(&self, pod_uid: Option<&str>) -> Result<Listing> {
        let state = self.inner.state();
        let mut listing = Listing::default();
        listing.sandboxes.extend(state.sandboxes.values().cloned());
        let containers = state.containers.values();
        listing.containers.extend(containers.map(|container| container.status.clone()));
        listing.keep(pod_uid);
        Ok(listing)
    }

    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let exec = self.inner.exec.as_ref();
        let exec = exec.ok_or_else(|| Error::unsupported("exec"))?;
        let status = match self.inner.state().containers.get(id) {
            Some(container) if container.status.state.is_running() => container.status.clone(),
            Some(_) => {
                return Err(Error::Invalid(format!("container {id} is not running")));
            }
            None => return Err(Error::not_found("container", id)),
        };
        let run = exec(status, command.to_vec());
        let late = |_| Error::DeadlineExceeded { command: command.join(" "), seconds: timeout.as_secs() };
        tokio::time::timeout(timeout, run).await.map_err(late)
    }

    fn events(&self) -> Option<BoxStream<'static, RuntimeEvent>> {
        let receiver = self.inner.events.subscribe();
        let stream = stream::unfold(receiver, async |mut receiver| match receiver.recv().await {
            Ok(uid) => Some((RuntimeEvent::pod(uid), receiver)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((RuntimeEvent { pod_uid: None }, receiver)),
            Err(broadcast::error::RecvError::Closed) => None,
        });
        Some(stream.boxed())
    }
}

impl std::fmt::Debug for TaskRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TaskRuntime")
    }
}
