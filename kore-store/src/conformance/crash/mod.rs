//! Checks that a store keeps its promises across crashes. For whoever implements a durable one.
//!
//! - here: [`Subject`], what an implementor writes, and running the checks
//! - `checks`: the checks
//! - [`broken`]: stores that lose what they must not, each to be rejected by one check
//!
//! What a crash is, is the implementor's to say: a process that is killed, a disk that drops what was not synced, a task that is
//! dropped. The more a subject forgets, the more is checked.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kore_store::conformance::crash::{self, Subject};
//! use kore_store::{DurableStore, Error, Options, Result, Store};
//! use tempfile::TempDir;
//! use tokio::task::JoinHandle;
//!
//! /// A durable store whose work is dropped wherever it stands.
//! struct Dropped {
//!     dir: TempDir,
//!     work: Option<JoinHandle<Result<()>>>,
//! }
//!
//! #[async_trait::async_trait]
//! impl Subject for Dropped {
//!     async fn open(&mut self) -> Result<Arc<dyn Store>> {
//!         loop {
//!             match DurableStore::open(self.dir.path(), Options::default()).await {
//!                 Ok((store, run)) => {
//!                     self.work = Some(tokio::spawn(run));
//!                     return Ok(Arc::new(store));
//!                 }
//!                 // A flush that was under way when it was dropped still holds the directory.
//!                 Err(Error::InUse { .. }) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!     }
//!
//!     async fn crash(&mut self) {
//!         if let Some(work) = self.work.take() {
//!             work.abort();
//!             drop(work.await);
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> std::io::Result<()> {
//! let mut subject = Dropped { dir: tempfile::tempdir()?, work: None };
//! let report = crash::run(&mut subject).await;
//! assert!(report.is_passed(), "{report}");
//! # Ok(())
//! # }
//! ```

pub mod broken;
mod checks;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::probe::Probe;
use super::{Outcome, Report, Wrong};
use crate::{Result, Store};

/// A store that can be crashed and opened again. The documentation of this [module](self) holds an implementation.
#[async_trait]
pub trait Subject: Send {
    /// Opens the store, for the first time or after a crash. What it holds is what survived.
    async fn open(&mut self) -> Result<Arc<dyn Store>>;

    /// Ends the store as a crash does: at once, whatever is under way, without any farewell. Calls that are waiting may fail, or
    /// never end. The handle that [`Subject::open`] gave is of no use afterwards.
    async fn crash(&mut self);
}

/// A subject being checked: open, or between a crash and the next opening.
pub(super) struct World<'a> {
    subject: &'a mut dyn Subject,
    store: Arc<dyn Store>,
}

impl World<'_> {
    /// Crashes and opens again.
    async fn crash(&mut self) -> Result<()> {
        self.subject.crash().await;
        self.store = self.subject.open().await?;
        Ok(())
    }
}

/// One check: a sentence of the contract, and the function that tries it.
struct Check {
    name: &'static str,
    run: for<'a> fn(&'a mut World<'_>, &'a Probe<'_>) -> BoxFuture<'a, Outcome>,
}

macro_rules! checks {
    ($($check:ident: $name:literal,)*) => {
        &[$(Check { name: $name, run: |world, probe| Box::pin(checks::$check(world, probe)) },)*]
    };
}

const CHECKS: &[Check] = checks! {
    acknowledged: "what was acknowledged is there after a crash, all of it",
    revisions: "a revision is not used twice, also after a crash",
    history: "old revisions can be read and watched after a crash",
    leases: "leases survive a crash with their keys, and end; those that had ended do not come back",
    compaction: "a compaction survives a crash",
    load: "across crashes under load, nothing acknowledged is lost, and what is recovered is a prefix",
};

/// How long a check may take: a store that does not answer fails it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Checks the subject, and reports. Nobody else may write to it meanwhile; it is left crashed.
pub async fn run(subject: &mut dyn Subject) -> Report {
    run_those(subject, |_| true).await
}

/// Only these checks, by their sentences: for looking into a failure.
pub async fn run_only(subject: &mut dyn Subject, names: &[&str]) -> Report {
    run_those(subject, |check| names.contains(&check.name)).await
}

/// The sentences that are checked.
pub fn checks() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

async fn run_those(subject: &mut dyn Subject, which: impl Fn(&Check) -> bool) -> Report {
    let mut report = Report::default();
    for (number, check) in CHECKS.iter().enumerate().filter(|(_, check)| which(check)) {
        let store = match subject.open().await {
            Ok(store) => store,
            Err(error) => {
                report.add(check.name, Err(Wrong::Error(error)), Vec::new());
                continue;
            }
        };
        let begun = Probe::new(&*store, 100 + number).await;
        let (outcome, history) = match begun {
            Ok(probe) => {
                let mut world = World { subject: &mut *subject, store: store.clone() };
                let outcome = tokio::time::timeout(PATIENCE, (check.run)(&mut world, &probe)).await;
                let outcome = outcome.unwrap_or_else(|_| Err(Wrong::Found("the store does not answer".into())));
                (outcome.and_then(|()| probe.judge()), probe.history())
            }
            Err(error) => (Err(Wrong::Error(error)), Vec::new()),
        };
        report.add(check.name, outcome, history);
        subject.crash().await;
    }
    report
}
