//! Watchers of every kind, each following the same few keys to the end.

use std::time::Duration;

use futures::StreamExt;

use super::linearizability::{Property, Violation};
use super::workload::{World, tolerate};
use crate::layer::Around;
use crate::{Error, Result, Revision, Watch, WatchRequest, Watched};

/// How long a watcher may take to be told everything, when all writing is over.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a watcher is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of everything, with what was before.
    Full,
    /// Of one key, with progress unasked.
    One,
    /// Only of writes.
    Puts,
    /// Only of deletions, with what was before, asking for progress all the time.
    Deletions,
    /// Reads late.
    Slow,
    /// Drops its watch and begins another where it left off, asking for progress at once.
    Reconnecting,
    /// Of a key that nobody writes, with progress unasked.
    Idle,
}

impl Kind {
    pub(super) const ALL: &[Kind] =
        &[Kind::Full, Kind::One, Kind::Puts, Kind::Deletions, Kind::Slow, Kind::Reconnecting, Kind::Idle];
}

impl World<'_> {
    pub(super) async fn watcher(&self, kind: Kind) -> Result<(), Violation> {
        let mut finished = self.finished.subscribe();
        let out_of_time = async {
            // The sender is in `self`.
            drop(finished.wait_for(Option::is_some).await);
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            biased;
            outcome = self.follow(kind) => return outcome,
            () = out_of_time => {}
        }
        let target = self.finished.borrow().unwrap_or(0);
        let what = format!("a watcher was not told everything in time: {kind:?}");
        // What was told until then may show why.
        Err(match self.recorder.check() {
            Ok(_) => Violation::new(Property::Reliable, target, what),
            Err(shown) => Violation { what: format!("{what}; {}", shown.what), ..shown },
        })
    }

    pub(super) fn request(&self, kind: Kind) -> WatchRequest {
        let all = WatchRequest::new(self.keys());
        match kind {
            Kind::Full | Kind::Slow | Kind::Reconnecting => all.with_previous(),
            Kind::One => WatchRequest::key(self.last_key()).with_previous().with_progress(),
            Kind::Puts => all.without_deletions(),
            Kind::Deletions => all.without_puts().with_previous(),
            Kind::Idle => WatchRequest::key(self.named("nothing")).with_progress(),
        }
    }

    /// Watches until it has been told everything, beginning again where it left off whenever its watch ends.
    async fn follow(&self, kind: Kind) -> Result<(), Violation> {
        let mut from = 0;
        loop {
            let request = self.request(kind).from(from);
            match self.recorder.ask(request.clone(), self.store).await {
                Ok(watch) => {
                    let watch = self.recorder.watch(&request, watch);
                    if self.hear(kind, watch, &mut from).await? {
                        return Ok(());
                    }
                }
                // A watch from the compacted revision may be refused.
                Err(Error::Compacted { at, .. }) => from = if from < at { at } else { at + 1 },
                Err(error) => tolerate(error)?,
            }
        }
    }

    /// Follows one watch; true when it has told everything.
    async fn hear(&self, kind: Kind, mut watch: Watch, from: &mut Revision) -> Result<bool, Violation> {
        let mut finished = self.finished.subscribe();
        let asks = matches!(kind, Kind::Deletions | Kind::Reconnecting);
        if asks || finished.borrow_and_update().is_some() {
            watch.request_progress();
        }
        let mut left = if kind == Kind::Reconnecting { 1 + self.entropy.below(6) } else { u64::MAX };
        loop {
            let item = tokio::select! {
                biased;
                Ok(()) = finished.changed() => {
                    watch.request_progress();
                    continue;
                }
                item = watch.next() => item,
            };
            match item {
                Some(Ok(Watched::Batch(batch))) => *from = batch.revision + 1,
                Some(Ok(Watched::Progress(progress))) => {
                    *from = (*from).max(progress + 1);
                    let target = *finished.borrow();
                    if target.is_some_and(|target| progress >= target) {
                        return Ok(true);
                    }
                }
                Some(Err(Error::Compacted { at, .. })) => {
                    *from = (*from).max(at);
                    return Ok(false);
                }
                Some(Err(error)) => return tolerate(error).map(|()| false),
                None => return Ok(false),
            }
            left -= 1;
            if left == 0 {
                return Ok(false);
            }
            if kind == Kind::Slow {
                tokio::time::sleep(Duration::from_millis(self.entropy.below(80))).await;
            }
            // Not at every item: a progress that is answered at once would leave nobody else a turn.
            if asks && self.entropy.below(4) == 0 {
                watch.request_progress();
            }
        }
    }
}
