//! Containers as plain processes of the machine: [`NativeRuntime`], on any Linux, without privileges.
//!
//! - this file: the runtime and its builder
//! - `images`: names for programs
//! - `addresses`: an address of its own for every pod
//! - `records`: what is on disk and how it is read back
//! - `work`: what the runtime does, blocking
//! - `processes`: talking to shims (the shim itself lives in [`shim`](crate::shim))
//!
//! **A native process is not a sandbox.** It runs as the user who runs the agent, sees the machine's files and network, and no
//! limit is enforced on it. What it has of its own is an address, an environment, its mounts and a supervisor.

pub(crate) mod addresses;
pub(crate) mod images;
mod processes;
mod records;
mod work;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::{io::AsyncBufReadExt, net::unix::pipe};

use self::{
    addresses::Addresses,
    images::Registered,
    records::Found,
    work::{Inner, Known, State},
};
use crate::{
    agent::private_dir,
    log,
    runtime::{
        Capabilities, ContainerConfig, ContainerId, ContainerState, Error, ExecOutput, Images, Listing, Result,
        Runtime, RuntimeEvent, RuntimeStatus, SandboxConfig, SandboxId, SandboxState, SandboxStatus,
    },
    shim::{Shim, disk},
};

pub use self::images::Program;

/// Runs containers as processes of the machine, each under a shim.
///
/// **Addresses.** Every pod gets one of its own from a configured slice of 127.0.0.0/8; it is not handed out again while the pod's
/// sandbox lives, also across restarts of the agent. A container learns it by `fieldRef: status.podIP`, or from `KORE_POD_IP` in its
/// environment, and must bind it (binding 0.0.0.0 takes the port from every other pod).
///
/// **Images** are names the application registers for programs; a name registered without a tag stands for all its tags.
///
/// **Mounts.** On a machine that allows unprivileged user namespaces (or as root) a container sees its volumes at their
/// mount paths as written, in a mount namespace of its own in which everything else is the machine's. Elsewhere they are
/// links below a directory of the container's own. `KORE_ROOT` is in every container's environment: empty in the first case,
/// that directory in the second, so that `$KORE_ROOT/etc/app/config` is right in both; `$(KORE_ROOT)` is replaced in
/// command, arguments and environment.
///
/// **Stopping** sends TERM to the container's process group, waits for the grace, then kills every descendant. When the
/// first process ends by itself, its descendants are killed at once; in both cases so is what commands executed in the container
/// have left behind. If a shim is killed, its container dies with it.
///
/// **Recovery** reads the directory: containers that run are found running, with their log and exit status in the hands of
/// their shims. One agent uses a directory at a time.
///
/// ```no_run
/// use kore_node::{native::{NativeRuntime, Program}, shim::Shim};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = NativeRuntime::builder("data/node-1/runtime", Shim::this_binary()?)
///     .addresses("127.64.0.0/16")
///     .image("kore.dev/hello", Program::this_binary(["serve-hello"]))
///     .image("kore.dev/host", Program::host())
///     .open()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct NativeRuntime {
    inner: Arc<Inner>,
}

/// Configures a [`NativeRuntime`].
#[derive(Clone, Debug)]
pub struct Builder {
    dir: PathBuf,
    shim: Shim,
    addresses: String,
    images: BTreeMap<String, Program>,
    log_max_bytes: u64,
    log_max_files: u32,
}

impl NativeRuntime {
    /// A runtime that keeps its state in `dir` (created if missing) and runs containers under this shim.
    pub fn builder(dir: impl Into<PathBuf>, shim: Shim) -> Builder {
        Builder {
            dir: dir.into(),
            shim,
            addresses: "127.64.0.0/16".into(),
            images: BTreeMap::new(),
            log_max_bytes: log::MAX_BYTES,
            log_max_files: log::MAX_FILES,
        }
    }

    /// The range pods get addresses from: what the node should publish as its `podCIDR`.
    pub fn addresses(&self) -> String {
        self.inner.state().addresses.range().to_owned()
    }

    /// Runs blocking work where it may block.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Transient("the application is shutting down".into())),
        }
    }
}

impl Builder {
    /// The range pods get addresses from, inside 127.0.0.0/8. Default `127.64.0.0/16`. Two runtimes on a machine need two ranges.
    #[must_use]
    pub fn addresses(mut self, range: impl Into<String>) -> Self {
        self.addresses = range.into();
        self
    }

    /// Gives a program a name that pods can use as `image`.
    #[must_use]
    pub fn image(mut self, name: impl Into<String>, program: Program) -> Self {
        self.images.insert(name.into(), program);
        self
    }

    /// When a container's log is rotated, in bytes, and how many files it may have. Default 10 MiB and 5.
    #[must_use]
    pub fn log_limits(mut self, max_bytes: u64, max_files: u32) -> Self {
        (self.log_max_bytes, self.log_max_files) = (max_bytes, max_files.max(1));
        self
    }

    /// Opens the state directory and finds what ran before.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad range, a directory another agent uses or a newer program wrote; [`Error::Transient`] naming
    /// the file for anything else.
    pub async fn open(self) -> Result<NativeRuntime> {
        // A former agent may be in its last moments: its lock goes with its last call.
        for _ in 0..OPEN_TRIES {
            match self.clone().open_once().await {
                Err(error) if error == self.in_use() => tokio::time::sleep(OPEN_EVERY).await,
                result => return result,
            }
        }
        Err(self.in_use())
    }

    fn in_use(&self) -> Error {
        let dir = self.dir.display();
        Error::Invalid(format!("{dir} is in use by another agent"))
    }

    async fn open_once(self) -> Result<NativeRuntime> {
        match tokio::task::spawn_blocking(move || self.open_blocking()).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Transient("the application is shutting down".into())),
        }
    }

    fn open_blocking(self) -> Result<NativeRuntime> {
        let mut addresses = Addresses::new(&self.addresses)?;
        let io = |error: std::io::Error| Error::Transient(error.to_string());
        for name in [records::SANDBOXES, records::CONTAINERS] {
            let dir = self.dir.join(name);
            private_dir(&dir).map_err(|error| Error::io("creating", &dir, error))?;
        }
        let dir = self.dir.canonicalize().map_err(|error| Error::io("opening", &self.dir, error))?;
        let Some(lock) = disk::lock(&dir.join("lock")).map_err(io)? else {
            return Err(self.in_use());
        };
        let format = dir.join("format");
        match disk::read_opt::<u32>(&format).map_err(io)? {
            Some(version) if version > records::FORMAT => {
                let text =
                    format!("{}: format {version} is newer than this program's {}", dir.display(), records::FORMAT);
                return Err(Error::Invalid(text));
            }
            Some(_) => {}
            None => disk::write(&format, &records::FORMAT, true).map_err(io)?,
        }
        let events = dir.join(records::EVENTS);
        match mknodat(CWD, &events, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(Error::io("creating", &events, error)),
        }
        let boot = disk::boot_id();
        let Found { sandboxes, containers } = records::read_all(&dir).map_err(io)?;
        for sandbox in sandboxes.values().filter(|sandbox| sandbox.state(&boot) == SandboxState::Ready) {
            addresses.hold(sandbox.address, &sandbox.id);
        }
        let known = |container| Known { container, last: ContainerState::Created };
        let containers = containers.into_iter().map(|(id, container)| (id, known(container))).collect();
        let inner = Inner {
            dir,
            shim: self.shim,
            images: Registered::new(self.images, Some(rustix::process::geteuid().as_raw())),
            log_max_bytes: self.log_max_bytes,
            log_max_files: self.log_max_files,
            boot,
            can_mount: OnceLock::new(),
            state: Mutex::new(State { sandboxes, containers, addresses, shims: vec![] }),
            _lock: lock,
        };
        Ok(NativeRuntime { inner: Arc::new(inner) })
    }
}

const NAME: &str = "native";
/// How often, and after what wait, a directory in use is tried again: a second, all in all.
const OPEN_TRIES: u32 = 50;
const OPEN_EVERY: Duration = Duration::from_millis(20);
/// How often a container that was asked to stop is looked at.
const STOP_EVERY: Duration = Duration::from_millis(10);

#[async_trait]
impl Runtime for NativeRuntime {
    fn images(&self) -> &dyn Images {
        &self.inner.images
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().exec(true)
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        Ok(RuntimeStatus::ready(NAME, env!("CARGO_PKG_VERSION")))
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus> {
        let config = config.clone();
        self.blocking(move |inner| inner.run_sandbox(&config)).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |inner| inner.stop_sandbox(&id)).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |inner| inner.remove_sandbox(&id)).await
    }

    async fn create(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let (sandbox, config) = (sandbox.clone(), config.clone());
        self.blocking(move |inner| inner.create(&sandbox, &config)).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |inner| inner.start(&id)).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let wanted = id.clone();
        if self.blocking(move |inner| inner.ask_to_stop(&wanted, grace)).await? {
            return Ok(());
        }
        let mut tick = tokio::time::interval(STOP_EVERY);
        loop {
            tick.tick().await;
            let wanted = id.clone();
            let over = self.blocking(move |inner| Ok(!inner.state_of(&wanted).is_some_and(|state| state.is_running())));
            if over.await? {
                return Ok(());
            }
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |inner| inner.remove(&id)).await
    }

    async fn list(&self, pod_uid: Option<&str>) -> Result<Listing> {
        let pod_uid = pod_uid.map(str::to_owned);
        self.blocking(move |inner| Ok(inner.list(pod_uid.as_deref()))).await
    }

    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let wanted = id.clone();
        match self.blocking(move |inner| Ok(inner.state_of(&wanted))).await? {
            None => return Err(Error::not_found("container", id)),
            Some(state) if !state.is_running() => {
                return Err(Error::Invalid(format!("container {id} is not running")));
            }
            Some(_) => {}
        }
        processes::exec(&self.inner.shim, &self.inner.container_dir(id), command, timeout).await
    }

    fn events(&self) -> Option<BoxStream<'static, RuntimeEvent>> {
        let fifo = self.inner.dir.join(records::EVENTS);
        // For writing, too: it then never ends while shims come and go.
        let receiver = pipe::OpenOptions::new().read_write(true).open_receiver(fifo).ok()?;
        let lines = tokio::io::BufReader::new(receiver).lines();
        let stream = futures::stream::unfold(lines, async |mut lines| match lines.next_line().await {
            Ok(Some(uid)) => Some((RuntimeEvent::pod(uid), lines)),
            _ => None,
        });
        Some(stream.boxed())
    }
}

impl std::fmt::Debug for NativeRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeRuntime").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}
