//! Every change of every resource, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::future::join_all;
use jiff::Timestamp;
use kore_store::Revision;
use tokio::sync::watch;

use super::Difference;
use super::world::{Broken, World};
use crate::client::{Client, DynamicApi};
use crate::error::Error;
use crate::object::{Object, ObjectKey, ResourceType};
use crate::registry::Registry;
use crate::request::{Options, WatchEvent};

/// How many changes are kept. Beyond, the log says that it is incomplete instead of comparing.
const ENTRIES_MAX: usize = 1 << 20;

/// Records every change of every resource of a server, while the future that comes with it runs.
///
/// It starts with the objects there are. Two runs of one seed must give equal logs ([`EventLog::difference`]), and an invariant
/// of a cluster must hold after every single change ([`EventLog::check`]). Cloning shares the log. See [the module](super) for a
/// program that records.
#[derive(Clone)]
pub struct EventLog {
    shared: Arc<Shared>,
}

struct Shared {
    recorded: Mutex<Recorded>,
    /// How far each resource has been followed, in the order of the registry.
    reached: watch::Sender<Vec<Revision>>,
}

#[derive(Default)]
struct Recorded {
    entries: BTreeMap<(Revision, Arc<ResourceType>, ObjectKey), Entry>,
    incomplete: Option<String>,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// When the log heard of it.
    pub at: Timestamp,
    /// The store's revision that made the change.
    pub revision: Revision,
    /// The resource.
    pub resource: Arc<ResourceType>,
    /// What happened.
    pub kind: EventKind,
    /// The object as it became; for a deletion, as it last was.
    pub object: Object,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// It came to be, or was there when the log began.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

impl EventLog {
    /// A log of all resources of `registry`, read as `client`, who must be allowed to and should not be behind [`Faults`](super::Faults).
    pub fn open(client: &Client, registry: &Registry) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let resources: Vec<Arc<ResourceType>> = registry.iter().map(|info| info.resource.clone()).collect();
        let shared =
            Arc::new(Shared { recorded: Mutex::default(), reached: watch::Sender::new(vec![0; resources.len()]) });
        let follow = |(place, resource): (usize, &Arc<ResourceType>)| {
            let api = client.dynamic((**resource).clone());
            follow(api, resource.clone(), place, shared.clone())
        };
        let run = join_all(resources.iter().enumerate().map(follow));
        let run = async move { drop(run.await) };
        (Self { shared }, run)
    }

    /// Waits until everything up to `revision` is in the log.
    pub async fn reached(&self, revision: Revision) {
        let mut reached = self.shared.reached.subscribe();
        let all = |reached: &Vec<Revision>| reached.iter().all(|one| *one >= revision);
        // The sender is in `shared`, which `self` holds.
        let _ = reached.wait_for(all).await;
    }

    /// The changes so far, by revision, then resource and key.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.values().cloned().collect()
    }

    /// Where this log and another first differ; `None`: they are the same. An incomplete log differs from every other.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let incomplete = |log: &Self| log.lock().incomplete.clone();
        if let Some(problem) = incomplete(self).or_else(|| incomplete(other)) {
            return Some(Difference::incomplete(problem));
        }
        Difference::between(&self.entries(), &other.entries())
    }

    /// Goes through the log again and asks after every change whether all is as it must be.
    ///
    /// # Errors
    /// The first change after which it is not, with what `oracle` said; or that the log is incomplete.
    pub fn check(&self, mut oracle: impl FnMut(&World, &Entry) -> Result<(), String>) -> Result<(), Broken> {
        if let Some(problem) = &self.lock().incomplete {
            return Err(Broken { problem: problem.clone(), before: Vec::new() });
        }
        World::replay(&self.entries(), &mut oracle)
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, entry: Entry) {
        let mut recorded = self.lock();
        if recorded.entries.len() == ENTRIES_MAX {
            let problem = format!("the log is incomplete: more than {ENTRIES_MAX} changes");
            recorded.incomplete.get_or_insert(problem);
            return;
        }
        let key = entry.object.key().clone();
        let place = (entry.revision, entry.resource.clone(), key);
        recorded.entries.insert(place, entry);
    }

    fn advance(&self, place: usize, revision: Revision) {
        self.reached.send_modify(|reached| reached[place] = reached[place].max(revision));
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventLog({} changes)", self.lock().entries.len())
    }
}

/// In one line: revision, what happened, and to what.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (revision, kind, key) = (self.revision, self.kind, self.object.key());
        write!(f, "{revision} {:.3} {kind:?} {} {key}", self.at, self.resource)
    }
}

/// Follows one resource from the objects there are, for ever, or until the server has forgotten what the log has not seen.
async fn follow(api: DynamicApi, resource: Arc<ResourceType>, place: usize, shared: Arc<Shared>) {
    let mut options = Options {
        allow_watch_bookmarks: true,
        send_initial_events: true,
        resource_version_match: Some("NotOlderThan".into()),
        resource_version: Some("0".into()),
        ..Options::default()
    };
    loop {
        match record(&api, &mut options, &resource, place, &shared).await {
            Err(error) if error.is_expired() => {
                let problem = format!("the log is incomplete: {resource}: {error}");
                shared.lock().incomplete.get_or_insert(problem);
                return;
            }
            // The server is gone, or not there yet; a little later it may be back.
            Ok(()) | Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

/// One watch, from where the last ended.
async fn record(
    api: &DynamicApi,
    options: &mut Options,
    resource: &Arc<ResourceType>,
    place: usize,
    shared: &Shared,
) -> Result<(), Error> {
    let mut events = api.watch(options).await?;
    while let Some(event) = events.next().await {
        let (kind, object) = match event? {
            WatchEvent::Added(object) => (EventKind::Added, object),
            WatchEvent::Modified(object) => (EventKind::Modified, object),
            WatchEvent::Deleted(object) => (EventKind::Deleted, object),
            WatchEvent::Bookmark { revision, initial_events_end } => {
                shared.advance(place, revision);
                if initial_events_end {
                    options.send_initial_events = false;
                    options.resource_version_match = None;
                }
                if !options.send_initial_events {
                    options.resource_version = Some(revision.to_string());
                }
                continue;
            }
        };
        let revision = object.revision();
        shared.add(Entry { at: api.client().clock().now(), revision, resource: resource.clone(), kind, object });
        // The objects of the beginning come in the order of their names: how far the log is, their end says.
        if !options.send_initial_events {
            shared.advance(place, revision);
            options.resource_version = Some(revision.to_string());
        }
    }
    Ok(())
}
