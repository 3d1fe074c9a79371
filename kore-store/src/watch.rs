//! Watching: what changed, in order, one revision at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use crate::{KeyRange, KeyValue, Result, Revision};

/// What to watch: which keys, from which revision on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// The first revision to tell about; 0: the next one to come.
    pub from: Revision,
    /// Tell what a key held before each change.
    pub previous: bool,
    /// Tell progress unasked, whenever the watch has passed revisions that had nothing for it.
    pub progress: bool,
    /// Tell of keys that were written. Default: true.
    pub puts: bool,
    /// Tell of keys that were deleted. Default: true.
    pub deletions: bool,
}

impl WatchRequest {
    /// These keys, from the next revision on.
    pub fn new(keys: KeyRange) -> WatchRequest {
        WatchRequest { keys, from: 0, previous: false, progress: false, puts: true, deletions: true }
    }

    /// One key.
    pub fn key(key: impl Into<Bytes>) -> WatchRequest {
        WatchRequest::new(KeyRange::Key(key.into()))
    }

    /// Every key that begins so.
    pub fn prefix(prefix: impl Into<Bytes>) -> WatchRequest {
        WatchRequest::new(KeyRange::Prefix(prefix.into()))
    }

    /// From this revision on, which may be past, current or to come; 0: the next one to come. Who has listed at `r`
    /// watches from `r + 1`, which works also when the store has been compacted at `r`; from the compacted revision itself, a watch
    /// is told everything or refused.
    #[must_use]
    pub fn from(mut self, revision: Revision) -> WatchRequest {
        self.from = revision;
        self
    }

    /// Tell what a key held before each change.
    #[must_use]
    pub fn with_previous(mut self) -> WatchRequest {
        self.previous = true;
        self
    }

    /// Tell progress unasked, whenever the watch has passed revisions that had nothing for it.
    #[must_use]
    pub fn with_progress(mut self) -> WatchRequest {
        self.progress = true;
        self
    }

    /// Do not tell of keys that were written, only of those that were deleted.
    #[must_use]
    pub fn without_puts(mut self) -> WatchRequest {
        self.puts = false;
        self
    }

    /// Do not tell of keys that were deleted, only of those that were written.
    #[must_use]
    pub fn without_deletions(mut self) -> WatchRequest {
        self.deletions = false;
        self
    }

    /// True when this is to be told.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        let kind = if event.is_deletion() { self.deletions } else { self.puts };
        kind && self.keys.contains(&event.kv.key)
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Watched {
    /// What one revision changed among the watched keys: all of it.
    Batch(EventBatch),
    /// Everything up to and including this revision has been told.
    Progress(Revision),
}

/// What one revision changed among the watched keys. Shared: a clone costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventBatch {
    /// The revision.
    pub revision: Revision,
    /// The changes, each key at most once, in the order of the keys; never empty.
    pub events: Arc<[Event]>,
}

impl EventBatch {
    /// These changes, all made by this revision.
    pub fn new(revision: Revision, events: impl Into<Arc<[Event]>>) -> EventBatch {
        EventBatch { revision, events: events.into() }
    }

    /// The part of it that a watch asked for.
    #[inline]
    pub(crate) fn wanted(&self, request: &WatchRequest) -> Option<EventBatch> {
        let wanted = |event: &&Event| request.wants(event);
        match self.events.iter().filter(wanted).count() {
            0 => None,
            all if all == self.events.len() => Some(self.clone()),
            _ => {
                let events: Arc<[Event]> = self.events.iter().filter(wanted).cloned().collect();
                Some(EventBatch::new(self.revision, events))
            }
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What the key holds now; for a deletion, the mark that it leaves.
    pub kv: Arc<KeyValue>,
    /// What the key held before, if it existed. Always there for a watch that asked for it, unless the change was made by
    /// the very revision at which the store was compacted; may be there for one that did not ask.
    pub previous: Option<Arc<KeyValue>>,
}

impl Event {
    /// A key was written, or deleted when `kv` is the mark of a deletion.
    pub fn new(kv: Arc<KeyValue>, previous: Option<Arc<KeyValue>>) -> Event {
        Event { kv, previous }
    }

    /// True when the key was deleted.
    pub fn is_deletion(&self) -> bool {
        self.kv.is_deletion()
    }

    /// True when the key did not exist before.
    pub fn is_creation(&self) -> bool {
        self.kv.version == 1
    }
}

/// What stands behind a [`Watch`]. A store's own watches implement it, and so do wrappers that change one on its way:
///
/// ```
/// use std::pin::Pin;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::task::{Context, Poll};
///
/// use futures::{Stream, StreamExt};
/// use kore_store::{Result, Watch, WatchSource, Watched};
///
/// /// Counts what a watch tells.
/// struct Counted {
///     watch: Watch,
///     told: Arc<AtomicU64>,
/// }
///
/// impl Stream for Counted {
///     type Item = Result<Watched>;
///     fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Watched>>> {
///         let told = self.watch.poll_next_unpin(context);
///         if told.is_ready() {
///             self.told.fetch_add(1, Ordering::Relaxed);
///         }
///         told
///     }
/// }
///
/// impl WatchSource for Counted {
///     fn request_progress(mut self: Pin<&mut Self>) {
///         self.watch.request_progress();
///     }
/// }
///
/// fn counted(watch: Watch, told: Arc<AtomicU64>) -> Watch {
///     Watch::new(Counted { watch, told })
/// }
/// ```
pub trait WatchSource: Stream<Item = Result<Watched>> + Send {
    /// Asks for one [`Watched::Progress`], of at least the revision that is current now, as soon as everything up to it has been
    /// told.
    fn request_progress(self: Pin<&mut Self>);
}

/// A stream of what changed, in order and without gaps. Dropping it ends the watch.
///
/// - Batches come in the order of their revisions, each revision at most once and never split.
/// - After `Progress(r)` nothing with a revision up to `r` comes.
/// - Whoever reads slowly is told everything, later; the store does not wait. Who falls behind the compacted revision is
///   told [`Error::Compacted`](crate::Error::Compacted); not who waits for more, and has been told everything until then.
/// - An error is the last item.
#[must_use = "a watch does nothing unless it is polled"]
pub struct Watch {
    source: Pin<Box<dyn WatchSource>>,
}

impl Watch {
    /// A watch over this source.
    pub fn new(source: impl WatchSource + 'static) -> Watch {
        Watch { source: Box::pin(source) }
    }

    /// Asks for one [`Watched::Progress`], of at least the revision that is current now, as soon as everything up to it has been
    /// told; also while more keeps coming. Asked again before it has answered, it may answer both at once, or one after the other.
    pub fn request_progress(&mut self) {
        self.source.as_mut().request_progress();
    }
}

impl Stream for Watch {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.source.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
