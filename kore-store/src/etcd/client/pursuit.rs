//! How a watch learns progress: it looks for the current revision, then waits until everything up to there has been told.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::cluster::Failed;
use super::feed::Ways;
use super::refusal::Refusal;
use super::watch::Telling;
use crate::{Result, Revision, Watched};

/// How long a member has to say where it stands before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// When what failed at learning progress is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How far the watch is.
pub(super) enum Pursuit {
    None,
    /// Finds out the current revision: everything up to there shall have been told.
    Looking {
        looking: BoxFuture<'static, Result<Revision, Failed>>,
        asked: bool,
    },
    /// Waits until everything up to this revision has been told; provokes something at or behind it, perhaps again.
    Waiting {
        target: Revision,
        asked: bool,
        provoking: Option<BoxFuture<'static, Result<(), Failed>>>,
        again: Option<Instant>,
    },
}

impl Telling {
    pub(super) fn progress(&mut self, revision: Revision) {
        self.told = revision;
        self.ready.push_back(Watched::Progress(revision));
    }

    /// Begins to look for progress, after a while.
    pub(super) fn look(&mut self, asked: bool, after: Duration) {
        let (store, key) = (self.store.clone(), self.key.clone());
        let looking = Box::pin(async move {
            sleep(after).await;
            store.cluster.revision(&key).await
        });
        self.pursuit = Pursuit::Looking { looking, asked };
    }

    /// Fails if it will fail again, whatever is tried.
    pub(super) fn bear(&self, failed: Failed) -> Result<()> {
        if matches!(failed, Failed::Refused(Refusal::Other(_))) {
            return Err(failed.plain());
        }
        tracing::debug!(?failed, "a watch cannot learn of progress yet");
        Ok(())
    }

    /// The current revision is known: everything up to there is to be told.
    pub(super) fn pursue(&mut self, looked: Result<Revision, Failed>) -> Result<()> {
        let Pursuit::Looking { asked, .. } = self.pursuit else { return Ok(()) };
        self.pursuit = Pursuit::None;
        let target = match looked {
            Ok(target) => target,
            Err(failed) => {
                self.bear(failed)?;
                // Who looks by himself looks again anyway.
                if asked {
                    self.look(true, TRY_AGAIN);
                }
                return Ok(());
            }
        };
        let next = self.assembly.next();
        if target < next {
            if asked || target > self.told {
                self.progress(target.max(self.told));
            }
        } else if asked || !self.store.markers.only(next, target) {
            self.pursuit = Pursuit::Waiting { target, asked, provoking: None, again: None };
            self.provoke();
        }
        Ok(())
    }

    /// Makes the member tell something at the target or behind it.
    pub(super) fn provoke(&mut self) {
        let Pursuit::Waiting { provoking, again, .. } = &mut self.pursuit else { return };
        let Some(feed) = &mut self.feed else { return };
        *again = None;
        match feed.ways() {
            Ways::Requested => {
                *again = Some(Instant::now() + ASK_AGAIN);
                feed.ask();
            }
            Ways::Marker(marker) => *provoking = Some(Box::pin(self.store.clone().mark(marker.clone()))),
        }
    }

    /// Tells progress if what was waited for has come, and everything about it is done.
    pub(super) fn settle(&mut self) {
        if let Pursuit::Waiting { target, provoking: None, asked, .. } = self.pursuit
            && self.assembly.next() > target
        {
            self.pursuit = Pursuit::None;
            let reached = self.assembly.next() - 1;
            if asked || reached > self.told {
                self.progress(reached.max(self.told));
            }
        }
    }
}
