//! Checks a [`Store`] against its contract, sentence by sentence. For whoever implements one.
//!
//! - here: running the checks, and the report
//! - `probe`: calls the store and remembers what it answered
//! - `pairs`, `ranges`, `txns`, `concurrent`, `watches`, `progress`, `compaction`, `leases`, `snapshots`: the checks
//! - [`Recorder`], [`Workload`], [`linearizability`]: histories of concurrent calls and of watches, recorded and judged: part of every
//!   check, and for soaks of your own
//! - [`crash`]: the same for stores that survive crashes
//! - [`broken`]: stores that are broken on purpose, each to be rejected by one check
//!
//! ```
//! use kore_store::{MemoryStore, conformance};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let store = MemoryStore::new();
//! let report = conformance::run(&store).await;
//! assert!(report.is_passed(), "{report}");
//! # }
//! ```
//!
//! The store need not be empty, but nobody else may write to it meanwhile: the checks count revisions, compact, and write under
//! `conformance/`. Waiting is done in tokio's time: a store in this process is checked in no time under a paused clock.

pub mod broken;
mod compaction;
mod concurrent;
pub mod crash;
mod facts;
mod history;
mod leases;
pub mod linearizability;
mod model;
mod pairs;
mod probe;
mod progress;
mod ranges;
mod snapshots;
#[cfg(test)]
mod tests;
mod timeline;
mod txns;
mod watchers;
mod watches;
mod workload;

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::{Error, Store};
pub use history::{Recorder, Summary};
pub use linearizability::{Property, Violation};
use probe::Probe;
pub use workload::Workload;

/// Why a check failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The sentence of the contract that does not hold.
    pub check: &'static str,
    /// What was found.
    pub what: String,
    /// The calls that led to it, with their answers, in order.
    pub history: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FAILED {}: {}", self.check, self.what)?;
        self.history.iter().try_for_each(|call| writeln!(f, "    {call}"))
    }
}

/// What a run of the checks found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The sentences that hold.
    pub passed: Vec<&'static str>,
    /// The sentences that were not checked, since the store says that it does not support what they are about.
    pub skipped: Vec<&'static str>,
    /// The sentences that do not hold.
    pub failed: Vec<Failure>,
}

impl Report {
    /// True when no check failed.
    pub fn is_passed(&self) -> bool {
        self.failed.is_empty()
    }

    /// The sentences that do not hold.
    pub fn failed(&self) -> Vec<&'static str> {
        self.failed.iter().map(|failure| failure.check).collect()
    }

    fn add(&mut self, check: &'static str, outcome: Outcome, history: Vec<String>) {
        let what = match outcome {
            Ok(()) => return self.passed.push(check),
            Err(Wrong::Error(Error::Unsupported { .. })) => return self.skipped.push(check),
            Err(Wrong::Error(error)) => format!("a call failed: {error}"),
            Err(Wrong::Found(what)) => what,
        };
        self.failed.push(Failure { check, what, history });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, skipped, failed) = (self.passed.len(), self.skipped.len(), self.failed.len());
        writeln!(f, "{passed} passed, {skipped} skipped, {failed} failed")?;
        self.failed.iter().try_for_each(|failure| write!(f, "{failure}"))
    }
}

/// Why a check ended early.
pub(crate) enum Wrong {
    /// The store broke its contract.
    Found(String),
    /// The store failed a call that has to succeed.
    Error(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong::Error(error)
    }
}

type Outcome = Result<(), Wrong>;

/// One check: a sentence of the contract, and the function that tries it.
struct Check {
    name: &'static str,
    run: for<'a> fn(&'a Probe<'a>) -> BoxFuture<'a, Outcome>,
}

macro_rules! checks {
    ($($module:ident :: $check:ident: $name:literal,)*) => {
        &[$(Check { name: $name, run: |probe| Box::pin($module::$check(probe)) },)*]
    };
}

const CHECKS: &[Check] = checks! {
    pairs::read_back: "what is written is read back, with its revisions and version",
    pairs::revisions: "every write takes the next revision, and nothing else does",
    pairs::deletion: "a deleted key is gone, and begins anew when it is written again",
    pairs::races: "of several writers that compare, exactly one wins each round",
    ranges::selection: "a range selects and orders keys, limits, counts, and leaves out what it is told to",
    ranges::old: "an old revision is read as it was, a future one is an error",
    ranges::paging: "paging at a revision is not disturbed by writes",
    txns::relations: "comparisons hold exactly when they should, also for keys that do not exist",
    txns::branches: "a transaction does one of its branches, in order, at one revision",
    txns::refused: "a refused transaction changes nothing",
    txns::nested: "a nested transaction compares before anything is written, and is answered in its place",
    txns::nested_refused: "a key that is written twice is refused, also in nested transactions, and nothing is changed",
    pairs::compared: "a key is put or deleted as its caller knew it, or its caller is told what it holds",
    concurrent::workload: "concurrent calls are answered as if made one at a time, and watches tell exactly that",
    watches::complete: "a watch tells every change once, in order, a revision never split",
    watches::resumed: "a watch resumes from any revision that is kept",
    watches::filtered: "a watch tells nothing about other keys",
    watches::kinds: "a watch leaves out writes or deletions when it is asked to",
    watches::future: "a watch may begin at a revision to come",
    watches::slow: "a watcher that reads late is told everything",
    progress::asked: "progress is not told before what it covers",
    progress::idle: "a watch on request tells progress although nothing happens to its keys",
    progress::behind: "progress is not told before what it covers to a watch that is behind and asked at once",
    progress::busy: "progress is not told before what it covers while writes go on, asked or unasked",
    compaction::reads: "compacted revisions are not readable, the compacted one and later ones are",
    compaction::watched: "a watch begins behind the compacted revision, not before, and at it entirely or not at all",
    compaction::boundary: "a deletion at the compacted revision is told, or the watch is refused",
    compaction::stalled: "a watcher behind a compaction is told so, and misses nothing before it hears",
    compaction::waiting: "a watch that waits hears nothing of a compaction of what was not for it",
    compaction::catching_up: "watchers that catch up while the store is compacted miss nothing before they hear of it",
    compaction::room: "a compaction makes room, and nobody waits for a watcher that does not read",
    leases::expiry: "a lease that ends takes its keys with it, at one revision",
    leases::kept: "a lease that is kept alive does not end",
    leases::revoked: "a revoked lease takes its keys with it, and is gone",
    leases::detached: "a key that was written again without its lease stays",
    snapshots::taken: "a snapshot is not empty, and of a revision that was current",
};

/// How long a check may take: a store that does not answer fails it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Checks the store, and reports. Checks go on after one has failed.
pub async fn run(store: &dyn Store) -> Report {
    run_those(store, |_| true).await
}

/// Only these checks, by their sentences: for looking into a failure.
pub async fn run_only(store: &dyn Store, names: &[&str]) -> Report {
    run_those(store, |check| names.contains(&check.name)).await
}

/// The sentences that are checked.
pub fn checks() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

async fn run_those(store: &dyn Store, which: impl Fn(&Check) -> bool) -> Report {
    let mut report = Report::default();
    for (number, check) in CHECKS.iter().enumerate().filter(|(_, check)| which(check)) {
        let (outcome, history) = match Probe::new(store, number).await {
            Ok(probe) => {
                let probe = probe.beside_others();
                let outcome = tokio::time::timeout(PATIENCE, (check.run)(&probe)).await;
                let outcome = outcome.unwrap_or_else(|_| Err(Wrong::Found("the store does not answer".into())));
                (outcome.and_then(|()| probe.judge()), probe.history())
            }
            Err(error) => (Err(Wrong::Error(error)), Vec::new()),
        };
        report.add(check.name, outcome, history);
    }
    report
}

/// Fails the check unless both are the same.
fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    match found == expected {
        true => Ok(()),
        false => Err(Wrong::Found(format!("{what}: found {found:?}, expected {expected:?}"))),
    }
}

/// Fails the check unless it holds.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(Wrong::Found(what())),
    }
}
