//! The one loop that follows the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kore_store::{Error, EventBatch, KeyRange, KeyValue, Range, Revision, Store, Watch, WatchRequest, Watched};

use super::{Caches, ResourceCache, layout};

/// How long to wait after a first failure of the store; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How many revisions are taken over before watchers and waiting readers are woken.
const GROUP_MAX: usize = 128;
/// How many objects are listed from the store at a time.
const PAGE: usize = 2048;

/// Stops the server when it is dropped.
pub(crate) struct Stop(pub(crate) Arc<Caches>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Follows the store for ever: from its oldest revision, so that whoever watched an earlier server over the same store can go on
/// watching this one; then change by change.
pub(crate) async fn follow(store: Arc<dyn Store>, caches: Arc<Caches>) {
    let mut wait = BACKOFF_MIN;
    let mut listed = false;
    loop {
        let before = caches.progress();
        let outcome = async {
            if !listed {
                list(&*store, &caches).await?;
                listed = true;
            }
            watch(&*store, &caches).await
        };
        let Err(error) = outcome.await;
        caches.set_followed(false);
        if caches.progress() > before {
            wait = BACKOFF_MIN;
        }
        if error.is_compacted() {
            // What happened in between is gone: begin anew.
            listed = false;
        }
        tracing::warn!(%error, "cannot follow the store; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
}

/// Fills the caches with what there was at the oldest revision that the store can tell of, or, after a gap, with what there is.
async fn list(store: &dyn Store, caches: &Caches) -> Result<(), Error> {
    let status = store.status().await?;
    let first_time = caches.progress() == 0;
    let revision = if first_time { status.compacted.max(1) } else { status.revision };
    let mut listed: BTreeMap<String, Vec<Arc<KeyValue>>> = BTreeMap::new();
    let mut after = None;
    // A store that was never compacted was empty at its first revision.
    let mut more = !first_time || status.compacted > 0;
    while more {
        let mut range = Range::new(KeyRange::Prefix(layout::ROOT.into())).at(revision).limit(PAGE);
        range.after = after;
        let page = store.range(range).await?;
        after = page.kvs.last().map(|kv| kv.key.clone());
        more = page.more;
        for kv in page.kvs {
            if let Some((path, _)) = layout::split(&kv.key) {
                match listed.get_mut(path) {
                    Some(kvs) => kvs.push(kv),
                    None => drop(listed.insert(path.to_owned(), vec![kv])),
                }
            }
        }
    }
    for (path, cache) in caches.all() {
        let kvs = listed.get(&*path).map(Vec::as_slice).unwrap_or_default();
        cache.reset(revision, kvs.iter().map(|kv| KeyValue::clone(kv)));
        cache.notify();
    }
    caches.advance(revision);
    Ok(())
}

/// Takes over change by change until the store fails.
async fn watch(store: &dyn Store, caches: &Caches) -> Result<std::convert::Infallible, Error> {
    let request = WatchRequest::prefix(layout::ROOT).from(caches.progress() + 1).with_progress();
    let mut watch = store.watch(request).await?;
    caches.set_followed(true);
    loop {
        let first = next(&mut watch, caches).await?;
        let mut group = Group { caches, touched: BTreeMap::new(), changed: caches.changed(), revision: 0 };
        group.take(first);
        for _ in 1..GROUP_MAX {
            match watch.next().now_or_never() {
                Some(Some(Ok(watched))) => group.take(watched),
                Some(Some(Err(error))) => {
                    group.publish();
                    return Err(error);
                }
                Some(None) | None => break,
            }
        }
        group.publish();
    }
}

async fn next(watch: &mut Watch, caches: &Caches) -> Result<Watched, Error> {
    loop {
        tokio::select! {
            biased;
            watched = watch.next() => {
                let ended = || Error::Unavailable { reason: "the watch has ended".into() };
                return watched.unwrap_or_else(|| Err(ended()));
            }
            () = caches.wanted.notified() => watch.request_progress(),
        }
    }
}

/// Revisions that are published together: watchers and readers are woken once for all.
struct Group<'a> {
    caches: &'a Caches,
    touched: BTreeMap<Box<str>, Vec<Arc<ResourceCache>>>,
    /// How often caches had been added or taken out when these were touched.
    changed: u64,
    revision: Revision,
}

impl Group<'_> {
    fn take(&mut self, watched: Watched) {
        match watched {
            Watched::Batch(batch) => {
                self.apply(&batch);
                self.revision = batch.revision;
            }
            Watched::Progress(revision) => self.revision = revision.max(self.revision),
            // What a later store may tell besides is no change.
            _ => {}
        }
    }

    fn apply(&mut self, batch: &EventBatch) {
        // Keys are in order, so that the changes of one resource stand together.
        let mut changes: Vec<(&str, &KeyValue)> = Vec::with_capacity(batch.events.len());
        let mut current = "";
        for event in batch.events.iter() {
            let Some((path, object)) = layout::split(&event.kv.key) else {
                continue;
            };
            if current != path {
                self.hand_over(current, batch.revision, &mut changes);
                current = path;
            }
            changes.push((object, &event.kv));
        }
        self.hand_over(current, batch.revision, &mut changes);
    }

    /// Hands changes to the caches of a resource. What is stored for one that this server does not have is not its business.
    fn hand_over(&mut self, path: &str, revision: Revision, changes: &mut Vec<(&str, &KeyValue)>) {
        if !changes.is_empty() {
            for cache in self.caches_at(path) {
                cache.apply(revision, changes.iter().copied());
            }
            changes.clear();
        }
    }

    fn caches_at(&mut self, path: &str) -> &[Arc<ResourceCache>] {
        let changed = self.caches.changed();
        if changed != self.changed {
            for cache in self.touched.values().flatten() {
                cache.notify();
            }
            self.touched.clear();
            self.changed = changed;
        }
        if !self.touched.contains_key(path) {
            self.touched.insert(path.into(), self.caches.at(path));
        }
        &self.touched[path]
    }

    fn publish(self) {
        self.caches.advance(self.revision);
        for cache in self.touched.values().flatten() {
            cache.notify();
        }
    }
}
