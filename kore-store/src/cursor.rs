//! A watcher of a store in this process: a place in the log. It holds up nobody, and a few batches at most are kept for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::time::{Instant, Sleep};

use crate::published::Published;
use crate::waiters::Place;
use crate::{Error, EventBatch, Result, Revision, Watch, WatchRequest, WatchSource, Watched};

/// Batches a watcher takes from the log at a time, so that it seldom needs the lock and a stalled one keeps little alive.
const READ_AHEAD: usize = 16;

/// For stores in which nobody waits for leases to end: a watcher that waits does.
pub(crate) trait Expire: Send + Sync {
    /// Ends the leases that are due, and tells when the next one is.
    fn expire(&self) -> Option<Instant>;
}

impl Published {
    pub(crate) fn watch(self: &Arc<Self>, request: WatchRequest, expire: Option<Arc<dyn Expire>>) -> Result<Watch> {
        let view = self.read()?;
        let (current, compacted) = (view.shown.revision, view.shown.compacted);
        drop(view);
        let next = match request.from {
            0 => current + 1,
            from if from < compacted => return Err(Error::Compacted { requested: from, at: compacted }),
            from => from,
        };
        Ok(Watch::new(Cursor {
            published: self.clone(),
            place: Arc::default(),
            request,
            waits: false,
            asked: None,
            ended: false,
            next,
            // A watch that begins in the future has not seen the future.
            told: current.min(next - 1),
            ahead: VecDeque::new(),
            expire: expire.map(|expire| Expiring { expire, until: None }),
        }))
    }
}

struct Cursor {
    published: Arc<Published>,
    place: Arc<Place>,
    request: WatchRequest,
    /// It has been told everything, and waits.
    waits: bool,
    /// Somebody asked for progress, when this was the current revision.
    asked: Option<Revision>,
    /// It has told an error.
    ended: bool,
    /// The revision to go on from.
    next: Revision,
    /// The revision up to which the watcher knows that it has been told everything.
    told: Revision,
    /// What has been read and not been told yet.
    ahead: VecDeque<EventBatch>,
    expire: Option<Expiring>,
}

struct Expiring {
    expire: Arc<dyn Expire>,
    until: Option<Pin<Box<Sleep>>>,
}

impl Expiring {
    /// Ends the leases that are due, and sees to it that the next one is looked after.
    fn poll(&mut self, context: &mut Context<'_>) {
        while let Some(end) = self.expire.expire() {
            let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
            if until.deadline() != end {
                until.as_mut().reset(end);
            }
            if until.as_mut().poll(context).is_pending() {
                return;
            }
        }
    }
}

impl Cursor {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Result<Watched>> {
        loop {
            if self.asked.is_some_and(|asked| asked <= self.told) {
                return self.progress(self.told);
            }
            if let Some(batch) = self.ahead.pop_front() {
                self.told = batch.revision;
                return Poll::Ready(Ok(Watched::Batch(batch)));
            }
            if let Some(expire) = &mut self.expire {
                expire.poll(context);
            }
            if self.waits && self.place.found().is_none() {
                self.place.waker.register(context.waker());
                if self.place.found().is_none() {
                    match self.asked.map(|_| self.published.waiters.told(&self.place)) {
                        None => return Poll::Pending,
                        Some(Some(told)) => return self.progress(told),
                        Some(None) => {}
                    }
                }
            }
            if let Some(found) = self.place.found().filter(|_| self.waits) {
                self.waits = false;
                self.next = self.next.max(found);
            }
            let end = match self.read() {
                Ok(end) => end,
                Err(error) => return Poll::Ready(Err(error)),
            };
            if !self.ahead.is_empty() {
                continue;
            }
            let Some(end) = end else {
                // There is much that is not for it: others get in between.
                context.waker().wake_by_ref();
                return Poll::Pending;
            };
            let seen = self.next.min(end) - 1;
            if self.asked.is_some() || self.request.progress && seen > self.told {
                return self.progress(seen);
            }
            self.place.waker.register(context.waker());
            self.waits = self.published.waiters.wait(&self.place, &self.request, end);
            // Where leases end by whoever waits, one that was granted in the meantime is looked at once more.
            if self.waits && self.expire.is_none() {
                return Poll::Pending;
            }
        }
    }

    fn progress(&mut self, seen: Revision) -> Poll<Result<Watched>> {
        self.asked = None;
        self.told = seen;
        Poll::Ready(Ok(Watched::Progress(seen)))
    }

    /// Looks at the log. Answers with its end, when it has been there.
    fn read(&mut self) -> Result<Option<Revision>> {
        let view = self.published.read()?;
        if self.next < view.shown.compacted {
            return Err(Error::Compacted { requested: self.next, at: view.shown.compacted });
        }
        let (next, ended) = view.log.read(self.next, &self.request, READ_AHEAD, &mut self.ahead);
        self.next = next;
        Ok(ended.then(|| view.log.end()))
    }
}

impl Stream for Cursor {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let told = std::task::ready!(self.next(context));
        self.ended = told.is_err();
        Poll::Ready(Some(told))
    }
}

impl WatchSource for Cursor {
    fn request_progress(mut self: Pin<&mut Self>) {
        let current = self.published.read().map(|view| view.shown.revision);
        // A store that has failed tells that.
        self.asked = Some(current.unwrap_or(Revision::MAX));
        // It may be waited for already.
        self.place.waker.wake();
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if self.waits {
            self.published.waiters.leave(&self.place);
        }
    }
}
