//! What readers and watchers see: the index and the log, up to the last durable revision.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::durable::checkpoint::Blocks;
use crate::index::{Deadlines, Index, Log, Path, Scan, Shown, Step, readable};
use crate::waiters::{Waiters, Woken};
use crate::{
    Error, EventBatch, KeyValue, Lease, LeaseId, Limits, OpResponse, Range, Ranged, Result, Revision, Snapshot, Status,
    Txn, TxnResponse,
};

/// Batches swept out at a time, so that a compaction keeps others waiting for an instant only; longer, where one of them
/// wrote very many keys.
pub(crate) const SWEEP: usize = 128;

/// Keys of a walk's stretch.
const STRETCH: usize = 512;

/// Shared by the store's handles, its writer and its watchers.
pub(crate) struct Published {
    view: RwLock<View>,
    /// Revisions that somebody is reading at, and how many are: what can be read there is not swept out. Locked after the
    /// view, never before.
    pins: Mutex<BTreeMap<Revision, usize>>,
    /// Says that there is one pin less.
    pub(crate) unpinned: Notify,
    pub(crate) waiters: Waiters,
}

/// What is to be seen.
pub(crate) struct View {
    pub(crate) index: Index,
    pub(crate) shown: Shown,
    pub(crate) log: Log,
    /// Why there is nothing to be seen any more.
    failed: Option<Error>,
}

impl View {
    /// Answers with what was shown before.
    fn show(&mut self, shown: Shown, batches: &[EventBatch]) -> Shown {
        for batch in batches {
            self.log.push(batch.clone());
        }
        std::mem::replace(&mut self.shown, shown)
    }
}

impl Published {
    /// None: the index is not one that a store leads to, see [`Log::of`].
    pub(crate) fn new(index: Index) -> Option<Published> {
        let (log, shown) = (Log::of(&index)?, index.shown());
        Some(Published {
            pins: Mutex::default(),
            unpinned: Notify::new(),
            waiters: Waiters::new(shown.revision),
            view: RwLock::new(View { index, shown, log, failed: None }),
        })
    }

    #[inline]
    pub(crate) fn read(&self) -> Result<RwLockReadGuard<'_, View>> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        match &view.failed {
            Some(error) => Err(error.clone()),
            None => Ok(view),
        }
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows readers and watchers everything up to here; `batches` are what has come.
    pub(crate) fn show(&self, shown: Shown, batches: Vec<EventBatch>) {
        let mut view = self.write();
        let before = view.show(shown, &batches);
        // Under the lock: whoever sees a revision finds that those who wait have been told of it.
        let woken = self.waiters.tell(&batches);
        drop(view);
        drop(before);
        woken.wake();
    }

    /// Changes the index, and shows the change at once.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Index) -> Result<(T, Option<EventBatch>)>) -> Result<T> {
        let (answer, woken) = self.change_unheard(change)?;
        woken.wake();
        Ok(answer)
    }

    /// Changes the index, and shows the change; those who waited for it are still to be woken.
    pub(crate) fn change_unheard<T>(
        &self,
        change: impl FnOnce(&mut Index) -> Result<(T, Option<EventBatch>)>,
    ) -> Result<(T, Woken)> {
        let mut view = self.write();
        let (answer, batch) = change(&mut view.index)?;
        let (shown, batch) = (view.index.shown(), batch.as_slice());
        let before = view.show(shown, batch);
        let woken = self.waiters.tell(batch);
        drop(view);
        drop(before);
        Ok((answer, woken))
    }

    /// From now on every call fails with this error; a first one stays.
    pub(crate) fn fail(&self, error: Error) {
        self.write().failed.get_or_insert(error);
        self.waiters.close();
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Arc<KeyValue>>> {
        let view = self.read()?;
        Ok(view.index.get(key, view.shown.revision).cloned())
    }

    pub(crate) fn range(self: &Arc<Self>, request: &Range) -> Result<Ranged> {
        let view = self.read()?;
        let at = readable(request.revision, view.shown.revision, view.shown.compacted)?;
        let mut scan = Scan::new(request, at);
        if view.index.scan(&mut scan) {
            return Ok(scan.found);
        }
        // A long read goes on in stretches and keeps nobody waiting.
        let _pin = self.pin(at);
        drop(view);
        while !self.read()?.index.scan(&mut scan) {}
        Ok(scan.found)
    }

    /// Does a transaction that writes nothing.
    pub(crate) fn read_txn(self: &Arc<Self>, txn: Txn) -> Result<TxnResponse> {
        let view = self.read()?;
        let (at, compacted) = (view.shown.revision, view.shown.compacted);
        let path = view.index.path(txn, at);
        // What it reads is there until it has read it, whatever is compacted meanwhile.
        let _pin = self.pin(path.lowest(at, compacted)?);
        drop(view);
        self.follow(path, at)
    }

    fn follow(&self, path: Path, at: Revision) -> Result<TxnResponse> {
        let responses = path.steps.into_iter().map(|step| match step {
            Step::Range(range) => {
                let mut scan = Scan::new(&range, if range.revision == 0 { at } else { range.revision });
                while !self.read()?.index.scan(&mut scan) {}
                Ok(OpResponse::Range(scan.found))
            }
            Step::Txn(nested) => Ok(OpResponse::Txn(self.follow(nested, at)?)),
            Step::Put(_) | Step::Delete(_) => unreachable!("it writes nothing"),
        });
        Ok(TxnResponse::new(at, path.succeeded, responses.collect::<Result<_>>()?))
    }

    pub(crate) fn status(&self, limits: &Limits) -> Result<Status> {
        let view = self.read()?;
        Ok(Status {
            revision: view.shown.revision,
            compacted: view.shown.compacted,
            bytes: view.index.size.bytes,
            quota_bytes: limits.quota_bytes,
            keys: view.shown.live,
        })
    }

    /// Lets a lease live for its full time again.
    pub(crate) fn keep_alive(&self, deadlines: &mut Deadlines, id: LeaseId, now: Instant) -> Result<Lease> {
        let view = self.read()?;
        match (view.shown.leases.get(&id), deadlines.remaining(id, now)) {
            (Some(attached), Some(_)) => {
                let ttl = attached.ttl();
                deadlines.set(id, ttl, now);
                Ok(Lease::fresh(id, ttl))
            }
            _ => Err(Error::LeaseNotFound { id }),
        }
    }

    /// A lease that is there and has not ended.
    pub(crate) fn lease(&self, deadlines: &Deadlines, id: LeaseId, now: Instant) -> Result<Lease> {
        let view = self.read()?;
        match (view.shown.leases.get(&id), deadlines.remaining(id, now)) {
            (Some(attached), Some(remaining)) => Ok(attached.describe(id).remaining(remaining)),
            _ => Err(Error::LeaseNotFound { id }),
        }
    }

    pub(crate) fn leases(&self) -> Result<Vec<LeaseId>> {
        Ok(self.read()?.shown.leases.keys().copied().collect())
    }

    /// Whether a lease is to be seen, though its time may be over.
    pub(crate) fn shows_lease(&self, id: LeaseId) -> bool {
        self.read().is_ok_and(|view| view.shown.leases.contains_key(&id))
    }

    /// The oldest revision that somebody can read.
    fn floor(&self, view: &View) -> Revision {
        let pinned = self.pins().first_key_value().map(|(revision, _)| *revision);
        pinned.map_or(view.shown.compacted, |pinned| pinned.min(view.shown.compacted))
    }

    /// Whether there is something that nobody can read any more.
    pub(crate) fn has_stale(&self) -> bool {
        // A view that has failed is not swept any more.
        self.read().is_ok_and(|view| !view.log.is_swept(self.floor(&view)))
    }

    /// Drops some of what nobody can read any more; true while there is more.
    pub(crate) fn sweep(&self, limit: usize) -> bool {
        let mut guard = self.write();
        let floor = self.floor(&guard);
        let view = &mut *guard;
        let swept = view.index.sweep(&mut view.log, floor, limit);
        let more = !view.log.is_swept(floor);
        drop(guard);
        // Outside the lock: this may be much to take apart.
        drop(swept);
        more
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<Revision, usize>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what can be read at a revision. Called while the view is locked.
    fn pin(self: &Arc<Self>, at: Revision) -> Pin {
        *self.pins().entry(at).or_default() += 1;
        Pin { published: self.clone(), at }
    }

    /// What is shown now, as a checkpoint that no log comes before.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Result<Snapshot> {
        let walk = self.walk()?;
        let revision = walk.shown.revision;
        let blocks = Blocks::new(walk, 0).map(|block| Ok(block.into()));
        Ok(Snapshot::new(revision, futures::stream::iter(blocks)))
    }

    /// Goes through everything that is shown now.
    pub(crate) fn walk(self: &Arc<Self>) -> Result<Walk> {
        let view = self.read()?;
        let shown = view.shown.clone();
        let pin = self.pin(shown.compacted);
        Ok(Walk { shown, pin, reached: None, ended: false })
    }
}

/// Keeps what can be read at a revision, until it is dropped.
struct Pin {
    published: Arc<Published>,
    at: Revision,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.published.pins();
        if let Some(count) = pins.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.at);
            }
        }
        drop(pins);
        self.published.unpinned.notify_one();
    }
}

/// Goes through every version of every key that was to be seen at one moment, in stretches: writes go on meanwhile. What it has
/// not told yet is not swept out.
pub(crate) struct Walk {
    pub(crate) shown: Shown,
    pin: Pin,
    /// The stretch to come begins behind the key of this.
    reached: Option<Arc<KeyValue>>,
    ended: bool,
}

impl Iterator for Walk {
    /// Some keys, each with its versions, oldest first; those that no longer count are left out.
    type Item = Vec<Vec<Arc<KeyValue>>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let view = self.pin.published.view.read().unwrap_or_else(PoisonError::into_inner);
        let after = self.reached.take();
        let mut stretch = Vec::with_capacity(STRETCH);
        let mut looked_at = 0;
        for history in view.index.histories(after.as_ref().map(|kv| &kv.key[..])) {
            let versions = history.kept(self.shown.compacted, self.shown.revision);
            if !versions.is_empty() {
                stretch.push(versions);
            }
            looked_at += 1;
            if looked_at == STRETCH {
                self.reached = Some(history.newest().clone());
                break;
            }
        }
        self.ended = self.reached.is_none();
        Some(stretch)
    }
}
