//! Concurrent histories of the stores we ship are linearizable, and their watches tell everything: for many seeds.

use std::time::Duration;

use crate::conformance::{Summary, Workload};
use crate::layer::{Faults, Layer};
use crate::{DurableStore, Entropy, MemoryStore, Options, Store};

/// A workload behind faults.
async fn run(store: impl Store, seed: u64) -> Summary {
    let faults = Faults::new(Entropy::seeded(seed))
        .delay(Duration::from_millis(seed % 7))
        .lost_requests(30)
        .lost_answers(60)
        .broken_watches(30);
    let outcome = Workload::default().run(&faults.layer(store), Entropy::seeded(!seed)).await;
    outcome.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"))
}

/// Seeds that tell nothing are no test: calls overlapped, some have an unknown outcome, and watches told what was written.
fn assert_telling(total: Summary, seeds: u64) {
    println!("{seeds} seeds: {total:?}");
    assert!(total.overlaps > 3 * total.calls, "{total:?}");
    assert!(total.unknown > seeds && total.refused > seeds, "{total:?}");
    assert!(total.writes > 50 * seeds && total.events > 2 * total.writes, "{total:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_store_in_memory() {
    let mut total = Summary::default();
    for seed in 0..400 {
        total += run(MemoryStore::new(), seed).await;
    }
    assert_telling(total, 400);
}

#[tokio::test(start_paused = true)]
async fn of_a_durable_store() {
    let mut total = Summary::default();
    for seed in 0..100 {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::default().segment_bytes(8192).checkpoint_bytes(16384);
        let (store, work) = DurableStore::open(dir.path(), options).await.unwrap();
        total += tokio::select! {
            biased;
            summary = run(store, seed) => summary,
            stopped = work => panic!("{stopped:?}"),
        };
    }
    assert_telling(total, 100);
}
