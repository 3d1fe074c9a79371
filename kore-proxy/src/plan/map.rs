//! What is known of services and endpoints, and which part of it has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kore_api::object::ObjectKey;

use super::resolve::resolve;
use super::{Delta, Entry, Frontend, Operation, Protocol, Snapshot, Topology};

/// A slice names the service it belongs to in this label.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// All services and endpoints that a proxy knows, and what follows from them.
///
/// ```
/// use kore_proxy::plan::{ServiceMap, Topology};
/// let mut map = ServiceMap::new(Topology::default());
/// // … map.set_service(key, Some(service)); map.set_slice(key, Some(slice)) as the API reports them
/// assert!(map.take_delta().is_none(), "nothing has changed");
/// ```
#[derive(Debug, Default)]
pub struct ServiceMap {
    topology: Topology,
    services: BTreeMap<ObjectKey, Arc<Service>>,
    /// The slices of each service, by their own keys.
    slices: BTreeMap<ObjectKey, BTreeMap<ObjectKey, Arc<EndpointSlice>>>,
    /// The service that each slice belongs to.
    owners: BTreeMap<ObjectKey, ObjectKey>,
    /// The frontends of each service, as last resolved.
    resolved: BTreeMap<ObjectKey, BTreeMap<Frontend, Arc<Entry>>>,
    /// Who wants a frontend. Where several do, the first by key has it, and the next follows when that one lets go.
    claims: BTreeMap<Frontend, BTreeSet<ObjectKey>>,
    dirty: BTreeSet<ObjectKey>,
    revision: u64,
}

impl ServiceMap {
    /// A map without services.
    pub fn new(topology: Topology) -> Self {
        Self { topology, ..Self::default() }
    }

    /// A service is as given now, or gone.
    pub fn set_service(&mut self, key: &ObjectKey, service: Option<Arc<Service>>) {
        match service {
            Some(service) => self.services.insert(key.clone(), service),
            None => self.services.remove(key),
        };
        self.dirty.insert(key.clone());
    }

    /// An endpoint slice is as given now, or gone. A slice may come before its service.
    pub fn set_slice(&mut self, key: &ObjectKey, slice: Option<Arc<EndpointSlice>>) {
        let labels = slice.as_ref().and_then(|slice| slice.metadata.labels.as_ref());
        let name = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL));
        let owner = name.map(|name| ObjectKey::namespaced(key.namespace.clone(), name.as_str()));
        let previous = match &owner {
            Some(owner) => self.owners.insert(key.clone(), owner.clone()),
            None => self.owners.remove(key),
        };
        if let Some(previous) = previous {
            let slices = self.slices.entry(previous.clone()).or_default();
            slices.remove(key);
            if slices.is_empty() {
                self.slices.remove(&previous);
            }
            self.dirty.insert(previous);
        }
        if let (Some(owner), Some(slice)) = (owner, slice) {
            self.slices.entry(owner.clone()).or_default().insert(key.clone(), slice);
            self.dirty.insert(owner);
        }
    }

    /// What has changed since the last call; `None`: nothing that a backend would notice.
    pub fn take_delta(&mut self) -> Option<Delta> {
        // For each frontend that is touched, what was served before the first touch.
        let mut before: BTreeMap<Frontend, Option<Arc<Entry>>> = BTreeMap::new();
        for key in std::mem::take(&mut self.dirty) {
            self.resolve_again(&key, &mut before);
        }
        let mut delta = Delta { revision: self.revision + 1, ..Delta::default() };
        for (frontend, before) in before {
            let after = self.served(&frontend);
            if before == after {
                continue;
            }
            delta.stale_udp.extend(stale_udp(&frontend, before.as_deref(), after.as_deref()));
            delta.operations.push(match after {
                Some(entry) => Operation::Upsert(frontend, entry),
                None => Operation::Remove(frontend),
            });
        }
        if delta.is_empty() {
            return None;
        }
        self.revision = delta.revision;
        Some(delta)
    }

    /// Everything that is served, as of the last [`ServiceMap::take_delta`].
    pub fn snapshot(&self) -> Snapshot {
        let served = |frontend: &Frontend| Some((*frontend, self.served(frontend)?));
        Snapshot { revision: self.revision, entries: self.claims.keys().filter_map(served).collect() }
    }

    /// The entry that `frontend` leads to.
    pub fn served(&self, frontend: &Frontend) -> Option<Arc<Entry>> {
        let winner = self.claims.get(frontend)?.first()?;
        self.resolved.get(winner)?.get(frontend).cloned()
    }

    fn resolve_again(&mut self, key: &ObjectKey, before: &mut BTreeMap<Frontend, Option<Arc<Entry>>>) {
        let new = match self.services.get(key) {
            Some(service) => {
                let slices = self.slices.get(key).into_iter().flat_map(|slices| slices.values().map(|slice| &**slice));
                resolve(key, service, slices, &self.topology)
            }
            None => BTreeMap::new(),
        };
        let old = self.resolved.get(key).into_iter().flat_map(BTreeMap::keys);
        let touched: BTreeSet<Frontend> = old.chain(new.keys()).copied().collect();
        for frontend in &touched {
            before.entry(*frontend).or_insert_with(|| self.served(frontend));
            let claimants = self.claims.entry(*frontend).or_default();
            if new.contains_key(frontend) {
                claimants.insert(key.clone());
            } else {
                claimants.remove(key);
            }
            if claimants.is_empty() {
                self.claims.remove(frontend);
            }
        }
        if new.is_empty() {
            self.resolved.remove(key);
        } else {
            let shared = new.into_iter().map(|(frontend, entry)| (frontend, Arc::new(entry))).collect();
            self.resolved.insert(key.clone(), shared);
        }
    }
}

/// Targets of a UDP frontend to which nothing leads any longer.
fn stale_udp(
    frontend: &Frontend,
    before: Option<&Entry>,
    after: Option<&Entry>,
) -> Vec<(Frontend, std::net::SocketAddr)> {
    if frontend.protocol != Protocol::Udp {
        return Vec::new();
    }
    let targets = |entry: Option<&Entry>| -> BTreeSet<std::net::SocketAddr> {
        entry.into_iter().flat_map(|entry| entry.targets.iter().map(|target| target.address)).collect()
    };
    targets(before).difference(&targets(after)).map(|address| (*frontend, *address)).collect()
}
