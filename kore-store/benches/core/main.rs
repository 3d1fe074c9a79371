//! How fast and how large the store itself is: `cargo bench -p kore-store --bench core [-- NAME…]`.
//!
//! | name | measures |
//! |---|---|
//! | `writes` | durable writes a second at 1, 64 and 1000 outstanding writers |
//! | `gets` | reads of one key a second, on one thread; with a million keys that is how fast memory answers |
//! | `fanout` | one event after the other to 10,000 watchers, each a task of its own, on one thread; beside tokio's broadcast channel, which neither looks at keys nor keeps anything |
//! | `memory` | resident bytes a live key, beyond key and value |
//! | `reopen` | opening a store of 1,000,000 keys of 1 KiB |
//! | `pause` | the 99th percentile of writes while a checkpoint and a compaction run, and without |
//!
//! `KORE_BENCH_SECONDS` is how long each round of `writes` takes (default 3), and a twentieth of what each part of `pause` takes;
//! `KORE_BENCH_WRITERS` asks for only so many writers.

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use kore_store::{DurableStore, KeyRange, KeyValue, Limits, MemoryStore, Options, Range, Store, WatchRequest, Watched};
use support::*;
use tokio::time::Instant;

/// Keys of a large store.
const MANY: u64 = 1_000_000;

/// Writes between two compactions.
const HISTORY: u64 = 10_000;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if wanted("writes") {
        threads(2, writes());
    }
    if wanted("gets") {
        threads(1, gets());
    }
    if wanted("fanout") {
        threads(1, fanout());
    }
    // In processes of their own: what others have freed is not counted.
    match &names[..] {
        [name, length] if name == "memory" => threads(1, memory(length.parse().expect("a length"))),
        [name, dir] if name == "open" => threads(2, open(dir)),
        _ if wanted("memory") => ["16", "512"].iter().for_each(|length| this_program(&["memory", length])),
        _ => {}
    }
    if wanted("reopen") {
        threads(2, reopen());
    }
    if wanted("pause") {
        threads(2, pause());
    }
}

fn threads(count: usize, work: impl Future<Output = ()>) {
    let mut builder = match count {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(count).enable_all().build().expect("a runtime").block_on(work);
}

fn this_program(arguments: &[&str]) {
    let this = std::env::current_exe().expect("a path");
    assert!(std::process::Command::new(this).args(arguments).status().expect("it starts").success());
}

fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seconds() -> f64 {
    setting("KORE_BENCH_SECONDS", 3.0)
}

fn options() -> Options {
    Options::default().limits(Limits::default().quota_bytes(64 << 30))
}

/// Works with a store in a directory of its own below the current one: on the disk that is measured.
async fn with_store<T>(options: Options, work: impl AsyncFnOnce(DurableStore, &Path) -> T) -> T {
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let (store, run) = DurableStore::open(dir.path(), options).await.expect("the store opens");
    let run = tokio::spawn(run);
    let done = work(store.clone(), dir.path()).await;
    store.close().await.expect("the store closes");
    run.await.expect("no panic").expect("the store ran to its end");
    done
}

async fn writes() {
    println!("writes: durable, 48 B keys of {KEYS}, 512 B values, each unique");
    let only = setting("KORE_BENCH_WRITERS", 0.0) as u64;
    for writers in [1, 64, 1000].into_iter().filter(|writers| only == 0 || only == *writers) {
        with_store(options(), async |store, _| {
            let writing = store.clone();
            let put = move |writer, number| {
                let store = writing.clone();
                let key = key(scatter(writer << 32 | number) % KEYS);
                async move { store.put(key, value(writer, number, 512)).await.map(drop).expect("a write") }
            };
            let load = load(writers, Duration::from_secs_f64(seconds()), put).await;
            let revision = store.status().await.expect("it is open").revision;
            assert_eq!(revision, load.writes + 1, "every write took a revision");
            println!(
                "  {writers:>4} writers  {:>8.0}/s  p50 {} µs  p99 {} µs  {:.4} device flushes a write",
                load.per_second(),
                load.percentile(50.0),
                load.percentile(99.0),
                load.flushes.unwrap_or(0) as f64 / load.writes as f64,
            );
        })
        .await;
    }
}

/// A store with so many keys, which is compacted now and then while it is filled.
async fn filled(keys: u64, length: usize) -> MemoryStore {
    let store = MemoryStore::with_limits(Limits::default().quota_bytes(64 << 30));
    for number in 0..keys {
        let revision = store.put(key(number), value(1, number, length)).await.expect("a write");
        if number % HISTORY == HISTORY - 1 {
            store.compact(revision).await.expect("a compaction");
        }
    }
    store
}

async fn gets() {
    for keys in [10_000, 100_000, 1_000_000] {
        let store = filled(keys, 512).await;
        let all = store.range(Range::new(KeyRange::all())).await.expect("a list").kvs;
        let map: BTreeMap<Bytes, Arc<KeyValue>> = all.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        let map = RwLock::new(map);
        let asked: Vec<_> = (0..1_000_000).map(|number| key(scatter(number) % keys)).collect();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let begin = Instant::now();
            let mut bytes = 0;
            for key in &asked {
                bytes += store.get(key.clone()).await.expect("a read").expect("it is there").value.len();
            }
            ours.push(begin.elapsed().as_secs_f64());
            assert_eq!(bytes, 512_000_000);
            let begin = Instant::now();
            for key in &asked {
                bytes += map.read().expect("no panic").get(key).cloned().expect("it is there").value.len();
            }
            theirs.push(begin.elapsed().as_secs_f64());
            assert_eq!(bytes, 1_024_000_000);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "gets: {:.2} times a RwLock<BTreeMap>: {:.2} M/s and {:.2} M/s, {keys} keys, one thread",
            theirs / ours,
            1.0 / ours,
            1.0 / theirs,
        );
    }
}

/// Of `fanout`.
const WATCHERS: u64 = 10_000;
const EVENTS: u64 = 300;

async fn fanout() {
    let (mut ours, mut lags, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let store = MemoryStore::new();
        let told = Counter::default();
        for _ in 0..WATCHERS {
            let mut watch = store.watch(WatchRequest::prefix("/registry/")).await.expect("a watch");
            let told = told.clone();
            tokio::spawn(async move {
                for number in 0..EVENTS {
                    let Some(Ok(Watched::Batch(batch))) = watch.next().await else { panic!("an event") };
                    told.add(u64::from(batch.revision == number + 2));
                }
            });
        }
        let put = async |number| {
            assert_eq!(store.put(key(number), value(1, number, 512)).await.expect("a write"), number + 2)
        };
        let (rate, lag) = deliver(put, &told).await;
        ours.push(rate);
        lags.push(lag);

        let (sender, _) = tokio::sync::broadcast::channel(16);
        let told = Counter::default();
        for _ in 0..WATCHERS {
            let mut receiver = sender.subscribe();
            let told = told.clone();
            tokio::spawn(async move {
                for number in 0..EVENTS {
                    let event: Arc<u64> = receiver.recv().await.expect("an event");
                    told.add(u64::from(*event == number));
                }
            });
        }
        let send =
            async |number| assert_eq!(sender.send(Arc::new(number)).expect("somebody listens"), WATCHERS as usize);
        theirs.push(deliver(send, &told).await.0);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "fanout: {:.2} times a tokio::sync::broadcast: {ours:.2} M and {theirs:.2} M deliveries/s to {WATCHERS} watchers, one \
         thread; lag of the last watcher: median {:.0} µs",
        ours / theirs,
        median(lags),
    );
}

/// One event after the other; those that are told count. Answers with millions of deliveries a second, and the median of
/// microseconds until the last watcher has been told.
async fn deliver(send: impl AsyncFn(u64), told: &Counter) -> (f64, f64) {
    // Everybody waits.
    tokio::task::yield_now().await;
    let begin = Instant::now();
    let mut lags = Vec::new();
    for number in 0..EVENTS {
        let sent = Instant::now();
        send(number).await;
        // The next event when everybody has heard of this one: none is told together with another.
        while told.get() < (number + 1) * WATCHERS {
            tokio::task::yield_now().await;
        }
        lags.push(sent.elapsed().as_micros() as f64);
    }
    ((WATCHERS * EVENTS) as f64 / begin.elapsed().as_secs_f64() / 1e6, median(lags))
}

async fn memory(length: usize) {
    let before = resident();
    let store = filled(MANY, length).await;
    let bytes = resident() - before;
    let own = bytes as f64 / MANY as f64 - (48 + length) as f64;
    println!(
        "memory: {own:.0} bytes a live key beyond its 48 B key and {length} B value ({MANY} keys, compacted every {HISTORY} writes)"
    );
    assert_eq!(store.range(Range::new(KeyRange::all()).count_only()).await.expect("a count").count, MANY);
}

async fn reopen() {
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let (store, run) = DurableStore::open(dir.path(), options()).await.expect("the store opens");
    let run = tokio::spawn(run);
    let many = futures::stream::iter(0..MANY).map(|number| store.put(key(number), value(1, number, 1024)));
    many.buffer_unordered(1000).for_each(|put| async { put.map(drop).expect("a write") }).await;
    store.close().await.expect("the store closes");
    run.await.expect("no panic").expect("the store ran to its end");
    // The store writes past the page cache.
    for entry in std::fs::read_dir(dir.path()).expect("it is there") {
        let mut file = std::fs::File::open(entry.expect("a name").path()).expect("a file");
        std::io::copy(&mut file, &mut std::io::sink()).expect("it is read");
    }
    // More than once: what the first process had, the others get from the system for less.
    for _ in 0..3 {
        this_program(&["open", dir.path().to_str().expect("a plain name")]);
    }
}

/// How long the system takes to hand out as much memory as this process has. In seconds.
fn fresh_memory() -> f64 {
    let mut fresh = vec![0_u8; resident() as usize];
    let begin = Instant::now();
    fresh.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&fresh);
    begin.elapsed().as_secs_f64()
}

/// Opens the store that [`reopen`] has written.
async fn open(dir: &str) {
    let begin = Instant::now();
    let (store, run) = DurableStore::open(dir, options()).await.expect("the store opens");
    let elapsed = begin.elapsed();
    let found = store.range(Range::new(KeyRange::all()).count_only()).await.expect("a count");
    assert_eq!(found.count, MANY);
    for number in (0..MANY).step_by(997) {
        let kv = store.get(key(number)).await.expect("a read").expect("it is there");
        assert_eq!(kv.value, value(1, number, 1024));
    }
    println!(
        "reopen: {:.2} s for {MANY} keys of 1 KiB (page cache warm, a new process); touching as much memory for the first time: {:.2} s",
        elapsed.as_secs_f64(),
        fresh_memory()
    );
    drop(run);
}

/// The names of the checkpoints in a store's directory.
fn checkpoints(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("a name").file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("checkpoint-")).collect()
}

async fn pause() {
    let time = Duration::from_secs_f64(seconds() * 20.0);
    let mut percentiles = Vec::new();
    for busy in [false, true] {
        // A store of some size; with a checkpoint due now and then, or never.
        let checkpoint = if busy { 64 << 20 } else { 1 << 40 };
        let mut taken = BTreeSet::new();
        let load = with_store(options().checkpoint_bytes(checkpoint), async |store, dir| {
            let fill = futures::stream::iter(0..400_000).map(|number| store.put(key(number), value(0, number, 512)));
            fill.buffer_unordered(1000).for_each(|put| async { put.map(drop).expect("a write") }).await;
            let writing = store.clone();
            let put = move |writer: u64, number| {
                let store = writing.clone();
                let key = key(scatter(writer << 32 | number) % KEYS);
                async move { store.put(key, value(writer + 1, number, 512)).await.map(drop).expect("a write") }
            };
            let compacting = async {
                loop {
                    tokio::time::sleep(time / 8).await;
                    let revision = store.status().await.expect("it is open").revision;
                    store.compact(revision).await.expect("a compaction");
                    taken.extend(checkpoints(dir));
                }
            };
            tokio::select! {
                biased;
                load = load(64, time, put) => load,
                () = compacting, if busy => unreachable!("it goes on"),
            }
        })
        .await;
        assert_eq!(busy, !taken.is_empty(), "checkpoints: {taken:?}");
        println!(
            "pause: {:>8.0} writes/s of 64 writers, p50 {} µs, p99 {} µs, p99.9 {} µs {}",
            load.per_second(),
            load.percentile(50.0),
            load.percentile(99.0),
            load.percentile(99.9),
            if busy { format!("while compactions and {} checkpoints run", taken.len()) } else { "without".into() },
        );
        percentiles.push(f64::from(load.percentile(99.0)));
    }
    println!("pause: p99 {:.2} times what it is without", percentiles[1] / percentiles[0]);
}
