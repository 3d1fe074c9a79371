//! The agent: registers the node and runs the pods that are bound to it.
//!
//! - this file: [`Agent`], its builder and what the parts share
//! - `run`: the future that drives everything: pods to workers, the relist, shutdown
//! - `worker`: one pod's driver: does what the pod machine says
//! - `perform`, and `start`, `stop`, `probe`, `hook`: what the machine's actions mean in I/O
//! - `http`, `tls`: requests of probes and hooks
//! - `ending`: until when a pod must be over, for what is under way
//! - `shutdown`: ending a pod's containers with the agent
//! - `sources`: ConfigMaps, Secrets and Services as pods see them
//! - `node`: the Node object and its lease
//! - `places`: where on disk what is

mod ending;
mod hook;
mod http;
mod mailbox;
mod node;
mod perform;
mod places;
mod probe;
mod run;
mod shutdown;
mod sources;
mod start;
mod stop;
mod tls;
mod worker;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use kore_api::client::{Client, EventRecorder};
use tokio::sync::watch;

pub(crate) use self::places::{Places, private_dir};
use self::sources::Sources;
use crate::{Error, machine::Settings, runtime::Runtime, server::NodeService};

/// A node agent. A handle: everything happens in the future that [`Builder::open`] returns.
///
/// Dropping that future leaves native containers running, for the next agent on the same directories to adopt; see
/// [`Agent::shutdown`] for the other way to end.
///
/// ```no_run
/// # async fn compose(client: kore_api::client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use kore_node::{agent::Agent, native::{NativeRuntime, Program}, shim::Shim};
///
/// let runtime = NativeRuntime::builder("data/node-1/runtime", Shim::this_binary()?)
///     .addresses("127.64.1.0/24")
///     .image("kore.dev/hello", Program::this_binary(["serve-hello"]))
///     .open()
///     .await?;
/// let (agent, run) = Agent::builder(client, runtime, "node-1", "data/node-1")
///     .pod_cidr("127.64.1.0/24")
///     .open()
///     .await?;
/// # run.await; Ok(()) }
/// ```
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
    shutdown: watch::Sender<Option<Duration>>,
}

/// Configures an [`Agent`].
pub struct Builder {
    client: Client,
    runtime: Arc<dyn Runtime>,
    name: String,
    dir: PathBuf,
    address: IpAddr,
    pod_cidr: Option<String>,
    labels: BTreeMap<String, String>,
    capacity: BTreeMap<String, String>,
    max_restart_backoff: Duration,
    port: Option<u16>,
    files_in_place: bool,
}

/// What all parts of an agent know.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) node: String,
    pub(crate) places: Places,
    pub(crate) settings: Arc<Settings>,
    pub(crate) sources: Sources,
    pub(crate) recorder: EventRecorder,
    /// What the node has, by resource.
    pub(crate) capacity: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    pod_cidr: Option<String>,
    port: Option<u16>,
    files_in_place: bool,
    /// Some: everything is to be stopped, each container within this time.
    shutdown: watch::Receiver<Option<Duration>>,
    /// Becomes true when everything is.
    finished: watch::Sender<bool>,
}

impl Agent {
    /// An agent for the node of this name, which keeps volumes and logs in `dir`. The client's identity should be the node's
    /// (`system:node:NAME`).
    pub fn builder(client: Client, runtime: impl Runtime, name: impl Into<String>, dir: impl Into<PathBuf>) -> Builder {
        Builder {
            client: client.with_user_agent("kubelet"),
            runtime: Arc::new(runtime),
            name: name.into(),
            dir: dir.into(),
            address: Ipv4Addr::LOCALHOST.into(),
            pod_cidr: None,
            labels: BTreeMap::new(),
            capacity: BTreeMap::new(),
            max_restart_backoff: Duration::from_secs(300),
            port: None,
            files_in_place: false,
        }
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.shared.node
    }

    /// The node's HTTP service, which the API server relays `kubectl logs` to.
    pub fn service(&self) -> NodeService {
        NodeService::new(self.shared.clone())
    }

    /// Stops all pods' containers in order, a pod's all within `grace` at most, and ends the run future. The pods stay in the API:
    /// the next agent of this node runs those again whose restart policy says so. Returns when everything has stopped, and a few
    /// seconds after `grace` in any case, where the runtime does not do what it is told; the run future must be driven meanwhile.
    pub async fn shutdown(&self, grace: Duration) {
        self.shutdown.send_replace(Some(grace));
        let mut finished = self.shared.finished.subscribe();
        // The sender is in `shared`, which this handle holds.
        let _ = finished.wait_for(|finished| *finished).await;
    }
}

impl Shared {
    /// Does work on files.
    pub(crate) async fn on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        match self.files_in_place {
            true => Ok(work()),
            false => tokio::task::spawn_blocking(work).await,
        }
    }
}

impl Builder {
    /// The node's own address. Default 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// The range pods get addresses from, to publish as `spec.podCIDR`.
    #[must_use]
    pub fn pod_cidr(mut self, range: impl Into<String>) -> Self {
        self.pod_cidr = Some(range.into());
        self
    }

    /// A label of the node, besides the host name, operating system and architecture.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// How much of a resource the node has, as a quantity. Default: the machine's CPUs, memory and disk, and 110 `pods`.
    #[must_use]
    pub fn capacity(mut self, resource: impl Into<String>, quantity: impl Into<String>) -> Self {
        self.capacity.insert(resource.into(), quantity.into());
        self
    }

    /// The longest wait before a failing container is restarted. Default 300 s.
    #[must_use]
    pub fn max_restart_backoff(mut self, wait: Duration) -> Self {
        self.max_restart_backoff = wait;
        self
    }

    /// The port on which [`Agent::service`] is served at the node's address, to publish in the node's status.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Works on volumes in the agent's own future, which waits meanwhile, not on threads of their own. For simulations: which of
    /// several threads is done first, no seed decides.
    #[must_use]
    pub fn files_in_place(mut self) -> Self {
        self.files_in_place = true;
        self
    }

    /// The agent, and the future in which it works.
    ///
    /// # Errors
    /// A bad name, a directory that cannot be used, a runtime that does not answer.
    pub async fn open(self) -> Result<(Agent, impl Future<Output = ()> + Send + use<>), Error> {
        if !is_dns_subdomain(&self.name) {
            return Err(Error::InvalidName(self.name));
        }
        let places = Places::open(&self.dir).map_err(|source| Error::Directory { path: self.dir.clone(), source })?;
        let runtime = self.runtime.status().await?;
        let mut capacity = node::machine_capacity(&self.dir);
        capacity.extend(self.capacity);
        let (sources, follow) = Sources::open(&self.client);
        let (recorder, record) = self.client.recorder("kubelet");
        let (shutdown, shutting_down) = watch::channel(None);
        let shared = Arc::new(Shared {
            settings: Arc::new(Settings {
                runtime_name: runtime.name,
                host_addresses: vec![self.address],
                max_backoff: self.max_restart_backoff,
            }),
            client: self.client,
            runtime: self.runtime,
            node: self.name,
            places,
            sources,
            recorder,
            capacity,
            labels: self.labels,
            pod_cidr: self.pod_cidr,
            port: self.port,
            files_in_place: self.files_in_place,
            shutdown: shutting_down,
            finished: watch::Sender::new(false),
        });
        // Boxed: it is large, and applications hold it in futures of their own.
        let run = Box::pin(run::run(shared.clone(), follow, record));
        Ok((Agent { shared, shutdown }, run))
    }
}

/// Whether a text can name an object (RFC 1123 subdomain).
fn is_dns_subdomain(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("name", &self.shared.node).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::is_dns_subdomain;

    #[test]
    fn node_names() {
        for good in ["node-1", "a", "10.0.0.1", "node.example.com"] {
            assert!(is_dns_subdomain(good), "{good}");
        }
        for bad in ["", "Node", "a_b", "-a", "a-", "a..b", "a/b", "..", &"a".repeat(254)] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
    }
}
