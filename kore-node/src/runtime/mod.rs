//! The seam to whatever runs containers: [`Runtime`] and, beside it, [`Images`].
//!
//! - this file: the two traits, and nothing else
//! - `types`: what goes in (configurations) and what comes out (statuses)
//! - `error`: the one error enum of this boundary
//!
//! Nothing here knows probes, restarts, hooks, volumes or pod status: those belong to the agent.

mod error;
mod types;

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use error::{Error, Result};
pub use types::{
    Capabilities, ContainerConfig, ContainerId, ContainerState, ContainerStatus, Credentials, ExecOutput, Exit, FsInfo,
    Image, Listing, Mount, PodIdentity, RuntimeEvent, RuntimeStatus, SandboxConfig, SandboxId, SandboxState,
    SandboxStatus,
};

/// Runs pods' sandboxes and containers: primitives only.
///
/// A runtime decides nothing. The agent owns restarts, back-off, probes, hooks, order and volumes; a runtime does what
/// it is told and can say, at any time and after any restart, what exists. The contract, which
/// [`conformance`](crate) checks:
///
/// - **Identity lives on the runtime's side.** [`list`](Runtime::list) returns every sandbox and container created and
///   not yet removed, exited ones included, with the identity it was created with, also after the agent (and this
///   value) was killed and started again. The agent keeps no memory of its own that recovery depends on.
/// - **Nothing runs twice.** [`run_sandbox`](Runtime::run_sandbox) is idempotent on pod uid and attempt;
///   [`create`](Runtime::create) with a name and attempt that exist is [`Error::AlreadyExists`]; a container is started
///   at most once in its life (a restart is a new container with the next attempt).
/// - **Stopping and removing are idempotent.** Stopping what has exited and removing what is gone succeed. Stopping again with
///   a shorter grace shortens the wait of the stop under way.
/// - **The log.** Everything a container writes goes to [`ContainerConfig::log_path`], one line per record as
///   `TIMESTAMP stdout|stderr F|P MESSAGE` (the CRI log format, KEP-2411's `kubernetes-cri`), and is there before the container is
///   listed as exited.
/// - **Events are hints.** [`events`](Runtime::events) may lose, repeat or invent; the agent relists.
///
/// The shape follows the Container Runtime Interface and Nomad's task drivers (handle, recover, wait).
///
/// # Example
///
/// A complete runtime whose containers do nothing and succeed the moment they are started:
///
/// ```
/// use std::{collections::BTreeMap, sync::Mutex, time::Duration};
/// use async_trait::async_trait;
/// use kore_node::runtime::*;
///
/// #[derive(Default)]
/// struct Nothing {
///     sandboxes: Mutex<BTreeMap<SandboxId, SandboxStatus>>,
///     containers: Mutex<BTreeMap<ContainerId, ContainerStatus>>,
/// }
///
/// #[async_trait]
/// impl Runtime for Nothing {
///     fn images(&self) -> &dyn Images {
///         self
///     }
///     async fn status(&self) -> Result<RuntimeStatus> {
///         Ok(RuntimeStatus::ready("nothing", "1.0.0"))
///     }
///     async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus> {
///         let id = SandboxId::new(format!("{}-{}", config.pod.uid, config.attempt));
///         let status = SandboxStatus::new(id.clone(), config, vec!["127.0.0.1".parse().unwrap()]);
///         Ok(self.sandboxes.lock().unwrap().entry(id).or_insert(status).clone())
///     }
///     async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
///         if let Some(sandbox) = self.sandboxes.lock().unwrap().get_mut(id) {
///             sandbox.state = SandboxState::NotReady;
///         }
///         Ok(())
///     }
///     async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
///         self.sandboxes.lock().unwrap().remove(id);
///         self.containers.lock().unwrap().retain(|_, container| container.sandbox != *id);
///         Ok(())
///     }
///     async fn create(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
///         let pod = match self.sandboxes.lock().unwrap().get(sandbox) {
///             Some(sandbox) => sandbox.pod.clone(),
///             None => return Err(Error::not_found("sandbox", sandbox)),
///         };
///         let id = ContainerId::new(format!("{}-{}-{}", pod.uid, config.name, config.attempt));
///         let mut containers = self.containers.lock().unwrap();
///         if containers.contains_key(&id) {
///             return Err(Error::already_exists("container", &id));
///         }
///         containers.insert(id.clone(), ContainerStatus::created(id.clone(), sandbox.clone(), pod, config));
///         Ok(id)
///     }
///     async fn start(&self, id: &ContainerId) -> Result<()> {
///         match self.containers.lock().unwrap().get_mut(id) {
///             Some(container) => container.state = ContainerState::Exited(Exit::code(0)),
///             None => return Err(Error::not_found("container", id)),
///         }
///         Ok(())
///     }
///     async fn stop(&self, _: &ContainerId, _grace: Duration) -> Result<()> {
///         Ok(())
///     }
///     async fn remove(&self, id: &ContainerId) -> Result<()> {
///         self.containers.lock().unwrap().remove(id);
///         Ok(())
///     }
///     async fn list(&self, pod_uid: Option<&str>) -> Result<Listing> {
///         let mut listing = Listing::default();
///         listing.sandboxes.extend(self.sandboxes.lock().unwrap().values().cloned());
///         listing.containers.extend(self.containers.lock().unwrap().values().cloned());
///         listing.keep(pod_uid);
///         Ok(listing)
///     }
/// }
///
/// #[async_trait]
/// impl Images for Nothing {
///     async fn status(&self, image: &str) -> Result<Option<Image>> {
///         Ok(Some(Image::new(image, format!("nothing@{image}"))))
///     }
///     async fn pull(&self, image: &str, _: Option<&Credentials>) -> Result<Image> {
///         Ok(Image::new(image, format!("nothing@{image}")))
///     }
///     async fn list(&self) -> Result<Vec<Image>> {
///         Ok(vec![])
///     }
/// }
/// # futures::executor::block_on(async {
/// let runtime: &dyn Runtime = &Nothing::default();
/// let pod = PodIdentity::new("default", "web", "3a2b");
/// let sandbox = runtime.run_sandbox(&SandboxConfig::new(pod, 0)).await.unwrap();
/// let id = runtime.create(&sandbox.id, &ContainerConfig::new("app", "any")).await.unwrap();
/// runtime.start(&id).await.unwrap();
/// assert_eq!(runtime.list(Some("3a2b")).await.unwrap().containers[0].state.exit().unwrap().exit_code, 0);
/// # });
/// ```
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The images this runtime can run.
    fn images(&self) -> &dyn Images;

    /// What this runtime can do beyond the required methods. Nothing, by default.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// The runtime's name, version and whether it can take work. Shown as the node's `containerRuntimeVersion`, and a runtime that
    /// is not ready makes the node `NotReady` with its message.
    async fn status(&self) -> Result<RuntimeStatus>;

    /// Makes the pod's sandbox (what its containers share: the address) and returns it ready. Idempotent on pod uid and
    /// attempt.
    ///
    /// # Errors
    /// [`Error::Transient`] when no address is free, [`Error::Invalid`] for a configuration no retry helps.
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus>;

    /// Kills whatever still runs in the sandbox, without grace, and gives its address back. Idempotent; an unknown sandbox is
    /// stopped.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// Stops the sandbox and forgets it with all its containers. Idempotent. Log files stay: they are the agent's.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// Creates a container without starting it.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for a name and attempt the sandbox's pod has already, [`Error::NotFound`] for an unknown sandbox
    /// or image.
    async fn create(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId>;

    /// Starts a created container and returns when its program runs.
    ///
    /// # Errors
    /// [`Error::Start`] when the program cannot be executed: the container is then listed as exited with code 128 and reason
    /// `StartError`, and can be removed. [`Error::AlreadyExists`] when it was started before.
    async fn start(&self, id: &ContainerId) -> Result<()>;

    /// Asks the container to end (TERM), kills it and all its descendants when `grace` is over, and returns when it has exited.
    /// A grace of zero kills at once.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()>;

    /// Kills the container if it runs and forgets it. Idempotent. Its log file stays.
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// Everything that exists, or everything of one pod. The agent calls this every second for all and after every action for
    /// one, so it must be cheap.
    async fn list(&self, pod_uid: Option<&str>) -> Result<Listing>;

    /// Runs a command inside a running container and returns its output, at most [`ExecOutput::MAX_BYTES`] a stream.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default; [`Error::DeadlineExceeded`] after `timeout`, the command then having been killed.
    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let _ = (id, command, timeout);
        Err(Error::unsupported("exec"))
    }

    /// A stream of hints that something changed, if the runtime has one: the agent then looks at once instead of within a
    /// second.
    fn events(&self) -> Option<BoxStream<'static, RuntimeEvent>> {
        None
    }
}

/// The images of a [`Runtime`]. For an implementation see [`Runtime`]'s example.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// The image, if it is present on this node.
    async fn status(&self, image: &str) -> Result<Option<Image>>;

    /// Makes the image present and returns it.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming the image when no such image exists, [`Error::Invalid`] when the name cannot be one.
    async fn pull(&self, image: &str, credentials: Option<&Credentials>) -> Result<Image>;

    /// All images present.
    async fn list(&self) -> Result<Vec<Image>>;

    /// Removes an image from this node. By default [`Error::Unsupported`]: images that cost no space need no collection.
    async fn remove(&self, id: &str) -> Result<()> {
        let _ = id;
        Err(Error::unsupported("removing images"))
    }

    /// The file system images live on, if they cost space there.
    async fn fs_info(&self) -> Result<Option<FsInfo>> {
        Ok(None)
    }
}
