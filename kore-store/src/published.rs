//! What readers and watchers see: the index and the log as of the last durable revision.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::index::{Deadlines, Index, Log};
use crate::{
    Error, EventBatch, KeyRange, Lease, LeaseId, Limits, Range, Ranged, Result, Revision, Status, Watch, WatchRequest,
    WatchSource, Watched,
};

/// Batches a watcher takes from the log at a time, so that it seldom needs the lock and a stalled one keeps little alive.
const READ_AHEAD: usize = 16;

/// Batches swept out at a time, so that a compaction does not keep others waiting.
pub(crate) const SWEEP: usize = 512;

/// Shared by the store's handles, its writer and its watchers.
pub(crate) struct Published {
    view: RwLock<View>,
    /// Says that there is something new to see; what, is in the view.
    changed: watch::Sender<()>,
}

/// What is to be seen.
pub(crate) struct View {
    pub(crate) index: Index,
    pub(crate) log: Log,
    /// Why there is nothing to be seen any more.
    pub(crate) failed: Option<Error>,
}

impl View {
    /// Drops some of what nobody can read any more; true while there is more.
    pub(crate) fn sweep(&mut self, limit: usize) -> bool {
        let compacted = self.index.compacted;
        let stale = self.log.stale(compacted, limit);
        self.index.sweep(&stale.keys);
        self.log.take(stale.batches);
        !self.log.is_swept(compacted)
    }
}

/// For stores in which nobody waits for leases to end: a watcher that waits does.
pub(crate) trait Expire: Send + Sync {
    /// Ends the leases that are due, and tells how long until the next.
    fn expire(&self) -> Option<Duration>;
}

impl Published {
    pub(crate) fn new(index: Index) -> Published {
        let log = Log::of(&index);
        Published { view: RwLock::new(View { index, log, failed: None }), changed: watch::Sender::new(()) }
    }

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

    /// Wakes whoever waits for something new.
    pub(crate) fn notify(&self) {
        self.changed.send_replace(());
    }

    pub(crate) fn range(&self, request: &Range) -> Result<Ranged> {
        let view = self.read()?;
        if let KeyRange::Key(_) = request.keys {
            return view.index.range(request);
        }
        // A long read works on a snapshot and keeps nobody waiting.
        let snapshot = view.index.clone();
        drop(view);
        snapshot.range(request)
    }

    pub(crate) fn status(&self, limits: &Limits) -> Result<Status> {
        let view = self.read()?;
        Ok(Status {
            revision: view.index.revision,
            compacted: view.index.compacted,
            bytes: view.index.bytes,
            quota_bytes: limits.quota_bytes,
            keys: view.index.live,
        })
    }

    /// Lets a lease live for its full time again.
    pub(crate) fn keep_alive(&self, deadlines: &mut Deadlines, id: LeaseId, now: Timestamp) -> Result<Lease> {
        let lease = self.lease(deadlines, id, now)?;
        deadlines.set(id, lease.ttl, now);
        Ok(Lease::fresh(id, lease.ttl))
    }

    /// A lease that is there and has not ended.
    pub(crate) fn lease(&self, deadlines: &Deadlines, id: LeaseId, now: Timestamp) -> Result<Lease> {
        let view = self.read()?;
        match (view.index.leases.get(&id), deadlines.remaining(id, now)) {
            (Some(attached), Some(remaining)) => Ok(attached.describe(id).remaining(remaining)),
            _ => Err(Error::LeaseNotFound { id }),
        }
    }

    pub(crate) fn leases(&self) -> Result<Vec<LeaseId>> {
        Ok(self.read()?.index.leases.keys().copied().collect())
    }

    /// From now on every call fails with this error; a first one stays.
    pub(crate) fn fail(&self, error: Error) {
        self.write().failed.get_or_insert(error);
        self.notify();
    }

    pub(crate) fn watch(self: &Arc<Self>, request: WatchRequest, expire: Option<Arc<dyn Expire>>) -> Result<Watch> {
        let changed = self.changed.subscribe();
        let view = self.read()?;
        let next = match request.from {
            0 => view.index.revision + 1,
            from if from < view.index.compacted => {
                return Err(Error::Compacted { requested: from, at: view.index.compacted });
            }
            from => from,
        };
        drop(view);
        let asked = Arc::new(Asked::default());
        let cursor = Cursor {
            published: self.clone(),
            changed,
            expire,
            request,
            asked: asked.clone(),
            next,
            told: next - 1,
            ahead: VecDeque::new(),
        };
        let stream = Box::pin(futures::stream::unfold(Some(cursor), tell));
        Ok(Watch::new(CursorWatch { stream, asked }))
    }
}

/// A watcher: a place in the log. It holds up nobody, and nothing is kept for it.
struct Cursor {
    published: Arc<Published>,
    changed: watch::Receiver<()>,
    expire: Option<Arc<dyn Expire>>,
    request: WatchRequest,
    asked: Arc<Asked>,
    /// The revision to go on from.
    next: Revision,
    /// The revision up to which the watcher knows that it has been told everything.
    told: Revision,
    /// What has been read and not been told yet.
    ahead: VecDeque<EventBatch>,
}

/// The next item, and the cursor behind it; none after an error.
async fn tell(cursor: Option<Cursor>) -> Option<(Result<Watched>, Option<Cursor>)> {
    let mut cursor = cursor?;
    match cursor.next().await {
        Ok(watched) => Some((Ok(watched), Some(cursor))),
        Err(error) => Some((Err(error), None)),
    }
}

impl Cursor {
    async fn next(&mut self) -> Result<Watched> {
        loop {
            if let Some(batch) = self.ahead.pop_front() {
                self.told = batch.revision;
                return Ok(Watched::Batch(batch));
            }
            let until = self.expire.as_ref().and_then(|expire| expire.expire());
            // Marked before the look: what comes between the look and the wait ends the wait at once.
            self.changed.mark_unchanged();
            let found = {
                let view = self.published.read()?;
                let compacted = view.index.compacted;
                view.log.read(self.next, &self.request, READ_AHEAD, compacted)?
            };
            self.next = found.next;
            self.ahead.extend(found.batches);
            let Some(end) = found.caught_up.filter(|_| self.ahead.is_empty()) else {
                continue;
            };
            // A watch that begins in the future has not seen the future.
            let seen = self.next.min(end) - 1;
            let asked = self.asked.progress.swap(false, Ordering::Relaxed);
            if asked || self.request.progress && seen > self.told {
                self.told = seen;
                return Ok(Watched::Progress(seen));
            }
            self.wait(until).await;
        }
    }

    /// Waits until there may be something to tell.
    async fn wait(&mut self, until: Option<Duration>) {
        tokio::select! {
            biased;
            () = self.asked.now.notified() => {}
            // The sender lives as long as `published` does.
            _ = self.changed.changed() => {}
            () = tokio::time::sleep(until.unwrap_or_default()), if until.is_some() => {}
        }
    }
}

/// Whether somebody asked for progress.
#[derive(Default)]
struct Asked {
    progress: AtomicBool,
    /// Ends a wait that has begun before.
    now: Notify,
}

struct CursorWatch {
    stream: BoxStream<'static, Result<Watched>>,
    asked: Arc<Asked>,
}

impl Stream for CursorWatch {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}

impl WatchSource for CursorWatch {
    fn request_progress(self: Pin<&mut Self>) {
        self.asked.progress.store(true, Ordering::Relaxed);
        self.asked.now.notify_one();
    }
}
