//! The suite passes the stores we ship, and rejects the broken ones.

mod concurrent;
mod judge;
mod planted;

use super::broken::{Broken, Fault};
use crate::{DurableStore, MemoryStore, Options, conformance};

#[tokio::test(start_paused = true)]
async fn the_memory_store_conforms() {
    let report = conformance::run(&MemoryStore::new()).await;
    assert!(report.is_passed() && report.skipped.is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_durable_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    // Small enough for rotation and checkpoints to go on meanwhile.
    let options = Options::default().segment_bytes(8192).checkpoint_bytes(16384);
    let (store, run) = DurableStore::open(dir.path(), options).await.unwrap();
    let report = tokio::select! {
        biased;
        report = conformance::run(&store) => report,
        stopped = run => panic!("{stopped:?}"),
    };
    assert!(report.is_passed() && report.skipped.is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn broken_stores_are_rejected_by_the_check_they_were_broken_for() {
    for (fault, check) in Fault::ALL {
        let store = Broken::new(MemoryStore::new(), *fault);
        let report = conformance::run_only(&store, &[check]).await;
        assert_eq!(report.failed(), [*check], "{fault:?}: {report}");
    }
}

#[test]
fn every_check_rejects_a_store() {
    let rejecting: Vec<&str> = Fault::ALL.iter().map(|(_, check)| *check).collect();
    for check in conformance::checks() {
        assert!(rejecting.contains(&check), "{check}");
    }
    assert!(rejecting.iter().all(|name| conformance::checks().any(|check| check == *name)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_store_does_not_keep_the_suite_from_its_end() {
    for fault in [Fault::WaitsForWatchers, Fault::SilentProgress, Fault::EagerProgress, Fault::RepeatedRevision] {
        let report = conformance::run(&Broken::new(MemoryStore::new(), fault)).await;
        let ended = report.passed.len() + report.skipped.len() + report.failed.len();
        assert!(!report.is_passed() && ended == conformance::checks().count(), "{fault:?}: {report}");
    }
}
