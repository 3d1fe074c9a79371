//! How fast the API is inside its own process: `cargo bench -p kore-api --bench in_process [-- NAME…]`.
//!
//! | name | measures |
//! |---|---|
//! | `creates` | creates of a 700-byte ConfigMap a second at 1 and 64 in flight, on a durable store: each answered when it is flushed |
//! | `informer` | objects a second that 16 informers of one resource get to see of a stream of creates, and how late the last one is |
//! | `watches` | resident bytes an idle watch |
//!
//! Everything runs in the server's default configuration: authorisation, admission, defaults, validation, managed fields. What was made
//! is listed afterwards and compared. `KORE_BENCH_SECONDS` is how long each round of `creates` takes (default 3); the medians of
//! `KORE_BENCH_ROUNDS` rounds (default 5) are printed.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kore_api::auth::User;
use kore_api::client::{DynamicApi, Selection};
use kore_api::object::ResourceType;
use kore_api::request::Options;
use kore_api::server::Server;
use kore_store::{DurableStore, MemoryStore, Store};
use mimalloc::MiMalloc;
use serde_json::{Value, json};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const PAYLOAD_BYTES: usize = 528;
const INFORMERS: usize = 16;
const WATCHES: usize = 10_000;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if wanted("creates") {
        runtime.block_on(creates());
    }
    if wanted("informer") {
        runtime.block_on(informer());
    }
    if wanted("watches") {
        runtime.block_on(watches());
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn config(name: &str) -> Value {
    let payload = "0123456789abcdef".repeat(PAYLOAD_BYTES / 16);
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "load"}},
        "data": {"payload": payload, "owner": "load"}})
}

fn configs(server: &Server) -> DynamicApi {
    server.client(User::admin()).dynamic(ResourceType::of::<ConfigMap>()).in_namespace("default")
}

/// Runs `work` with a server on a store.
async fn serve<T>(store: Arc<dyn Store>, work: impl AsyncFnOnce(&Server) -> T) -> T {
    let (server, run) = Server::builder(store).open().await.expect("the server opens");
    let run = tokio::spawn(run);
    let outcome = work(&server).await;
    run.abort();
    outcome
}

async fn creates() {
    let seconds = Duration::from_secs(number("KORE_BENCH_SECONDS", 3));
    for writers in [1_usize, 64] {
        let mut rates = Vec::new();
        for _ in 0..number("KORE_BENCH_ROUNDS", 5) {
            let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
            let (store, run) = DurableStore::open(dir.path(), Default::default()).await.expect("the store opens");
            let run = tokio::spawn(run);
            let rate = serve(Arc::new(store.clone()), async |server| {
                let began = Instant::now();
                let workers = (0..writers).map(|writer| {
                    let api = configs(server);
                    tokio::spawn(async move {
                        let mut made = 0_u64;
                        while began.elapsed() < seconds {
                            let object = config(&format!("c-{writer}-{made}"));
                            api.create(object, &Options::default()).await.expect("it is made");
                            made += 1;
                        }
                        made
                    })
                });
                let workers: Vec<_> = workers.collect();
                let mut made = 0;
                for worker in workers {
                    made += worker.await.expect("a writer ends");
                }
                let rate = made as f64 / began.elapsed().as_secs_f64();
                let there = configs(server).list(&Options::default()).await.expect("a list").items;
                assert_eq!(there.len() as u64, made, "all that was made is there");
                let first = there[0].to_value();
                assert_eq!(first["data"], config("x")["data"]);
                assert!(first["metadata"]["managedFields"].is_array());
                rate
            })
            .await;
            rates.push(rate);
            store.close().await.expect("closed");
            run.abort();
        }
        println!("creates in process, {writers:>2} in flight: {:>9.0}/s", median(rates));
    }
}

async fn informer() {
    const OBJECTS: u64 = 100_000;
    let mut rates = Vec::new();
    for _ in 0..number("KORE_BENCH_ROUNDS", 5) {
        let rate = serve(Arc::new(MemoryStore::new()), async |server| {
            let seen = Arc::new(AtomicU64::new(0));
            let client = server.client(User::admin());
            let mut tasks = Vec::new();
            let mut informers = Vec::new();
            for _ in 0..INFORMERS {
                let (informer, follow) = client.informer::<ConfigMap>(Selection::all().namespace("default"));
                tasks.push(tokio::spawn(follow));
                informer.synced().await;
                let (mut changes, seen) = (informer.subscribe(), seen.clone());
                tasks.push(tokio::spawn(async move {
                    while let Some(_change) = changes.next().await {
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                }));
                informers.push(informer);
            }
            let api = configs(server);
            let began = Instant::now();
            let creates = futures::stream::iter(0..OBJECTS).map(|at| {
                let api = api.clone();
                async move { api.create(json!({"metadata": {"name": format!("o-{at}")}}), &Options::default()).await }
            });
            let revisions: Vec<u64> =
                creates.buffer_unordered(64).map(|made| made.expect("it is made").revision()).collect().await;
            let made = began.elapsed();
            let last = revisions.into_iter().max().expect("some");
            for informer in &informers {
                informer.reached(last).await;
                assert_eq!(informer.len() as u64, OBJECTS, "an informer has all there is");
            }
            let late = began.elapsed() - made;
            let deliveries = (OBJECTS * INFORMERS as u64) as f64 / began.elapsed().as_secs_f64();
            println!(
                "  {deliveries:>9.0} deliveries/s, the last {late:?} after the last create; {} noticed",
                seen.load(Ordering::Relaxed)
            );
            tasks.iter().for_each(tokio::task::JoinHandle::abort);
            deliveries
        })
        .await;
        rates.push(rate);
    }
    println!("informers, {INFORMERS} of one resource, bound by the creates: {:>9.0} deliveries/s", median(rates));
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("statm");
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

async fn watches() {
    serve(Arc::new(MemoryStore::new()), async |server| {
        let api = configs(server);
        let from = api.list(&Options::default()).await.expect("a list").revision;
        let options = Options::default().from_revision(from).allow_watch_bookmarks(true);
        let before = resident_bytes();
        let mut open = Vec::with_capacity(WATCHES);
        for _ in 0..WATCHES {
            let mut watch = api.watch(&options).await.expect("a watch");
            open.push(tokio::spawn(async move { watch.next().await.is_some() }));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let each = (resident_bytes() - before) as f64 / WATCHES as f64;
        println!("an idle watch, of {WATCHES}: {each:.0} bytes");
        let began = Instant::now();
        api.create(json!({"metadata": {"name": "one"}}), &Options::default()).await.expect("it is made");
        let mut told = 0;
        for watch in open {
            told += usize::from(watch.await.expect("a watch ends"));
        }
        assert_eq!(told, WATCHES, "each of them is told");
        println!("one change has reached all of them after {:?}", began.elapsed());
    })
    .await;
}
