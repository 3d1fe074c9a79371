//! kore-store beside etcd, on the same disk, in one run:
//!
//! `cargo bench -p kore-store --bench versus_etcd --features etcd,etcd-server`
//!
//! Durable writes of 48-byte keys with 512-byte values, each value written once, by 1, 64 and 1000 writers with one write
//! outstanding each: into a `DurableStore` in this process; into one behind `EtcdServer`, over gRPC; and into the etcd on the path
//! (Debian's `etcd-server`), over gRPC, by the same client program. Each server is a process of its own. The contestants take turns,
//! and the medians of their rounds are printed; then what each holds is compared with what was written.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `KORE_BENCH_SECONDS` | how long a round takes | 4 |
//! | `KORE_BENCH_ROUNDS` | rounds of each contestant; 1 of 60 seconds each: percentiles over a minute | 5 |
//! | `KORE_BENCH_WRITERS` | only so many writers | all three |
//! | `KORE_BENCH_HISTORY` | `kept`: every version ever written; `compacted`: after each of its rounds a contestant forgets what was overwritten, as stores in use do every few minutes | both, one after the other |
//! | `KORE_BENCH_CONNECTIONS` | connections that the writers of a server share | 8 |

mod grpc;
mod servers;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, unreachable_pub, reason = "the messages, as the library has them")]
#[path = "../../src/etcd/wire.rs"]
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kore_store::{DurableStore, Limits, Options, Store};

use grpc::Client;
use servers::Served;
use support::*;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        match &names[..] {
            [serve, dir, address] if serve == "serve" => servers::serve(Path::new(dir), address).await,
            _ => compare().await,
        }
    });
}

/// A number from the environment.
fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn options() -> Options {
    Options::default().limits(Limits::default().quota_bytes(64 << 30))
}

/// Who is measured.
#[derive(Clone)]
enum Contestant {
    InProcess(Arc<DurableStore>),
    Grpc(Client),
}

impl Contestant {
    async fn put(&self, writer: u64, key: Bytes, value: Bytes) {
        match self {
            Contestant::InProcess(store) => store.put(key, value).await.map(drop).expect("a write"),
            Contestant::Grpc(client) => client.put(writer, key, value).await,
        }
    }

    async fn get(&self, key: Bytes) -> Option<Bytes> {
        match self {
            Contestant::InProcess(store) => store.get(key).await.expect("a read").map(|kv| kv.value.clone()),
            Contestant::Grpc(client) => client.get(0, key).await,
        }
    }

    /// Forgets what was overwritten, and takes its time for it.
    async fn compact(&self) {
        let revision = self.revision().await;
        match self {
            Contestant::InProcess(store) => store.compact(revision).await.expect("a compaction"),
            Contestant::Grpc(client) => client.compact(revision).await,
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    async fn revision(&self) -> u64 {
        match self {
            Contestant::InProcess(store) => store.status().await.expect("it is open").revision,
            Contestant::Grpc(client) => client.revision().await,
        }
    }
}

/// The key of a writer's write: each writer has its own, so that what a key holds in the end is known.
fn key_of(writer: u64, writers: u64, number: u64) -> Bytes {
    let each = KEYS / writers;
    key(writer * each + scatter(number) % each)
}

async fn compare() {
    let (time, rounds) =
        (Duration::from_secs_f64(setting("KORE_BENCH_SECONDS", 4.0)), setting("KORE_BENCH_ROUNDS", 5.0) as u64);
    let only = setting("KORE_BENCH_WRITERS", 0.0) as u64;
    let connections = setting("KORE_BENCH_CONNECTIONS", 8.0) as usize;
    println!(
        "{rounds} rounds of {time:?} each, in turns; medians; 48 B keys of {KEYS}, 512 B values, each written once"
    );
    let history = std::env::var("KORE_BENCH_HISTORY").unwrap_or_default();
    let counts = [1, 64, 1000].into_iter().filter(|writers| only == 0 || only == *writers);
    let histories = ["kept", "compacted"].into_iter().filter(|name| history.is_empty() || history == *name);
    for (writers, history) in counts.flat_map(|writers| histories.clone().map(move |history| (writers, history))) {
        let dir = tempfile::tempdir_in(".").expect("a directory");
        let (store, run) = DurableStore::open(dir.path().join("here"), options()).await.expect("the store opens");
        let run = tokio::spawn(run);
        let (kore, etcd) = (Served::kore(&dir.path().join("kore")), Served::etcd(&dir.path().join("etcd")));
        let connections = connections.min(writers as usize);
        let contestants = [
            ("etcd, gRPC", Contestant::Grpc(Client::connect(etcd.address, connections).await)),
            ("kore, gRPC", Contestant::Grpc(Client::connect(kore.address, connections).await)),
            ("kore, in process", Contestant::InProcess(Arc::new(store.clone()))),
        ];
        let mut loads: Vec<Vec<Load>> = contestants.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for at in 0..contestants.len() {
                let contestant = contestants[at].1.clone();
                let put = move |writer, number| {
                    let number = round << 32 | number;
                    let (contestant, key) = (contestant.clone(), key_of(writer, writers, number));
                    async move { contestant.put(writer, key, value(writer, number, 512)).await }
                };
                loads[at].push(load(writers, time, put).await);
                if history == "compacted" {
                    contestants[at].1.compact().await;
                }
            }
        }
        report(writers, history, &contestants, &loads);
        for ((name, contestant), loads) in contestants.iter().zip(&loads) {
            verify(name, contestant, writers, loads).await;
        }
        store.close().await.expect("the store closes");
        run.await.expect("no panic").expect("the store ran to its end");
    }
}

fn report(writers: u64, history: &str, contestants: &[(&str, Contestant)], loads: &[Vec<Load>]) {
    let of = |loads: &[Load], figure: fn(&Load) -> f64| median(loads.iter().map(figure).collect());
    let etcd = of(&loads[0], Load::per_second);
    println!("{writers} writers, history {history}");
    for ((name, _), loads) in contestants.iter().zip(loads) {
        let per_second = of(loads, Load::per_second);
        let flushes = of(loads, |load| load.flushes.map_or(f64::NAN, |flushes| flushes as f64 / load.writes as f64));
        println!(
            "  {:>5.2} × etcd  {name:<17} {per_second:>8.0} writes/s  p50 {:>6.0} µs  p99 {:>6.0} µs  {flushes:.4} device flushes a write  rounds {}",
            per_second / etcd,
            of(loads, |load| load.percentile(50.0).into()),
            of(loads, |load| load.percentile(99.0).into()),
            loads.iter().map(|load| format!("{:.0}", load.per_second())).collect::<Vec<_>>().join(" "),
        );
    }
}

/// Compares what is there with what was written: every write took a revision, and the last write of every writer is there.
async fn verify(name: &str, contestant: &Contestant, writers: u64, loads: &[Load]) {
    let writes: u64 = loads.iter().map(|load| load.writes).sum();
    assert_eq!(contestant.revision().await, writes + 1, "{name}: every write took a revision");
    let last = loads.len() as u64 - 1;
    for writer in 0..writers {
        let number = last << 32 | loads[last as usize].last[writer as usize];
        let found = contestant.get(key_of(writer, writers, number)).await;
        assert!(found == Some(value(writer, number, 512)), "{name}: the last write of writer {writer} is there");
    }
}
