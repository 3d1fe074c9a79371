//! Watches where etcd makes it hard: queues that run full, large revisions, markers.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use kore_store::{Entropy, Error, EtcdStore, KeyRange, Op, Put, Revision, Store, Txn, Watch, WatchRequest, Watched};
use tokio::time::timeout;

use crate::harness::{Etcd, connect};

const PATIENCE: Duration = Duration::from_secs(20);

async fn next(watch: &mut Watch) -> Option<Result<Watched, Error>> {
    timeout(PATIENCE, watch.next()).await.expect("the watch tells nothing")
}

/// The keys told until progress, and the progress.
async fn until_progress(watch: &mut Watch) -> (Vec<Bytes>, Revision) {
    let mut keys = Vec::new();
    loop {
        match next(watch).await.unwrap().unwrap() {
            Watched::Batch(batch) => keys.extend(batch.events.iter().map(|event| event.kv.key.clone())),
            Watched::Progress(revision) => return (keys, revision),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_revision_larger_than_a_message_is_one_batch() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    for page in 0..30 {
        let put = |number| Op::put(format!("k/{page:02}/{number:03}"), vec![b'v'; 2000]);
        store.txn((0..100).map(put).fold(Txn::new(), Txn::then)).await.unwrap();
    }
    let mut watch = store.watch(WatchRequest::prefix("k/").with_previous()).await.unwrap();
    assert_eq!(store.delete(KeyRange::Prefix("k/".into())).await.unwrap(), 3000);
    let Watched::Batch(batch) = next(&mut watch).await.unwrap().unwrap() else { panic!("no batch") };
    assert_eq!(batch.events.len(), 3000);
    assert!(batch.events.is_sorted_by_key(|event| event.kv.key.clone()));
    assert!(batch.events.iter().all(|event| event.previous.as_ref().is_some_and(|kv| kv.value.len() == 2000)));
}

/// A watcher that does not read: its member's queue runs full, and a compaction passes it.
#[tokio::test]
#[ignore = "needs etcd"]
async fn a_watcher_behind_a_full_queue_and_a_compaction_misses_nothing_silently() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    for round in 0..4 {
        let key = |number: usize| -> Bytes { format!("{round}/{number:04}").into() };
        let mut watch = store.watch(WatchRequest::prefix(format!("{round}/"))).await.unwrap();
        let mut last = 0;
        for number in 0..400 {
            last = store.put(key(number), vec![0; 64 << 10].into()).await.unwrap();
        }
        store.compact(last).await.unwrap();
        let mut expected = 0;
        let refused = loop {
            match next(&mut watch).await.unwrap() {
                Ok(Watched::Batch(batch)) => {
                    assert_eq!(batch.events[0].kv.key, key(expected), "a gap");
                    expected += 1;
                }
                Ok(_) => {}
                Err(error) => break error,
            }
            assert!(expected <= 400, "it was refused nothing, and a compaction had passed it");
            // Slowly, as long as the queue is full: that is when events are dropped.
            if expected < 300 {
                tokio::time::sleep(Duration::from_millis(2 + 20 * round)).await;
            }
            // There is always one more.
            if expected > 100 && expected % 100 == 0 {
                store.put(key(400), "more".into()).await.unwrap();
            }
        };
        assert!(matches!(refused, Error::Compacted { .. }), "{refused}");
        assert!(watch.next().await.is_none(), "an error is the last item");
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn progress_comes_for_every_set_of_keys_and_leaves_nothing_behind() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    let before = store.put("m/a".into(), "v".into()).await.unwrap();
    let interval = |start: &'static str, end: Option<&'static str>| KeyRange::Interval {
        start: start.into(),
        end: end.map(Into::into),
    };
    for keys in [
        KeyRange::Key("m/a".into()),
        KeyRange::Prefix("m/".into()),
        KeyRange::Prefix("\u{7f}".into()),
        KeyRange::all(),
        interval("m", Some("n")),
        interval("m", None),
        interval("n", Some("m")),
        KeyRange::Key("".into()),
    ] {
        for request in [
            WatchRequest::new(keys.clone()),
            WatchRequest::new(keys.clone()).from(before + 1),
            WatchRequest::new(keys.clone()).without_puts(),
            WatchRequest::new(keys.clone()).without_deletions(),
        ] {
            let mut watch = store.watch(request.clone()).await.unwrap();
            let at = store.put("other".into(), "v".into()).await.unwrap();
            watch.request_progress();
            let (told, progress) = until_progress(&mut watch).await;
            assert!(progress >= at, "{request:?}: {progress}");
            assert!(told.iter().all(|key| key == "other"), "{request:?} told {told:?}");
        }
    }
    let left = store.range(kore_store::Range::prefix("")).await.unwrap();
    let left: Vec<_> = left.kvs.iter().map(|kv| kv.key.clone()).collect();
    assert_eq!(left, ["m/a", "other"]);
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_key_where_the_marker_goes_stays_as_it_is() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    let lease = store.grant(Duration::from_secs(600), 0).await.unwrap();
    let put = Put::new("m0", "somebody's").lease(lease.id);
    store.txn(Txn::new().then(put.into())).await.unwrap();
    let mut watch = store.watch(WatchRequest::prefix("m/")).await.unwrap();
    let at = store.put("other".into(), "v".into()).await.unwrap();
    watch.request_progress();
    let (told, progress) = until_progress(&mut watch).await;
    assert!(told.is_empty() && progress >= at, "{told:?}, {progress}");
    let kv = store.get("m0".into()).await.unwrap().unwrap();
    assert_eq!((&kv.value[..], kv.lease), (&b"somebody's"[..], lease.id));
}

/// How far the revision moves in this time, while these watches are read.
async fn movement(store: &EtcdStore, watches: &mut [Watch], time: Duration) -> u64 {
    let before = store.status().await.unwrap().revision;
    let reading = futures::future::join_all(watches.iter_mut().map(|watch| {
        watch.for_each(|told| {
            told.unwrap();
            std::future::ready(())
        })
    }));
    assert!(timeout(time, reading).await.is_err(), "a watch ended");
    store.status().await.unwrap().revision - before
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn idle_watches_tell_progress_and_do_not_keep_each_other_awake() {
    let etcd = Etcd::single().await;
    let store = connect(etcd.options().progress_interval(Duration::from_millis(100))).await;
    let mut watches = Vec::new();
    for name in ["a/", "b/", "c/"] {
        watches.push(store.watch(WatchRequest::prefix(name).with_progress()).await.unwrap());
    }
    let at = store.put("other".into(), "v".into()).await.unwrap();
    for watch in &mut watches {
        let (told, progress) = until_progress(watch).await;
        assert!(told.is_empty() && progress >= at);
    }
    movement(&store, &mut watches, Duration::from_secs(1)).await;
    assert_eq!(movement(&store, &mut watches, Duration::from_secs(2)).await, 0);
}

/// Reads at its own pace until this revision. Every revision has one event: a gap is a loss. Who falls behind a compaction
/// is told so, and begins again where he is told that he can. Answers with how often that was.
async fn follow(store: &EtcdStore, last: &Cell<Revision>, pace: Duration) -> usize {
    let mut refusals = 0;
    let mut next_revision = store.status().await.unwrap().revision + 1;
    loop {
        let mut watch = match store.watch(WatchRequest::prefix("k").from(next_revision)).await {
            Ok(watch) => watch,
            Err(Error::Compacted { at, requested }) => {
                assert!(at >= requested, "sent back from {requested} to {at}");
                refusals += 1;
                next_revision = at;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        loop {
            if last.get() > 0 && next_revision > last.get() {
                return refusals;
            }
            match next(&mut watch).await.unwrap() {
                Ok(Watched::Batch(batch)) => {
                    assert_eq!(batch.revision, next_revision, "a gap");
                    assert_eq!(batch.events.len(), 1);
                    next_revision += 1;
                }
                Ok(_) => {}
                Err(Error::Compacted { at, .. }) => {
                    refusals += 1;
                    next_revision = next_revision.max(at);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            if !pace.is_zero() && last.get() == 0 {
                tokio::time::sleep(pace).await;
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn watchers_of_any_pace_see_no_gap_while_everything_is_compacted() {
    const WRITES: usize = 4000;
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    let first = store.put("k".into(), "begin".into()).await.unwrap();
    let last = Cell::new(0);
    let entropy = Entropy::seeded(11);
    let value = Bytes::from(vec![0; 32 << 10]);
    let writing = async {
        let mut revision = first;
        for number in 0..WRITES {
            let key: Bytes = format!("k{}", number / 2 % 7).into();
            revision = match number % 2 {
                0 => store.put(key, value.clone()).await.unwrap(),
                _ => store.txn(Txn::new().then(Op::delete(key))).await.unwrap().revision,
            };
            if number % 20 == 0 {
                // It may have been there before.
                drop(store.compact(revision.saturating_sub(50 + entropy.below(500)).max(1)).await);
            }
        }
        last.set(revision);
        // Something to tell for who waits.
        store.put("k".into(), "end".into()).await.unwrap();
    };
    let paces = [0, 0, 1, 3, 20].map(Duration::from_millis);
    let following = futures::future::join_all(paces.iter().map(|pace| follow(&store, &last, *pace)));
    let (refusals, ()) = futures::future::join(following, writing).await;
    println!("refused so often: {refusals:?}");
    assert!(refusals[4] > 0, "nobody fell behind");
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn watches_that_nobody_reads_hold_nobody_up() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    let mut watches = Vec::new();
    for _ in 0..20 {
        watches.push(store.watch(WatchRequest::prefix("k")).await.unwrap());
    }
    let writing = async {
        for number in 0..100 {
            store.put(format!("k{number:02}").into(), vec![0; 64 << 10].into()).await.unwrap();
        }
        store.get("k99".into()).await.unwrap().unwrap()
    };
    let kv = timeout(PATIENCE, writing).await.expect("calls wait for watches");
    for watch in &mut watches {
        let mut told = 0;
        while told < kv.mod_revision {
            let Watched::Batch(batch) = next(watch).await.unwrap().unwrap() else { continue };
            told = batch.revision;
        }
    }
}
