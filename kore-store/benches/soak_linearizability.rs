//! Concurrent clients, watchers of every kind and compactions, over many seeds: every history is linearizable, and every watch told
//! exactly what happened. Over a store in memory and over a durable one in a temporary directory, with faults between store and
//! clients.
//!
//! `KORE_SOAK_SECONDS` says for how long; without it, 10,000 seeds. The first seed is printed; `KORE_SOAK_SEED` begins at one.
//! Run by `cargo test --all-targets`, it does a few seeds only.
#![allow(missing_docs)]

use std::time::Duration;

use kore_store::conformance::{Summary, Violation, Workload};
use kore_store::layer::{Faults, Injected, Layer};
use kore_store::{DurableStore, Entropy, MemoryStore, Options, Store};

/// Without a time: so many seeds.
const SEEDS: u64 = 10_000;

/// As a test: so many.
const SEEDS_AS_TEST: u64 = 20;

/// One seed in so many is one of a durable store.
const DURABLE: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// What all seeds came to.
#[derive(Debug, Default)]
struct Total {
    memory: Summary,
    durable: Summary,
    lost_requests: u64,
    lost_answers: u64,
    broken_watches: u64,
}

#[expect(clippy::disallowed_methods, reason = "how long a soak takes is real time, and the stores' clock is paused")]
fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let duration = number("KORE_SOAK_SECONDS").filter(|_| is_bench).map(Duration::from_secs);
    let seeds = if is_bench { SEEDS } else { SEEDS_AS_TEST };
    let first = number("KORE_SOAK_SEED").unwrap_or_else(|| Entropy::system().next_u64() >> 16);
    println!("soak_linearizability: seeds from {first}");
    let begun = std::time::Instant::now();
    let mut total = Total::default();
    let mut done = 0;
    while duration.map_or(done < seeds, |duration| begun.elapsed() < duration) {
        let seed = first + done;
        if let Err(violation) = one(seed, &mut total) {
            eprintln!("seed {seed}: {violation}");
            std::process::exit(1);
        }
        done += 1;
    }
    let mut both = total.memory;
    both += total.durable;
    let at_a_time = 1.0 + both.overlaps as f64 / both.calls as f64;
    println!(
        "soak_linearizability: {done} seeds ({} durable) in {:.0} s: {} calls, {at_a_time:.1} at a time, {} writes, {} of \
         unknown outcome, {} refused, {} requests and {} answers lost, {} watches ({} broken) told {} events: all \
         linearizable",
        done / DURABLE,
        begun.elapsed().as_secs_f64(),
        both.calls,
        both.writes,
        both.unknown,
        both.refused,
        total.lost_requests,
        total.lost_answers,
        both.watches,
        total.broken_watches,
        both.events,
    );
    assert!(at_a_time > 3.0, "the calls hardly overlapped");
    assert!(both.unknown > done && total.broken_watches > done / 2, "hardly anything went wrong");
}

fn one(seed: u64, total: &mut Total) -> Result<(), Violation> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let faults = Faults::new(Entropy::seeded(seed))
        .delay(Duration::from_millis(seed % 7))
        .lost_requests(20 + (seed % 5) as u32 * 10)
        .lost_answers(20 + (seed % 4) as u32 * 30)
        .broken_watches(30);
    runtime.expect("a runtime").block_on(async {
        if seed.is_multiple_of(DURABLE) {
            total.durable += durable(seed, &faults).await?;
        } else {
            total.memory += work(seed, &faults.layer(MemoryStore::new())).await?;
        }
        Ok(())
    })?;
    let Injected { lost_requests, lost_answers, broken_watches, .. } = faults.injected();
    total.lost_requests += lost_requests;
    total.lost_answers += lost_answers;
    total.broken_watches += broken_watches;
    Ok(())
}

async fn durable(seed: u64, faults: &Faults) -> Result<Summary, Violation> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Small enough for segments to be rotated and checkpoints to be written meanwhile.
    let options = Options::default().segment_bytes(8192).checkpoint_bytes(16384);
    let (store, run) = DurableStore::open(dir.path(), options).await.expect("a new directory");
    let store = faults.layer(store);
    tokio::select! {
        biased;
        done = work(seed, &store) => done,
        stopped = run => panic!("the store stopped: {stopped:?}"),
    }
}

async fn work(seed: u64, store: &dyn Store) -> Result<Summary, Violation> {
    let workload =
        Workload::default().clients(8 + (seed % 9) as usize).calls(20 + (seed % 31) as usize).keys(1 + seed % 6);
    workload.run(store, Entropy::seeded(!seed)).await
}
