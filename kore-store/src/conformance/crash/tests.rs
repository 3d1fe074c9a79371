//! The durable store survives crashes, and stores that lose something are rejected.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::broken::{CrashFault, Forgetful};
use super::{Subject, run, run_only};
use crate::{DurableStore, Error, Options, Result, Store};

/// A durable store whose work is dropped wherever it stands.
struct Dropped {
    dir: TempDir,
    options: Options,
    work: Option<JoinHandle<Result<()>>>,
}

impl Dropped {
    /// Small enough for segments to be rotated and checkpoints to be written all the time.
    fn new() -> Dropped {
        let options = Options::default().segment_bytes(8192).checkpoint_bytes(16384);
        Dropped { dir: tempfile::tempdir().unwrap(), options, work: None }
    }
}

#[async_trait]
impl Subject for Dropped {
    async fn open(&mut self) -> Result<Arc<dyn Store>> {
        loop {
            match DurableStore::open(self.dir.path(), self.options.clone()).await {
                Ok((store, run)) => {
                    self.work = Some(tokio::spawn(run));
                    return Ok(Arc::new(store));
                }
                // A flush that was under way when it was dropped still holds the directory.
                Err(Error::InUse { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn crash(&mut self) {
        if let Some(work) = self.work.take() {
            work.abort();
            drop(work.await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_durable_store_survives_crashes() {
    let report = run(&mut Dropped::new()).await;
    assert!(report.is_passed() && report.skipped.is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgets_nothing_passes() {
    let report = run(&mut Forgetful::sound()).await;
    assert!(report.is_passed() && report.skipped.is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn forgetful_stores_are_rejected_by_the_check_they_were_broken_for() {
    for (fault, check) in CrashFault::ALL {
        let report = run_only(&mut Forgetful::new(*fault), &[check]).await;
        assert_eq!(report.failed(), [*check], "{fault:?}: {report}");
    }
}

#[test]
fn every_check_rejects_a_store() {
    let rejecting: Vec<&str> = CrashFault::ALL.iter().map(|(_, check)| *check).collect();
    for check in super::checks() {
        assert!(rejecting.contains(&check), "{check}");
    }
}
