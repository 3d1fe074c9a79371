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
            joined: false,
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
    /// Its place is among the others'.
    joined: bool,
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
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Watched>>> {
        loop {
            if self.asked.is_some_and(|asked| asked <= self.told) {
                return self.progress(self.told);
            }
            if let Some(batch) = self.ahead.pop_front() {
                return self.tell(batch);
            }
            if self.is_found(context) {
                let come = self.published.waiters.told();
                if self.next <= come {
                    match self.read() {
                        Err(error) => {
                            self.ended = true;
                            return Poll::Ready(Some(Err(error)));
                        }
                        Ok(Some(batch)) => return self.tell(batch),
                        Ok(None) if self.next <= come => {
                            // There is much that is not for it: others get in between.
                            context.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        Ok(None) => {}
                    }
                }
                let seen = come.min(self.next - 1);
                if self.asked.is_some() || self.request.progress && seen > self.told {
                    return self.progress(seen);
                }
            }
            if self.wait(context) {
                match self.asked.map(|_| self.published.waiters.told_to(&self.place)) {
                    None => return Poll::Pending,
                    Some(Some(told)) => return self.progress(told),
                    Some(None) => {}
                }
            }
        }
    }

    /// Whether there can be something in the log for it.
    fn is_found(&mut self, context: &Context<'_>) -> bool {
        if self.waits {
            let come = self.published.waiters.told();
            // A look at so little costs no more than a look at its place.
            let is_near = (self.next..self.next.saturating_add(READ_AHEAD as u64)).contains(&come);
            let found = if is_near { Some(self.next) } else { self.place.found(context) };
            self.waits = found.is_none();
            self.next = self.next.max(found.unwrap_or_default());
        }
        !self.waits
    }

    /// There is nothing for it; false: there is by now.
    fn wait(&mut self, context: &mut Context<'_>) -> bool {
        let waiters = &self.published.waiters;
        if !self.joined {
            waiters.join(&self.place, &self.request);
            self.joined = true;
        }
        if !self.waits {
            self.waits = waiters.wait(&self.place, self.next, context);
        }
        // Since it is woken from now on, it misses none that is granted meanwhile, nor what this ends.
        if let Some(expire) = &mut self.expire {
            expire.poll(context);
        }
        self.waits
    }

    fn tell(&mut self, batch: EventBatch) -> Poll<Option<Result<Watched>>> {
        self.told = batch.revision;
        Poll::Ready(Some(Ok(Watched::Batch(batch))))
    }

    fn progress(&mut self, seen: Revision) -> Poll<Option<Result<Watched>>> {
        self.asked = None;
        self.told = seen;
        Poll::Ready(Some(Ok(Watched::Progress(seen))))
    }

    /// Looks at the log. Answers with the next that is to be told; what it read after that is kept.
    fn read(&mut self) -> Result<Option<EventBatch>> {
        let view = self.published.read()?;
        if self.next < view.shown.compacted {
            return Err(Error::Compacted { requested: self.next, at: view.shown.compacted });
        }
        let mut batches = view.log.read(&mut self.next, &self.request);
        let first = batches.next();
        self.ahead.extend(batches.take(READ_AHEAD - 1));
        Ok(first)
    }
}

impl Stream for Cursor {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.next(context)
    }
}

impl WatchSource for Cursor {
    fn request_progress(mut self: Pin<&mut Self>) {
        let current = self.published.read().map(|view| view.shown.revision);
        // A store that has failed tells that.
        self.asked = Some(current.unwrap_or(Revision::MAX));
        // It may be waited for already.
        self.place.wake();
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if self.joined {
            self.published.waiters.leave(&self.place);
        }
    }
}
