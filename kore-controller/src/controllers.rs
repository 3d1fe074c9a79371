//! All controllers, composed by name.

use crate::{
    Caches, Error, Handle, Resources, Statistics, deployment, endpointslice, garbagecollector, namespace,
    nodelifecycle, podgc, replicaset, serviceaccount, tainteviction,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use kore_api::client::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// The controllers of a control plane, to be opened together; they share their informers.
///
/// ```
/// # use kore_api::client::Client;
/// # use kore_controller::{Controllers, Error};
/// # async fn example(client: Client) -> Result<(), Error> {
/// let (controllers, run) = Controllers::new(&client).select("*,-node-lifecycle")?.open();
/// run.await;
/// # controllers.stop();
/// # Ok(())
/// # }
/// ```
pub struct Controllers {
    client: Client,
    selected: BTreeSet<&'static str>,
    identities: Arc<dyn Fn(&str) -> Client + Send + Sync>,
    resources: Resources,
    node_lifecycle: nodelifecycle::Config,
}

/// Controllers that run somewhere. Cloning is cheap; dropping it stops nothing.
#[derive(Clone, Debug)]
pub struct ControllersHandle {
    stop: Arc<watch::Sender<bool>>,
    handles: BTreeMap<&'static str, Handle>,
}

/// One controller: its name without `-controller`, what else it is called in lists, and the service account in
/// `kube-system` that it is upstream.
struct Entry {
    name: &'static str,
    alias: &'static str,
    account: &'static str,
}

const fn entry(name: &'static str, alias: &'static str, account: &'static str) -> Entry {
    Entry { name, alias, account }
}

const DEPLOYMENT: Entry = entry("deployment", "deployment", "deployment-controller");
const REPLICASET: Entry = entry("replicaset", "replicaset", "replicaset-controller");
const ENDPOINTSLICE: Entry = entry("endpointslice", "endpointslice", "endpointslice-controller");
const NAMESPACE: Entry = entry("namespace", "namespace", "namespace-controller");
const GARBAGE: Entry = entry("garbage-collector", "garbagecollector", "generic-garbage-collector");
const NODES: Entry = entry("node-lifecycle", "nodelifecycle", "node-controller");
const TAINTS: Entry = entry("taint-eviction", "tainteviction", "taint-eviction-controller");
const ACCOUNTS: Entry = entry("serviceaccount", "serviceaccount", "service-account-controller");
const PODS: Entry = entry("pod-garbage-collector", "podgc", "pod-garbage-collector");
const ALL: [Entry; 9] = [DEPLOYMENT, REPLICASET, ENDPOINTSLICE, NAMESPACE, GARBAGE, NODES, TAINTS, ACCOUNTS, PODS];

/// Who owns the fields that controllers set, as upstream has it.
const USER_AGENT: &str = "kube-controller-manager";

impl Controllers {
    /// All controllers, reading and writing as `client`.
    pub fn new(client: &Client) -> Self {
        let client = client.with_user_agent(USER_AGENT);
        let writer = client.clone();
        Controllers {
            client,
            selected: ALL.iter().map(|entry| entry.name).collect(),
            identities: Arc::new(move |_| writer.clone()),
            resources: Resources::built_in(),
            node_lifecycle: nodelifecycle::Config::default(),
        }
    }

    /// The names that [`select`](Controllers::select) knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|entry| entry.name)
    }

    /// Selects controllers as upstream's `--controllers` does: names separated by commas, `*` for all, `-name` for
    /// all but this one. Names may end in `-controller`.
    ///
    /// # Errors
    /// [`Error::UnknownController`] names what is not a controller.
    pub fn select(mut self, list: &str) -> Result<Self, Error> {
        self.selected = select(list)?;
        Ok(self)
    }

    /// Gives each controller an identity of its own: `client` is asked with the name of the service account in
    /// `kube-system` that the controller is upstream, for example `deployment-controller`. The shared informers keep the
    /// identity that [`new`](Controllers::new) was given.
    #[must_use]
    pub fn identities(mut self, client: impl Fn(&str) -> Client + Send + Sync + 'static) -> Self {
        self.identities = Arc::new(client);
        self
    }

    /// Which resources the cluster has: what is deleted with a namespace, and what the garbage collector follows.
    #[must_use]
    pub fn resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }

    /// How long nodes may be silent.
    #[must_use]
    pub fn node_lifecycle(mut self, config: nodelifecycle::Config) -> Self {
        self.node_lifecycle = config;
        self
    }

    /// Starts nothing: returns the handle, and the future that runs the controllers. It ends after
    /// [`ControllersHandle::stop`], when every controller has stopped; dropping it stops everything at once.
    pub fn open(self) -> (ControllersHandle, impl Future<Output = ()> + Send + use<>) {
        let mut caches = Caches::new(&self.client);
        let mut opened = Opened::default();
        let caches_ref = &mut caches;
        for entry in ALL.iter().filter(|entry| self.selected.contains(entry.name)) {
            let client = (self.identities)(entry.account).with_user_agent(USER_AGENT);
            let (client, caches) = (&client, &mut *caches_ref);
            let resources = self.resources.clone();
            match entry.name {
                "deployment" => opened.add(entry, deployment::open(client, caches)),
                "replicaset" => opened.add(entry, replicaset::open(client, caches)),
                "endpointslice" => opened.add(entry, endpointslice::open(client, caches)),
                "namespace" => opened.add(entry, namespace::open(client, caches, resources)),
                "garbage-collector" => opened.add(entry, garbagecollector::open(client, caches, resources)),
                "node-lifecycle" => {
                    opened.add(entry, nodelifecycle::open(client, caches, self.node_lifecycle.clone()));
                }
                "taint-eviction" => opened.add(entry, tainteviction::open(client, caches)),
                "serviceaccount" => opened.add(entry, serviceaccount::open(client, caches)),
                "pod-garbage-collector" => opened.add(entry, podgc::open(client, caches)),
                other => unreachable!("{other} is in the list of controllers"),
            }
        }
        let stop = Arc::new(watch::Sender::new(false));
        let mut stopped = stop.subscribe();
        let (following, runs, kept) = (caches.run(), opened.runs, stop.clone());
        let run = async move {
            let controlling = async {
                join_all(runs).await;
                // Where none was selected, there is still somebody to say stop. The sender is in `kept`.
                let _ = stopped.wait_for(|stop| *stop).await;
                drop(kept);
            };
            tokio::pin!(following, controlling);
            tokio::select! {
                biased;
                () = &mut controlling => {}
                () = &mut following => controlling.await,
            }
        };
        let handle = ControllersHandle { stop, handles: opened.handles };
        (handle, run)
    }
}

impl ControllersHandle {
    /// Stops all controllers in good order: what runs finishes, nothing new starts, and the run future ends.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        self.handles.values().for_each(Handle::stop);
    }

    /// What each controller has done so far, by name.
    pub fn statistics(&self) -> BTreeMap<&'static str, Statistics> {
        self.handles.iter().map(|(name, handle)| (*name, handle.statistics())).collect()
    }
}

#[derive(Default)]
struct Opened {
    handles: BTreeMap<&'static str, Handle>,
    runs: Vec<BoxFuture<'static, ()>>,
}

impl Opened {
    fn add(&mut self, entry: &Entry, (handle, run): (Handle, impl Future<Output = ()> + Send + 'static)) {
        self.handles.insert(entry.name, handle);
        self.runs.push(run.boxed());
    }
}

fn select(list: &str) -> Result<BTreeSet<&'static str>, Error> {
    let (mut all, mut with, mut without) = (false, BTreeSet::new(), BTreeSet::new());
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if item == "*" {
            all = true;
            continue;
        }
        let (name, side) = match item.strip_prefix('-') {
            Some(name) => (name, &mut without),
            None => (item, &mut with),
        };
        let short = name.strip_suffix("-controller").unwrap_or(name);
        let Some(entry) = ALL.iter().find(|entry| entry.name == short || entry.alias == short) else {
            let known = Controllers::names().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownController { name: name.to_owned(), known });
        };
        side.insert(entry.name);
    }
    if all {
        with.extend(Controllers::names().filter(|name| !without.contains(name)));
    } else {
        with.retain(|name| !without.contains(name));
    }
    Ok(with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection() {
        let chosen = |list: &str| select(list).map(|names| names.into_iter().collect::<Vec<_>>());
        assert_eq!(chosen("*").expect("valid").len(), ALL.len());
        assert_eq!(chosen("").expect("valid"), [""; 0]);
        assert_eq!(chosen("deployment,replicaset-controller").expect("valid"), ["deployment", "replicaset"]);
        assert_eq!(chosen("podgc, garbagecollector").expect("valid"), ["garbage-collector", "pod-garbage-collector"]);
        let most = chosen("*,-node-lifecycle,-taint-eviction-controller").expect("valid");
        assert_eq!(most.len(), ALL.len() - 2);
        assert!(!most.contains(&"node-lifecycle"));
        let error = chosen("*,-nodes").expect_err("unknown").to_string();
        assert!(error.contains("\"nodes\"") && error.contains("node-lifecycle"), "{error}");
    }
}
