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
            asked_again: None,
            ended: false,
            next,
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
    /// Somebody asked for progress, when this was the current revision; [`Revision::MAX`]: the store had failed.
    asked: Option<Revision>,
    /// And again, since then.
    asked_again: Option<Revision>,
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
            if let Some(answer) = self.look(context) {
                return answer;
            }
            if self.wait(context) {
                let waiters = &self.published.waiters;
                if self.asked.is_none() && !(self.request.progress && self.told < waiters.told()) {
                    return Poll::Pending;
                }
                if let Some(told) = waiters.told_to(&self.place) {
                    self.next = self.next.max(told + 1);
                    return self.progress(told);
                }
            }
        }
    }

    /// Looks at the log, if there can be something for it; None: there is nothing to tell.
    fn look(&mut self, context: &mut Context<'_>) -> Option<Poll<Option<Result<Watched>>>> {
        if !self.is_found(context) {
            return None;
        }
        let come = self.published.waiters.told();
        let mut read = if self.next <= come { self.read() } else { Ok(None) };
        if self.joined && read.as_ref().is_err_and(Error::is_compacted) {
            // Its place says whether there was anything for it.
            match self.place.found(context) {
                Some(found) => {
                    self.next = self.next.max(found);
                    read = self.read();
                }
                None => {
                    self.waits = true;
                    return None;
                }
            }
        }
        match read {
            Err(error) => {
                self.ended = true;
                return Some(Poll::Ready(Some(Err(error))));
            }
            Ok(Some(batch)) => return Some(self.tell(batch)),
            Ok(None) => {}
        }
        // A watch that begins in the future has not seen the future.
        let seen = come.min(self.next - 1);
        let is_behind = self.next <= come;
        if self.asked.is_some_and(|asked| asked <= seen) || self.request.progress && !is_behind && seen > self.told {
            return Some(self.progress(seen));
        }
        if is_behind {
            // There is much that is not for it: others get in between.
            context.waker().wake_by_ref();
            return Some(Poll::Pending);
        }
        None
    }

    /// Whether there can be something in the log for it.
    fn is_found(&mut self, context: &Context<'_>) -> bool {
        if self.waits {
            let come = self.published.waiters.told();
            // To look at so little of the log costs no more than to look at its place first.
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
        self.asked = self.asked_again.take().filter(|asked| *asked > seen);
        self.told = seen;
        Poll::Ready(Some(Ok(Watched::Progress(seen))))
    }

    /// Looks at the log. Answers with the next that is to be told; what it read after that is kept.
    fn read(&mut self) -> Result<Option<EventBatch>> {
        let view = self.published.read()?;
        if self.next < view.shown.compacted {
            return Err(Error::Compacted { requested: self.next, at: view.shown.compacted });
        }
        // Mostly it is the last alone.
        if let Some(batch) = view.log.last(self.next) {
            self.next += 1;
            return Ok(batch.wanted(&self.request));
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
        let current = current.unwrap_or(Revision::MAX);
        match self.asked {
            None => self.asked = Some(current),
            // Whoever keeps asking is answered all the same.
            Some(_) => self.asked_again = Some(current),
        }
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

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::{MemoryStore, Store};

    /// A watch of the key "idle" that waits, and the store after so many writes that are not for it.
    async fn passed_by(writes: u64) -> (MemoryStore, Watch, Revision) {
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::key("idle")).await.unwrap();
        assert!(watch.next().now_or_never().is_none());
        let mut now = 0;
        for _ in 0..writes {
            now = store.put("busy".into(), "b".into()).await.unwrap();
        }
        (store, watch, now)
    }

    /// What it is told now.
    fn told(watch: &mut Watch) -> Option<Watched> {
        watch.next().now_or_never().map(|told| told.expect("it goes on").expect("it has not fallen behind"))
    }

    #[tokio::test]
    async fn a_compaction_of_what_was_not_for_who_waits_is_not_told() {
        for writes in [1, 2, 3, 15, 16, 17, 18, 19, 50] {
            // It is asked for progress, or polled without a reason, or woken.
            let (store, mut watch, now) = passed_by(writes).await;
            store.compact(now).await.unwrap();
            watch.request_progress();
            assert_eq!(told(&mut watch), Some(Watched::Progress(now)), "{writes}");

            let (store, mut watch, now) = passed_by(writes).await;
            store.compact(now).await.unwrap();
            assert_eq!(told(&mut watch), None, "{writes}");
            let written = store.put("idle".into(), "v".into()).await.unwrap();
            assert!(matches!(told(&mut watch), Some(Watched::Batch(batch)) if batch.revision == written), "{writes}");

            let (store, mut watch, now) = passed_by(writes).await;
            let written = store.put("idle".into(), "v".into()).await.unwrap();
            assert_eq!(written, now + 1);
            store.compact(written).await.unwrap();
            assert!(matches!(told(&mut watch), Some(Watched::Batch(batch)) if batch.revision == written), "{writes}");

            // What is compacted here was for it.
            let (store, mut watch, _) = passed_by(writes).await;
            store.put("idle".into(), "v".into()).await.unwrap();
            let now = store.put("busy".into(), "b".into()).await.unwrap();
            store.compact(now).await.unwrap();
            let lost = watch.next().now_or_never().flatten();
            assert!(matches!(lost, Some(Err(Error::Compacted { at, .. })) if at == now), "{writes}: {lost:?}");
        }
    }

    #[tokio::test]
    async fn nor_after_progress() {
        for writes in [1, 2, 16, 17, 50] {
            for request in [WatchRequest::key("idle"), WatchRequest::key("idle").with_progress()] {
                let store = MemoryStore::new();
                let unasked = request.progress;
                let mut watch = store.watch(request).await.unwrap();
                assert_eq!(told(&mut watch), None);
                for _ in 0..3 {
                    let mut now = 0;
                    for _ in 0..writes {
                        now = store.put("busy".into(), "b".into()).await.unwrap();
                    }
                    if !unasked {
                        watch.request_progress();
                    }
                    assert_eq!(told(&mut watch), Some(Watched::Progress(now)), "{writes}, unasked: {unasked}");
                    for _ in 0..writes + 1 {
                        now = store.put("busy".into(), "b".into()).await.unwrap();
                    }
                    store.compact(now).await.unwrap();
                    let progress = unasked.then_some(Watched::Progress(now));
                    assert_eq!(told(&mut watch), progress, "{writes}, unasked: {unasked}");
                    assert_eq!(told(&mut watch), None);
                }
                let written = store.put("idle".into(), "v".into()).await.unwrap();
                store.compact(written).await.unwrap();
                assert!(matches!(told(&mut watch), Some(Watched::Batch(batch)) if batch.revision == written));
            }
        }
    }

    #[tokio::test]
    async fn nor_what_was_of_a_kind_that_is_not_for_it() {
        let store = MemoryStore::new();
        let mut deletions = store.watch(WatchRequest::key("a").without_puts()).await.unwrap();
        let mut puts = store.watch(WatchRequest::prefix("").without_deletions()).await.unwrap();
        assert_eq!((told(&mut deletions), told(&mut puts)), (None, None));
        store.put("a".into(), "1".into()).await.unwrap();
        assert!(matches!(told(&mut puts), Some(Watched::Batch(batch)) if batch.revision == 2));
        assert_eq!(told(&mut puts), None);
        store.put("b".into(), "1".into()).await.unwrap();
        store.compact(3).await.unwrap();
        assert_eq!(told(&mut deletions), None);
        assert!(matches!(told(&mut puts), Some(Watched::Batch(batch)) if batch.revision == 3));
        assert_eq!(told(&mut puts), None);
        for key in ["a", "b"] {
            store.txn(crate::Txn::new().then(crate::Op::delete(key))).await.unwrap();
        }
        store.compact(4).await.unwrap();
        assert!(matches!(told(&mut deletions), Some(Watched::Batch(batch)) if batch.revision == 4));
        store.compact(5).await.unwrap();
        assert_eq!((told(&mut deletions), told(&mut puts)), (None, None));
    }

    #[tokio::test]
    async fn nor_what_was_before_its_beginning() {
        for request in [WatchRequest::key("a"), WatchRequest::prefix(""), WatchRequest::key("a").without_deletions()] {
            let store = MemoryStore::new();
            let mut watch = store.watch(request.from(10)).await.unwrap();
            assert_eq!(told(&mut watch), None);
            for revision in 2..10 {
                assert_eq!(store.put("a".into(), "early".into()).await.unwrap(), revision);
            }
            store.put("a".into(), "first".into()).await.unwrap();
            store.compact(10).await.unwrap();
            assert!(matches!(told(&mut watch), Some(Watched::Batch(batch)) if batch.revision == 10));
        }
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::key("idle").from(10)).await.unwrap();
        assert_eq!(told(&mut watch), None);
        store.put("idle".into(), "early".into()).await.unwrap();
        for _ in 0..15 {
            store.put("busy".into(), "b".into()).await.unwrap();
        }
        store.compact(16).await.unwrap();
        assert_eq!(told(&mut watch), None);
        let written = store.put("idle".into(), "v".into()).await.unwrap();
        store.compact(written).await.unwrap();
        assert!(matches!(told(&mut watch), Some(Watched::Batch(batch)) if batch.revision == written));
    }

    #[tokio::test]
    async fn who_keeps_asking_for_progress_is_answered() {
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
        for _ in 0..5 {
            store.put("a".into(), "v".into()).await.unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..10 {
            let now = store.put("a".into(), "v".into()).await.unwrap();
            watch.request_progress();
            match told(&mut watch).unwrap() {
                Watched::Batch(batch) => seen.push(batch.revision),
                Watched::Progress(progress) => {
                    assert!(progress >= 7 && progress <= now && Some(&progress) == seen.last())
                }
            }
        }
        assert!(seen.len() < 10, "{seen:?}");
        // The last one asks for all of it.
        let last = std::iter::from_fn(|| told(&mut watch)).last();
        assert_eq!(last, Some(Watched::Progress(store.status().await.unwrap().revision)));
    }

    #[tokio::test]
    async fn progress_does_not_take_a_watch_back() {
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::prefix("").from(10)).await.unwrap();
        assert_eq!(told(&mut watch), None);
        for revision in 2..10 {
            watch.request_progress();
            assert_eq!(told(&mut watch), Some(Watched::Progress(revision - 1)));
            assert_eq!(store.put("a".into(), "early".into()).await.unwrap(), revision);
            assert_eq!(told(&mut watch), None);
        }
        let first = store.put("a".into(), "first".into()).await.unwrap();
        assert!(matches!(told(&mut watch), Some(Watched::Batch(batch)) if batch.revision == first));
    }

    #[tokio::test]
    async fn progress_comes_when_it_is_due_though_there_is_more_to_look_through() {
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::key("idle")).await.unwrap();
        let now = store.put("busy".into(), "b".into()).await.unwrap();
        watch.request_progress();
        for _ in 0..3000 {
            store.put("busy".into(), "b".into()).await.unwrap();
        }
        let progress = told(&mut watch);
        assert!(matches!(progress, Some(Watched::Progress(told)) if told >= now), "{progress:?}");
    }
}
