//! What each layer does to a store, and that a store behind all of them still is one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tower::ServiceBuilder;

use super::{Around, Call, Faults, Injected, Latency, Layer, Layered, Reply, Request};
use crate::layer::Answer;
use crate::{Entropy, Error, KeyRange, MemoryStore, Op, Range, Result, Store, Txn, WatchRequest, Watched};

/// Sees everything go by.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Around for Seen {
    async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
        let call = request.call();
        let (name, key) = (call.name(), call.first_key().cloned());
        let is_write = call.is_write();
        let answer = request.send(store).await;
        let revision = answer.as_ref().ok().and_then(|answer| answer.reply().revision());
        self.0.lock().unwrap().push(format!("{name} {key:?} {is_write} {revision:?}"));
        answer
    }
}

#[tokio::test]
async fn every_call_is_seen_as_what_it_is() {
    let seen = Seen::default();
    let store = Layered::new(MemoryStore::new(), seen.clone());
    store.put("a".into(), "1".into()).await.unwrap();
    store.get("a".into()).await.unwrap();
    store.txn(Txn::new().then(Op::get("b"))).await.unwrap();
    drop(store.watch(WatchRequest::key("c")).await.unwrap());
    store.compact(2).await.unwrap();
    store.status().await.unwrap();
    store.grant(Duration::from_secs(9), 7).await.unwrap();
    store.keep_alive(7).await.unwrap();
    store.lease(7).await.unwrap();
    store.leases().await.unwrap();
    store.revoke(7).await.unwrap();
    drop(store.snapshot().await);
    let expected = [
        r#"txn Some(b"a") true Some(2)"#,
        r#"range Some(b"a") false Some(2)"#,
        r#"txn Some(b"b") false Some(2)"#,
        r#"watch Some(b"c") false None"#,
        "compact None true None",
        "status None false Some(2)",
        "grant None true None",
        "keep_alive None true None",
        "lease None false None",
        "leases None false None",
        "revoke None true None",
    ];
    let seen = seen.take();
    assert_eq!(seen[..expected.len()], expected);
    assert!(seen[expected.len()].starts_with("snapshot None false"));
}

#[tokio::test]
async fn the_keys_of_a_reply_are_counted_also_inside_a_nested_transaction() {
    let store = MemoryStore::new();
    let nested = Txn::new().then(Op::put("b", "1")).then(Op::get("a"));
    let done = store.txn(Txn::new().then(Op::put("a", "1")).then(Op::Txn(nested))).await.unwrap();
    assert_eq!(done.reply().keys(), Some(3));
    let read = store.range(Range::prefix("")).await.unwrap();
    assert_eq!((read.reply().keys(), read.reply().revision()), (Some(2), Some(2)));
    assert!(matches!(().reply(), Reply::Done));
}

/// The lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_warned_about_and_a_fast_one_is_not() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let inner = MemoryStore::new();
    let latency = Latency::new(Duration::from_millis(100));
    latency.layer(inner.clone()).put("quick".into(), "1".into()).await.unwrap();
    let late = Faults::new(Entropy::seeded(1)).delay(Duration::from_secs(10));
    let store = latency.layer(late.layer(inner));
    store.put("late".into(), "1".into()).await.unwrap();
    store.range(Range::prefix("")).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(200), store.get("given-up".into()));
    assert!(given_up.await.is_err());

    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(!lines.contains("quick"), "{lines}");
    for (line, parts) in lines.lines().zip([
        [r#"call="txn""#, r#"key="late""#, "keys=1", "revision=3", r#"outcome="ok""#],
        [r#"call="range""#, r#"key="""#, "keys=2", "revision=3", r#"outcome="ok""#],
        [r#"call="range""#, r#"key="given-up""#, "WARN", "elapsed_ms=200", r#"outcome="cancelled""#],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} in {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_call_says_of_its_outcome_is_true() {
    let inner = MemoryStore::new();
    let faults = Faults::new(Entropy::seeded(5)).lost_requests(300).lost_answers(300).delay(Duration::from_millis(5));
    let store = faults.layer(inner.clone());
    let mut unknown = 0;
    for number in 0..200 {
        let key = format!("key/{number}");
        let written = store.put(key.clone().into(), "value".into()).await;
        let is_there = inner.get(key.into()).await.unwrap().is_some();
        match written {
            Ok(_) => assert!(is_there),
            Err(Error::OutcomeUnknown { .. }) => {
                assert!(is_there);
                unknown += 1;
            }
            Err(Error::Unavailable { .. }) => assert!(!is_there),
            Err(error) => panic!("{error}"),
        }
    }
    let injected = faults.injected();
    assert_eq!(unknown, injected.lost_answers);
    assert!(injected.lost_requests > 0 && injected.lost_answers > 0);
    // Nothing that reads has an unknown outcome.
    for _ in 0..200 {
        for error in [store.get("key/1".into()).await.err(), store.status().await.err()].into_iter().flatten() {
            assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        }
    }
    faults.stop();
    let injected = faults.injected();
    for number in 0..50 {
        store.put(format!("later/{number}").into(), "value".into()).await.unwrap();
    }
    assert_eq!(faults.injected(), injected);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_everything_in_order_until_it_breaks() {
    let inner = MemoryStore::new();
    let faults = Faults::new(Entropy::seeded(5)).broken_watches(100);
    let store = faults.layer(inner.clone());
    let mut watch = store.watch(WatchRequest::prefix("").from(1)).await.unwrap();
    for number in 0..200 {
        inner.put(format!("key/{number}").into(), "value".into()).await.unwrap();
    }
    let mut expected = 2;
    loop {
        match watch.next().await.expect("it breaks before it ends") {
            Ok(Watched::Batch(batch)) => assert_eq!(batch.revision, expected),
            Ok(_) => continue,
            Err(Error::Unavailable { .. }) => break,
            Err(error) => panic!("{error}"),
        }
        expected += 1;
    }
    assert!(expected < 202 && watch.next().await.is_none());
    assert_eq!(faults.injected(), Injected { broken_watches: 1, ..Injected::default() });
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_its_faults() {
    let run = async |seed| {
        let faults =
            Faults::new(Entropy::seeded(seed)).lost_requests(200).lost_answers(200).delay(Duration::from_secs(1));
        let store = faults.layer(MemoryStore::new());
        let begun = tokio::time::Instant::now();
        let put = |number: usize| store.put(format!("{}", number % 5).into(), "v".into());
        let answers = futures::future::join_all((0..50).map(put)).await;
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())).collect();
        (answers, begun.elapsed())
    };
    assert_eq!(run(3).await, run(3).await);
    assert_ne!(run(3).await, run(4).await);
}

#[tokio::test(start_paused = true)]
async fn faults_can_be_kept_from_some_calls() {
    let faults =
        Faults::new(Entropy::seeded(1)).lost_requests(1000).among(|call| matches!(call, Call::Txn(_) | Call::Range(_)));
    let store = faults.layer(MemoryStore::new());
    assert!(store.get("a".into()).await.is_err());
    assert!(store.delete(KeyRange::Key("a".into())).await.is_err());
    store.grant(Duration::from_secs(1), 0).await.unwrap();
    store.status().await.unwrap();
}

#[cfg(feature = "prometheus-client")]
#[tokio::test(start_paused = true)]
async fn calls_and_watches_are_counted() {
    let mut registry = prometheus_client::registry::Registry::default();
    let faults = Faults::new(Entropy::seeded(1)).delay(Duration::from_secs(1));
    let store = ServiceBuilder::new()
        .layer(super::Metrics::new(&mut registry))
        .layer(faults.clone())
        .service(MemoryStore::new());
    let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
    let closed = store.watch(WatchRequest::prefix("")).await.unwrap();
    drop(closed);
    let both = Txn::new().then(Op::put("a", "1")).then(Op::put("b", "1"));
    store.txn(both).await.unwrap();
    store.get("a".into()).await.unwrap();
    assert!(store.range(Range::key("a").at(99)).await.is_err());
    drop(tokio::time::timeout(Duration::from_micros(1), store.status()).await);
    assert!(watch.next().await.unwrap().is_ok());

    let page = |registry: &_| {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, registry).unwrap();
        page
    };
    let found = page(&registry);
    for line in [
        "# TYPE kore_store_requests counter",
        r#"kore_store_requests_total{call="txn",outcome="ok"} 1"#,
        r#"kore_store_requests_total{call="range",outcome="ok"} 1"#,
        r#"kore_store_requests_total{call="range",outcome="future_revision"} 1"#,
        r#"kore_store_requests_total{call="status",outcome="cancelled"} 1"#,
        r#"kore_store_requests_total{call="watch",outcome="ok"} 2"#,
        "# TYPE kore_store_request_duration_seconds histogram",
        r#"kore_store_request_duration_seconds_count{call="range"} 2"#,
        "kore_store_watches 1",
        "kore_store_watch_events_total 2",
    ] {
        assert!(found.lines().any(|found| found == line), "{line} in {found}");
    }
    drop(watch);
    assert!(page(&registry).contains("kore_store_watches 0"));
}

#[tokio::test(start_paused = true)]
async fn a_store_behind_layers_conforms() {
    let store = ServiceBuilder::new()
        .layer(Latency::new(Duration::from_secs(1)))
        .layer(Faults::new(Entropy::seeded(9)).delay(Duration::from_millis(2)))
        .service(MemoryStore::new());
    let report = crate::conformance::run(&store).await;
    assert!(report.is_passed(), "{report}");
}

#[tokio::test]
async fn a_layer_costs_no_wait() {
    let store = Layered::new(MemoryStore::new(), Seen::default());
    let put = store.put("a".into(), "1".into());
    assert!(put.now_or_never().is_some());
}
