//! Follows the API and feeds a backend.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kore_api::client::{Change, Changes, Client, EventRecorder, EventType, Informer, Selection};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backend::{Backend, BackendError, FrontendFailure};
use crate::plan::{Delta, Frontend, Operation, ServiceMap, Snapshot, Topology};

/// After a failure the backend is asked again after so long, doubling up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest wait between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Slices of headless services lead nowhere.
const NOT_HEADLESS: &str = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";

/// Where and how a proxy runs. The default knows no node: no endpoint is local, and no node port is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Where the proxy runs.
    pub topology: Topology,
}

impl Config {
    /// On this node; called again, on this one, too: where several nodes are one machine.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.topology.nodes.insert(name.into());
        self
    }

    /// In this zone.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.topology.zone = Some(zone.into());
        self
    }

    /// Serving node ports on these addresses.
    #[must_use]
    pub fn node_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.topology.node_addresses = addresses.into_iter().collect();
        self
    }
}

/// How far a proxy is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What the backend serves, but for `unserved`; `None` before the first state has been handed over.
    pub serving: Option<u64>,
    /// Frontends that the backend could not serve, and is asked again to.
    pub unserved: BTreeMap<Frontend, FrontendFailure>,
}

/// A running service proxy: shows how far it is. Dropping it stops nothing; dropping its future does.
#[derive(Clone)]
pub struct Proxy {
    status: watch::Receiver<Status>,
}

impl Proxy {
    /// A proxy that, while the returned future runs, keeps `backend` at what the API says.
    pub fn open<B: Backend>(
        client: Client,
        backend: B,
        config: Config,
    ) -> (Self, impl Future<Output = ()> + Send + use<B>) {
        let (sender, receiver) = watch::channel(Status::default());
        (Self { status: receiver }, run(client, Box::new(backend), config, sender))
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until `done` holds of the status; `false` if the proxy stops before it does.
    pub async fn wait_for(&mut self, done: impl FnMut(&Status) -> bool) -> bool {
        self.status.wait_for(done).await.is_ok()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?})", *self.status.borrow())
    }
}

async fn run(client: Client, backend: Box<dyn Backend>, config: Config, status: watch::Sender<Status>) {
    let client = client.with_user_agent("kube-proxy");
    let (services, services_run) = client.informer::<Service>(Selection::all());
    let (slices, slices_run) = client.informer::<EndpointSlice>(Selection::all().labels(NOT_HEADLESS));
    let (recorder, recorder_run) = client.recorder("kube-proxy");
    let follow = async move {
        let mut driver = Driver {
            service_changes: services.subscribe(),
            slice_changes: slices.subscribe(),
            services,
            map: ServiceMap::new(config.topology),
            backend,
            recorder,
            status,
            unserved: BTreeMap::new(),
            retry: None,
            retry_after: RETRY_MIN,
        };
        driver.services.synced().await;
        slices.synced().await;
        driver.follow().await;
    };
    futures::join!(services_run, slices_run, recorder_run, follow);
}

struct Driver {
    services: Informer<Service>,
    service_changes: Changes,
    slice_changes: Changes,
    map: ServiceMap,
    backend: Box<dyn Backend>,
    recorder: EventRecorder,
    status: watch::Sender<Status>,
    /// Frontends that could not be served.
    unserved: BTreeMap<Frontend, FrontendFailure>,
    /// What to try again, and when.
    retry: Option<(Instant, Retry)>,
    retry_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// The frontends that are not served.
    Unserved,
    /// Everything.
    All,
}

impl Driver {
    async fn follow(&mut self) {
        self.take_changes();
        self.map.take_delta();
        self.replace().await;
        loop {
            let retry_at = self.retry.map(|(at, _)| at);
            tokio::select! {
                biased;
                change = self.service_changes.next() => match change {
                    Some(change) => self.take_service(&change),
                    None => return,
                },
                change = self.slice_changes.next() => match change {
                    Some(change) => self.take_slice(&change),
                    None => return,
                },
                () = sleep_until(retry_at) => {
                    self.try_again().await;
                    continue;
                }
            }
            self.take_changes();
            if let Some(delta) = self.map.take_delta() {
                self.apply(delta).await;
            }
        }
    }

    /// Takes over all that has changed by now, so that it becomes one delta.
    fn take_changes(&mut self) {
        while let Some(change) = self.service_changes.try_next() {
            self.take_service(&change);
        }
        while let Some(change) = self.slice_changes.try_next() {
            self.take_slice(&change);
        }
    }

    fn take_service(&mut self, change: &Change) {
        let view = change.after.as_ref().map(|object| object.view::<Service>()).transpose();
        match view {
            Ok(view) => self.map.set_service(&change.key, view.map(|view| view.into_typed())),
            Err(error) => tracing::error!(%error, "service ignored"),
        }
    }

    fn take_slice(&mut self, change: &Change) {
        let view = change.after.as_ref().map(|object| object.view::<EndpointSlice>()).transpose();
        match view {
            Ok(view) => self.map.set_slice(&change.key, view.map(|view| view.into_typed())),
            Err(error) => tracing::error!(%error, "endpoint slice ignored"),
        }
    }

    async fn apply(&mut self, mut delta: Delta) {
        if self.retry.is_some_and(|(_, retry)| retry == Retry::All) {
            // The state of the backend is not known: this change goes there with all the others.
            return;
        }
        let mut failures = Vec::new();
        delta.operations.retain(|operation| match operation {
            Operation::Upsert(frontend, entry) => match self.unsupported(frontend, &entry.service) {
                Some(failure) => {
                    failures.push(failure);
                    false
                }
                None => true,
            },
            Operation::Remove(frontend) => self.backend.supports(frontend.protocol),
        });
        for frontend in touched(&delta) {
            self.unserved.remove(&frontend);
        }
        self.unserved.retain(|frontend, _| self.map.served(frontend).is_some());
        let outcome = if delta.is_empty() { Ok(()) } else { self.backend.apply(&delta).await };
        self.conclude(delta.revision, outcome, failures);
    }

    async fn replace(&mut self) {
        let mut snapshot: Snapshot = self.map.snapshot();
        let mut failures = Vec::new();
        snapshot.entries.retain(|frontend, entry| match self.unsupported(frontend, &entry.service) {
            Some(failure) => {
                failures.push(failure);
                false
            }
            None => true,
        });
        self.unserved.clear();
        self.retry = None;
        let outcome = self.backend.replace(&snapshot).await;
        self.conclude(snapshot.revision, outcome, failures);
    }

    async fn try_again(&mut self) {
        let Some((_, retry)) = self.retry.take() else {
            return;
        };
        match retry {
            Retry::All => self.replace().await,
            Retry::Unserved => {
                let wanted = self.unserved.keys().filter(|frontend| self.backend.supports(frontend.protocol));
                let upserts =
                    wanted.filter_map(|frontend| Some(Operation::Upsert(*frontend, self.map.served(frontend)?)));
                let revision = self.map.snapshot().revision;
                let delta = Delta { revision, operations: upserts.collect(), stale_udp: Vec::new() };
                self.apply(delta).await;
            }
        }
    }

    fn unsupported(&self, frontend: &Frontend, service: &kore_api::object::ObjectKey) -> Option<FrontendFailure> {
        let problem = format!("this proxy does not serve {}", frontend.protocol);
        let failure = FrontendFailure { frontend: *frontend, service: service.clone(), problem };
        (!self.backend.supports(frontend.protocol)).then_some(failure)
    }

    /// Notes what came of a step, tells users what is not served, and plans when to try again.
    fn conclude(&mut self, revision: u64, outcome: Result<(), BackendError>, mut failures: Vec<FrontendFailure>) {
        let mut retry = None;
        match outcome {
            Ok(()) => {}
            Err(BackendError::Frontends(failed)) => {
                failures.extend(failed);
                retry = Some(Retry::Unserved);
            }
            Err(error) => {
                tracing::error!(%error, "the proxy's backend failed; starting over");
                retry = Some(Retry::All);
            }
        }
        for failure in failures {
            if let Some(service) = self.services.get(&failure.service) {
                let message = format!("{}: {}", failure.frontend, failure.problem);
                self.recorder.event(&service, EventType::Warning, "FailedToServe", message);
            }
            tracing::warn!(service = %failure.service, %failure, "not served");
            self.unserved.insert(failure.frontend, failure);
        }
        match retry {
            Some(retry) => {
                self.retry = Some((Instant::now() + self.retry_after, retry));
                self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
            }
            None if self.retry.is_none() => self.retry_after = RETRY_MIN,
            None => {}
        }
        if retry != Some(Retry::All) {
            let unserved = self.unserved.clone();
            self.status.send_replace(Status { serving: Some(revision), unserved });
        }
    }
}

pub(crate) fn touched(delta: &Delta) -> BTreeSet<Frontend> {
    let frontend = |operation: &Operation| match operation {
        Operation::Upsert(frontend, _) | Operation::Remove(frontend) => *frontend,
    };
    delta.operations.iter().map(frontend).collect()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
