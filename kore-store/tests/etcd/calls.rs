//! What the suite does not reach: etcd's limits, nested transactions, snapshots.

use std::time::Duration;

use futures::StreamExt;
use kore_store::{Compare, Delete, Error, KeyRange, Limits, Op, OpResponse, Put, Range, Store, Target, Txn};

use crate::harness::{Etcd, connect, etcdctl};

#[tokio::test]
#[ignore = "needs etcd"]
async fn refusals_name_what_they_are_about() {
    let etcd = Etcd::start(1, &["--max-txn-ops", "4", "--max-request-bytes", "20000"]).await;
    let store = etcd.store().await;

    let lease = store.grant(Duration::from_secs(60), 0).await.unwrap();
    let both = Txn::new()
        .then(Put::new("a", "v").lease(lease.id).into())
        .then(Op::Txn(Txn::new().then(Put::new("b", "v").lease(4711).into())));
    let error = store.txn(both).await.unwrap_err();
    assert!(matches!(error, Error::LeaseNotFound { id: 4711 }), "{error}");
    let error = store.grant(Duration::from_secs(1 << 40), 0).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 1_099_511_627_776, .. }), "{error}");

    let error = store.txn(Txn::new().then(Op::put("a", "v")).then(Op::delete_prefix("a"))).await.unwrap_err();
    assert!(matches!(&error, Error::DuplicateKey { key } if key == "a"), "{error}");

    // Limits that are etcd's and not known here, and such that are.
    let many = (0..5).fold(Txn::new(), |txn, key| txn.then(Op::put(key.to_string(), "")));
    for (what, error) in [
        ("operations", store.txn(many.clone()).await.unwrap_err()),
        ("bytes", store.put("a".into(), vec![0; 30_000].into()).await.unwrap_err()),
        ("bytes, beyond what gRPC takes", store.put("a".into(), vec![0; 1_200_000].into()).await.unwrap_err()),
    ] {
        assert!(matches!(error, Error::TooLarge { .. }), "{what}: {error}");
    }
    let knowing = connect(etcd.options().limits(Limits::default().txn_ops(4))).await;
    let error = knowing.txn(many).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 5, limit: 4, .. }), "{error}");

    let mut revisions = Vec::new();
    for number in 0..100 {
        revisions.push(store.put("a".into(), number.to_string().into()).await.unwrap());
    }
    let last = revisions[99];
    store.compact(revisions[60]).await.unwrap();
    let expected = |error: Error, requested| match error {
        Error::Compacted { requested: found, at } => assert_eq!((found, at), (requested, revisions[60])),
        error => panic!("{error}"),
    };
    expected(store.range(Range::key("a").at(revisions[10])).await.unwrap_err(), revisions[10]);
    let read = Txn::new().then(Op::put("b", "")).then(Range::key("a").at(revisions[59]).into());
    expected(store.txn(read).await.unwrap_err(), revisions[59]);
    for requested in [0, 1, revisions[59], revisions[60]] {
        expected(store.compact(requested).await.unwrap_err(), requested);
    }
    for requested in [last + 1, u64::MAX] {
        let error = store.range(Range::key("a").at(requested)).await.unwrap_err();
        assert!(
            matches!(error, Error::FutureRevision { requested: found, current } if (found, current) == (requested, last))
        );
        let error = store.compact(requested).await.unwrap_err();
        assert!(
            matches!(error, Error::FutureRevision { requested: found, current } if (found, current) == (requested, last))
        );
    }
    let status = store.status().await.unwrap();
    assert_eq!((status.revision, status.compacted, status.keys), (last, revisions[60], 1));
    assert!(status.bytes > 0, "{status:?}");
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_full_etcd_says_so() {
    let etcd = Etcd::start(1, &["--quota-backend-bytes", "500000"]).await;
    let store = etcd.store().await;
    let mut number = 0;
    let error = loop {
        match store.put(format!("key-{number}").into(), vec![0; 100_000].into()).await {
            Ok(_) if number < 100 => number += 1,
            Ok(_) => panic!("it takes everything"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::QuotaExceeded { needed, .. } if needed > 100_000), "{error}");
    assert_eq!(store.delete(KeyRange::Prefix("key-".into())).await.unwrap(), number);
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn transactions_nest_and_sets_without_keys_are_empty() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    let inner = Txn::new().when(Compare::version("a", 0)).then(Op::get("a")).otherwise(Op::put("never", ""));
    let outer = Txn::new().then(Op::put("a", "new")).then(Op::Txn(inner)).then(Op::get("a"));
    let done = store.txn(outer).await.unwrap();
    let [OpResponse::Put { previous: None }, OpResponse::Txn(nested), OpResponse::Range(read)] = &done.responses[..]
    else {
        panic!("{done:?}");
    };
    // Compared before, read behind what was written.
    assert!(nested.succeeded && nested.revision == done.revision);
    assert_eq!(nested.first_kv().map(|kv| kv.mod_revision), Some(done.revision));
    assert_eq!((read.revision, read.count), (done.revision, 1));

    for nothing in [
        KeyRange::Key("".into()),
        KeyRange::Interval { start: "b".into(), end: Some("a".into()) },
        KeyRange::Interval { start: "".into(), end: Some("".into()) },
        KeyRange::Interval { start: "\0".into(), end: Some("\0".into()) },
    ] {
        let read = store.range(Range::new(nothing.clone())).await.unwrap();
        assert_eq!((read.count, read.revision), (0, done.revision), "{nothing:?}");
        let deleted = store.txn(Txn::new().then(Delete::new(nothing.clone()).into())).await.unwrap();
        assert_eq!(deleted.revision, done.revision, "{nothing:?}");
        let compare = |version| Txn::new().when(Compare::new(nothing.clone(), Target::Version(version)));
        assert!(store.txn(compare(0)).await.unwrap().succeeded, "{nothing:?}");
    }
    assert_eq!(store.status().await.unwrap().keys, 1);
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_snapshot_is_one_that_etcd_restores() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    let mut revision = 0;
    for number in 0..200 {
        revision = store.put(format!("key-{number}").into(), vec![b'v'; 5000].into()).await.unwrap();
    }
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.revision(), revision);
    let chunks: Vec<_> = snapshot.map(|chunk| chunk.unwrap()).collect().await;
    assert!(chunks.len() > 1);
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("snapshot");
    std::fs::write(&path, chunks.concat()).unwrap();
    let restored = files.path().join("restored");
    let endpoint = &etcd.members[0].endpoint;
    // It checks the checksum.
    etcdctl(endpoint, &["snapshot", "restore", path.to_str().unwrap(), "--data-dir", restored.to_str().unwrap()]);
    let status = etcdctl(endpoint, &["snapshot", "status", path.to_str().unwrap()]);
    let fields: Vec<&str> = status.trim().split(", ").collect();
    assert_eq!(fields[1], revision.to_string(), "{status}");
}
