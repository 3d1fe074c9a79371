//! Checks a [`Store`] against its contract, sentence by sentence. For whoever implements one.
//!
//! - here: running the checks, and the report
//! - `probe`: calls the store and remembers what it answered
//! - `pairs`, `ranges`, `txns`, `watches`, `compaction`, `leases`: the checks
//! - [`broken`]: stores that are broken on purpose, each to be rejected by one check
//!
//! ```
//! use kore_store::{Clock, MemoryStore, conformance};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let store = MemoryStore::new(Clock::system());
//! let report = conformance::run(&store).await;
//! assert!(report.is_passed(), "{report}");
//! # }
//! ```
//!
//! The store need not be empty, but nobody else may write to it meanwhile: the checks count revisions, compact, and write under
//! `conformance/`. Waiting is done in tokio's time: a store in this process is checked in no time under a paused clock.

pub mod broken;
mod compaction;
mod facts;
mod history;
mod leases;
pub mod linearizability;
mod model;
mod pairs;
mod probe;
mod ranges;
#[cfg(test)]
mod tests;
mod timeline;
mod txns;
mod watches;
mod workload;

use std::fmt;

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
    watches::complete: "a watch tells every change once, in order, a revision never split",
    watches::resumed: "a watch resumes from any revision that is kept",
    watches::filtered: "a watch tells nothing about other keys",
    watches::future: "a watch may begin at a revision to come",
    watches::slow: "a watcher that reads late is told everything",
    watches::progress_asked: "progress is not told before what it covers",
    watches::progress_idle: "a watch on request tells progress although nothing happens to its keys",
    compaction::reads: "compacted revisions are not readable, the compacted one and later ones are",
    compaction::watched: "a watch begins at the compacted revision, and not before",
    compaction::boundary: "a deletion at the compacted revision is still told",
    compaction::stalled: "a watcher behind a compaction is told so, and misses nothing before it hears",
    leases::expiry: "a lease that ends takes its keys with it, at one revision",
    leases::kept: "a lease that is kept alive does not end",
    leases::revoked: "a revoked lease takes its keys with it, and is gone",
    leases::detached: "a key that was written again without its lease stays",
};

/// Checks the store, and reports. Checks go on after one has failed.
pub async fn run(store: &dyn Store) -> Report {
    let mut report = Report::default();
    for (number, check) in CHECKS.iter().enumerate() {
        let probe = Probe::new(store, number);
        let what = match (check.run)(&probe).await {
            Ok(()) => {
                report.passed.push(check.name);
                continue;
            }
            Err(Wrong::Error(Error::Unsupported { .. })) => {
                report.skipped.push(check.name);
                continue;
            }
            Err(Wrong::Error(error)) => format!("a call failed: {error}"),
            Err(Wrong::Found(what)) => what,
        };
        report.failed.push(Failure { check: check.name, what, history: probe.history() });
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
