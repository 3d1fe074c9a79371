//! One watch: a cursor into a resource's window of changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kore_store::Revision;
use tokio::time::Instant;

use super::resource::{CacheEvent, Forgotten, entries};
use super::{Caches, Filter, ResourceCache, Snapshot};
use crate::error::{Error, Reason, Status};
use crate::object::ObjectKey;
use crate::request::{WatchEvent, WatchStream};

/// How many changes a watcher takes at a time: what a slow one holds of the past.
const READ_AHEAD: usize = 64;
/// A watcher that lets itself be told is told where it is this often, even if nothing happens.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watcher that has passed changes that were not for it is told where it is after so long.
const BOOKMARK_SOON: Duration = Duration::from_millis(50);

/// Where a watch starts.
pub(crate) enum Start {
    /// With the changes after this revision.
    After(Revision),
    /// With all objects there are, as additions; then, if asked for, a bookmark that says so.
    Objects {
        /// Whether the bookmark is wanted.
        bookmark: bool,
    },
}

/// One watch. Reads at its own pace: it holds up nobody, and nothing is kept for it. One that is so slow that the window has
/// moved on is told that its revision has expired.
pub(crate) struct Watcher {
    caches: Arc<Caches>,
    cache: Arc<ResourceCache>,
    filter: Filter,
    /// How many changes there had been at the last look.
    seen: u64,
    /// The number of the next change to look at.
    number: u64,
    initial: Option<Initial>,
    ready: VecDeque<WatchEvent>,
    /// Up to where the client knows that it has been told everything.
    told: Revision,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Option<Instant>,
    ended: bool,
}

struct Initial {
    objects: Snapshot,
    after: Option<ObjectKey>,
    revision: Revision,
    bookmark: bool,
}

impl From<Forgotten> for Status {
    fn from(Forgotten(floor): Forgotten) -> Self {
        Self::new(Reason::Expired, format!("too old resource version: the oldest known is {floor}"))
    }
}

impl Watcher {
    /// A watch of what `filter` takes.
    ///
    /// # Errors
    /// Expired, when the window no longer reaches back to the start.
    pub(crate) fn new(
        caches: Arc<Caches>,
        cache: Arc<ResourceCache>,
        filter: Filter,
        start: Start,
        bookmarks: bool,
        timeout: Option<Duration>,
    ) -> Result<Self, Status> {
        let seen = cache.changes().get();
        let progress = caches.progress();
        let (number, initial, told) = match start {
            Start::After(revision) => {
                let expired = |Forgotten(floor)| {
                    Status::new(Reason::Expired, format!("too old resource version: {revision} ({floor})"))
                };
                (cache.number_after(revision).map_err(expired)?, None, revision)
            }
            Start::Objects { bookmark } => {
                let (objects, number, changed) = cache.snapshot();
                let revision = progress.max(changed);
                (number, Some(Initial { objects, after: None, revision, bookmark }), 0)
            }
        };
        let now = Instant::now();
        Ok(Self {
            caches,
            cache,
            filter,
            seen,
            number,
            initial,
            ready: VecDeque::new(),
            told,
            bookmarks,
            next_bookmark: now + BOOKMARK_EVERY,
            // One that is too far away to be a time is none.
            deadline: timeout.and_then(|timeout| now.checked_add(timeout)),
            ended: false,
        })
    }

    /// The changes as a stream; it ends at the deadline, after an error, when the resource is defined anew, or when the server
    /// stops.
    pub(crate) fn into_stream(self) -> WatchStream {
        futures::stream::unfold(self, |mut watcher| async move {
            let event = watcher.next().await?;
            watcher.ended |= event.is_err();
            Some((event, watcher))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.note_told(&event);
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            if self.fill_initial() {
                continue;
            }
            // Both marked before the look: what comes between the look and the wait ends the wait at once, and everything up to
            // this revision is in the window by now.
            self.seen = self.cache.changes().get();
            let progress = self.caches.progress();
            match self.cache.events(self.number, READ_AHEAD) {
                Err(forgotten) => return Some(Err(Status::from(forgotten).into())),
                Ok(events) if !events.is_empty() => {
                    self.take(&events);
                    continue;
                }
                Ok(_) => {}
            }
            let now = Instant::now();
            self.ended = self.deadline.is_some_and(|deadline| deadline <= now)
                || self.caches.check_running().is_err()
                || self.cache.is_closed();
            if self.bookmarks && progress > self.told && (self.ended || self.next_bookmark <= now) {
                self.ready.push_back(WatchEvent::Bookmark { revision: progress, initial_events_end: false });
            } else if !self.ended {
                self.wait(now).await;
            }
        }
    }

    async fn wait(&mut self, now: Instant) {
        if self.next_bookmark <= now {
            // Nothing to tell.
            self.next_bookmark = now + BOOKMARK_EVERY;
        }
        let bookmark = self.bookmarks.then_some(self.next_bookmark);
        let until = [bookmark, self.deadline].into_iter().flatten().min();
        let alarm = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cache.changes().reach(self.seen + 1) => {}
            _ = self.caches.until_stopped() => {}
            () = alarm => {}
        }
    }

    /// Gets some of the objects that the watch starts with ready; false when there are none left.
    fn fill_initial(&mut self) -> bool {
        let Some(initial) = &mut self.initial else {
            return false;
        };
        let mut seen = 0;
        for entry in entries(&initial.objects, self.filter.namespace(), initial.after.as_ref()).take(READ_AHEAD) {
            seen += 1;
            if self.filter.matches(entry) {
                self.ready.push_back(WatchEvent::Added(entry.object.clone()));
            }
            initial.after = Some(entry.object.key().clone());
        }
        if seen < READ_AHEAD {
            self.told = initial.revision;
            if initial.bookmark {
                let revision = initial.revision;
                self.ready.push_back(WatchEvent::Bookmark { revision, initial_events_end: true });
            }
            self.initial = None;
        }
        true
    }

    fn take(&mut self, events: &[Arc<CacheEvent>]) {
        self.number += events.len() as u64;
        let mut last_told = false;
        for event in events {
            let told = self.told_of(event);
            last_told = told.is_some();
            self.ready.extend(told);
        }
        if !last_told {
            self.next_bookmark = self.next_bookmark.min(Instant::now() + BOOKMARK_SOON);
        }
    }

    /// What a change is to this watch: objects that come to match are new to it, those that cease to are gone.
    fn told_of(&self, event: &CacheEvent) -> Option<WatchEvent> {
        let before = event.before.as_ref().filter(|entry| self.filter.matches(entry));
        let after = event.after.as_ref().filter(|entry| self.filter.matches(entry));
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(WatchEvent::Added(after.object.clone())),
            (Some(_), Some(after)) => Some(WatchEvent::Modified(after.object.clone())),
            (Some(_), None) => event.departed().cloned().map(WatchEvent::Deleted),
        }
    }

    fn note_told(&mut self, event: &WatchEvent) {
        let revision = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => object.revision(),
            WatchEvent::Bookmark { revision, .. } => {
                self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                *revision
            }
        };
        self.told = self.told.max(revision);
    }
}
