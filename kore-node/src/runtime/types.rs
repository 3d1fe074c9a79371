use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(String);

        impl $name {
            /// Takes the runtime's own name for it.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The runtime's own name for it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a sandbox on one runtime. Opaque; unique for the runtime's life.
    SandboxId
);
id!(
    /// Names a container on one runtime. Opaque; unique for the runtime's life.
    ContainerId
);

/// Whose sandbox it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PodIdentity {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`: what identity is decided by.
    pub uid: String,
}

impl PodIdentity {
    /// A pod's identity.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, uid: impl Into<String>) -> Self {
        PodIdentity { namespace: namespace.into(), name: name.into(), uid: uid.into() }
    }
}

/// What a sandbox is made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SandboxConfig {
    /// Whose sandbox.
    pub pod: PodIdentity,
    /// 0 for the pod's first sandbox, one more for each that replaces a dead one.
    pub attempt: u32,
    /// The host name containers should see.
    pub hostname: String,
    /// The pod uses the node's own network and address.
    pub host_network: bool,
    /// Returned by `list` unchanged.
    pub labels: BTreeMap<String, String>,
}

impl SandboxConfig {
    /// A sandbox with the pod's name as host name and an address of its own.
    pub fn new(pod: PodIdentity, attempt: u32) -> Self {
        SandboxConfig { hostname: pod.name.clone(), pod, attempt, host_network: false, labels: BTreeMap::new() }
    }
}

/// A directory or file of the node that a container sees at a path of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mount {
    /// Absolute path on the node. Exists.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// The container cannot write through it.
    pub read_only: bool,
}

impl Mount {
    /// A writable mount.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Mount { source: source.into(), target: target.into(), read_only: false }
    }

    /// Makes it read-only.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }
}

/// What a container is made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContainerConfig {
    /// The container's name in the pod's spec.
    pub name: String,
    /// 0 for the first container of that name, one more for each restart.
    pub attempt: u32,
    /// The image, as [`Images::status`](super::Images::status) knows it.
    pub image: String,
    /// Replaces the image's entry point if not empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments if not empty.
    pub args: Vec<String>,
    /// The whole environment, names unique, in the order of the spec.
    pub env: Vec<(String, String)>,
    /// Replaces the image's working directory.
    pub working_dir: Option<PathBuf>,
    /// What the container sees of the node, outer paths first.
    pub mounts: Vec<Mount>,
    /// Where the log goes (see the contract at [`Runtime`](super::Runtime)). Its directory exists.
    pub log_path: PathBuf,
    /// Memory limit in bytes, if the runtime can enforce one.
    pub memory_limit_bytes: Option<u64>,
    /// CPU limit in thousandths of a core, if the runtime can enforce one.
    pub cpu_limit_millis: Option<u64>,
    /// The user to run as, instead of the image's. A runtime of processes that cannot do so refuses with
    /// [`Error::Invalid`](super::Error::Invalid): nothing runs with more rights than asked for.
    pub user: Option<u32>,
    /// The group to run as, instead of the image's.
    pub group: Option<u32>,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// Returned by `list` unchanged.
    pub labels: BTreeMap<String, String>,
}

impl ContainerConfig {
    /// The first container of a name, with nothing set: it logs to `/dev/null`.
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Self {
        ContainerConfig {
            name: name.into(),
            attempt: 0,
            image: image.into(),
            command: vec![],
            args: vec![],
            env: vec![],
            working_dir: None,
            mounts: vec![],
            log_path: "/dev/null".into(),
            memory_limit_bytes: None,
            cpu_limit_millis: None,
            user: None,
            group: None,
            supplemental_groups: vec![],
            labels: BTreeMap::new(),
        }
    }
}

/// Whether a sandbox can hold running containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SandboxState {
    /// It can.
    Ready,
    /// It was stopped or died (a machine that was restarted): its containers are dead.
    NotReady,
}

/// A sandbox as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxStatus {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub pod: PodIdentity,
    /// Which of the pod's sandboxes.
    pub attempt: u32,
    /// Whether it lives.
    pub state: SandboxState,
    /// The pod's addresses, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// When it was made, if the runtime knows.
    pub created_at: Option<Timestamp>,
    /// As configured.
    pub labels: BTreeMap<String, String>,
}

impl SandboxStatus {
    /// A ready sandbox.
    pub fn new(id: SandboxId, config: &SandboxConfig, addresses: Vec<IpAddr>) -> Self {
        SandboxStatus {
            id,
            pod: config.pod.clone(),
            attempt: config.attempt,
            state: SandboxState::Ready,
            addresses,
            created_at: None,
            labels: config.labels.clone(),
        }
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exit {
    /// The exit code, 128 + n for signal n, 137 when nobody saw it end.
    pub exit_code: i32,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// When it started, if it did.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended, if the runtime knows.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// A CamelCase reason the runtime knows better than the code does (`StartError`, `OOMKilled`, `ContainerStatusUnknown`).
    #[serde(default)]
    pub reason: Option<String>,
    /// For people.
    #[serde(default)]
    pub message: Option<String>,
}

impl Exit {
    /// An exit with nothing known but the code.
    pub fn code(exit_code: i32) -> Self {
        Exit { exit_code, signal: None, started_at: None, finished_at: None, reason: None, message: None }
    }
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerState {
    /// Not started yet.
    Created,
    /// Its program runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Over.
    Exited(Exit),
}

impl ContainerState {
    /// How it ended, if it did.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            ContainerState::Exited(exit) => Some(exit),
            _ => None,
        }
    }

    /// Whether its program runs.
    pub fn is_running(&self) -> bool {
        matches!(self, ContainerState::Running { .. })
    }
}

/// A container as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerStatus {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox it is in.
    pub sandbox: SandboxId,
    /// Whose it is.
    pub pod: PodIdentity,
    /// The container's name in the pod's spec.
    pub name: String,
    /// Which of the containers of that name.
    pub attempt: u32,
    /// The image it was created from, as configured.
    pub image: String,
    /// The exact image: `status.containerStatuses[].imageID`.
    pub image_id: String,
    /// Its state.
    pub state: ContainerState,
    /// Where its log is.
    pub log_path: PathBuf,
    /// As configured.
    pub labels: BTreeMap<String, String>,
}

impl ContainerStatus {
    /// A container that was just created.
    pub fn created(id: ContainerId, sandbox: SandboxId, pod: PodIdentity, config: &ContainerConfig) -> Self {
        ContainerStatus {
            id,
            sandbox,
            pod,
            name: config.name.clone(),
            attempt: config.attempt,
            image: config.image.clone(),
            image_id: config.image.clone(),
            state: ContainerState::Created,
            log_path: config.log_path.clone(),
            labels: config.labels.clone(),
        }
    }
}

/// What exists on a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Sandboxes, in no particular order.
    pub sandboxes: Vec<SandboxStatus>,
    /// Containers, in no particular order.
    pub containers: Vec<ContainerStatus>,
}

impl Listing {
    /// Drops what belongs to other pods than the one given, if one is given.
    pub fn keep(&mut self, pod_uid: Option<&str>) {
        if let Some(uid) = pod_uid {
            self.sandboxes.retain(|sandbox| sandbox.pod.uid == uid);
            self.containers.retain(|container| container.pod.uid == uid);
        }
    }
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code, 128 + n for signal n.
    pub exit_code: i32,
}

impl ExecOutput {
    /// The most a runtime keeps of each stream, in bytes; the rest is read and dropped.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// An exit code with its output.
    pub fn new(exit_code: i32, stdout: impl Into<Vec<u8>>, stderr: impl Into<Vec<u8>>) -> Self {
        ExecOutput { stdout: stdout.into(), stderr: stderr.into(), exit_code }
    }
}

/// A hint that something about a pod changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeEvent {
    /// The pod it is about; all of them when unknown.
    pub pod_uid: Option<String>,
}

impl RuntimeEvent {
    /// Something changed about this pod.
    pub fn pod(uid: impl Into<String>) -> Self {
        RuntimeEvent { pod_uid: Some(uid.into()) }
    }
}

/// What a runtime can do beyond the required methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `exec_sync` works: exec probes and hooks do.
    pub exec: bool,
    /// Containers are isolated from each other and from the node.
    pub isolation: bool,
    /// CPU and memory limits are enforced.
    pub limits: bool,
}

impl Capabilities {
    /// Says whether `exec_sync` works.
    #[must_use]
    pub fn exec(mut self, exec: bool) -> Self {
        self.exec = exec;
        self
    }
}

/// Who a runtime is and whether it takes work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeStatus {
    /// Its name: the scheme of container ids (`native://…`) and of the node's `containerRuntimeVersion`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Why it takes no work, if it does not.
    pub not_ready: Option<String>,
}

impl RuntimeStatus {
    /// A runtime that takes work.
    pub fn ready(name: impl Into<String>, version: impl Into<String>) -> Self {
        RuntimeStatus { name: name.into(), version: version.into(), not_ready: None }
    }
}

/// An image present on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// The name it was asked for by.
    pub name: String,
    /// What exactly it is: two different contents have two ids.
    pub id: String,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// The user its programs run as, unless the container says otherwise; `None`: not known.
    pub user: Option<u32>,
}

impl Image {
    /// An image that takes no space.
    pub fn new(name: impl Into<String>, id: impl Into<String>) -> Self {
        Image { name: name.into(), id: id.into(), size_bytes: 0, user: None }
    }
}

/// How a registry may be asked.
#[derive(Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl Credentials {
    /// A user name and a password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials { username: username.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Space on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsInfo {
    /// All of it.
    pub capacity_bytes: u64,
    /// What is free for an ordinary user.
    pub available_bytes: u64,
}
