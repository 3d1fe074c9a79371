//! Reading and writing.

use std::sync::Arc;

use kore_store::{EtcdServerOptions, Limits, MemoryStore};

use crate::support::short::*;
use crate::support::{Refused, Served};
use crate::wire::*;

#[tokio::test]
async fn what_is_put_can_be_read_and_deleted() {
    let served = Served::memory().await;
    let client = served.client().await;
    let first: PutResponse = client.call("KV/Put", &put("a", "1")).await.unwrap();
    assert_eq!((revision(&first.header), first.prev_kv), (2, None));
    let second = PutRequest { prev_kv: true, ..put("a", "2") };
    let second: PutResponse = client.call("KV/Put", &second).await.unwrap();
    assert_eq!(&second.prev_kv.unwrap().value[..], b"1");

    let found: RangeResponse = client.call("KV/Range", &get("a")).await.unwrap();
    assert_eq!((revision(&found.header), found.count, found.more), (3, 1, false));
    let kv = &found.kvs[0];
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
    // A read of the past states the present.
    let past: RangeResponse = client.call("KV/Range", &RangeRequest { revision: 2, ..get("a") }).await.unwrap();
    assert_eq!((revision(&past.header), &past.kvs[0].value[..]), (3, &b"1"[..]));

    let gone = DeleteRangeRequest { prev_kv: true, range_end: bytes("\0"), ..delete("\0") };
    let gone: DeleteRangeResponse = client.call("KV/DeleteRange", &gone).await.unwrap();
    assert_eq!((revision(&gone.header), gone.deleted, gone.prev_kvs.len()), (4, 1, 1));
    let gone: DeleteRangeResponse = client.call("KV/DeleteRange", &delete("a")).await.unwrap();
    assert_eq!((revision(&gone.header), gone.deleted), (4, 0));
}

#[tokio::test]
async fn errors_are_etcds() {
    let limits = Limits::default().quota_bytes(20_000).request_bytes(10_000);
    let store = MemoryStore::with_limits(limits);
    let served = Served::store(Arc::new(store), EtcdServerOptions::default().request_bytes(15_000)).await;
    let client = served.client().await;
    let leased = PutRequest { lease: 77, ..put("a", "1") };
    let twice = txn(vec![], vec![op(put("a", "1")), op(put("a", "2"))], vec![]);
    let many = txn(vec![], (0..129).map(|key| op(put(&key.to_string(), ""))).collect(), vec![]);
    let nothing = txn(vec![], vec![RequestOp { request: None }], vec![]);
    let value = PutRequest { ignore_value: true, ..put("a", "1") };
    let lease = PutRequest { ignore_lease: true, lease: 1, ..put("a", "1") };
    let missing = PutRequest { ignore_value: true, ..put("a", "") };
    let cases: &[(&str, Vec<u8>, u32, &str)] = &[
        ("KV/Put", of(put("", "1")), 3, "etcdserver: key is not provided"),
        ("KV/Range", of(get("")), 3, "etcdserver: key is not provided"),
        ("KV/DeleteRange", of(delete("")), 3, "etcdserver: key is not provided"),
        ("KV/Range", of(RangeRequest { sort_order: 7, ..get("a") }), 3, "etcdserver: invalid sort option"),
        ("KV/Range", of(RangeRequest { revision: 99, ..get("a") }), 11, FUTURE),
        ("KV/Put", of(leased), 5, "etcdserver: requested lease not found"),
        ("KV/Txn", of(twice), 3, "etcdserver: duplicate key given in txn request"),
        ("KV/Txn", of(many), 3, "etcdserver: too many operations in txn request"),
        ("KV/Txn", of(nothing), 3, "etcdserver: key not found"),
        ("KV/Put", of(value), 3, "etcdserver: value is provided"),
        ("KV/Put", of(lease), 3, "etcdserver: lease is provided"),
        ("KV/Put", of(missing), 3, "etcdserver: key not found"),
        ("KV/Put", of(put("a", &"x".repeat(12_000))), 3, "etcdserver: request is too large"),
        ("KV/Put", of(put("a", &"x".repeat(20_000))), 8, "grpc: received message larger than max (20007 vs. 15000)"),
        ("KV/Nothing", of(get("a")), 12, "unknown method Nothing for service etcdserverpb.KV"),
    ];
    for (method, request, code, message) in cases {
        let expected = Refused { code: *code, message: (*message).into() };
        assert_eq!(client.refused(method, request).await, expected, "{method}");
    }
    let malformed = client.refused("KV/Put", &[0xff; 5]).await;
    assert!(malformed.code == 3 && malformed.message.starts_with("etcdserver: malformed request"), "{malformed:?}");

    for key in ["a", "b"] {
        client.call::<PutResponse>("KV/Put", &put(key, &"x".repeat(9_000))).await.unwrap();
    }
    let compact = CompactionRequest { revision: 3, physical: true };
    client.call::<CompactionResponse>("KV/Compact", &compact).await.unwrap();
    let cases: &[(&str, Vec<u8>, u32, &str)] = &[
        ("KV/Put", of(put("c", &"x".repeat(9_000))), 8, "etcdserver: mvcc: database space exceeded"),
        ("KV/Compact", of(compact), 11, COMPACTED),
        ("KV/Compact", of(CompactionRequest { revision: 99, physical: false }), 11, FUTURE),
        ("KV/Range", of(RangeRequest { revision: 2, ..get("a") }), 11, COMPACTED),
    ];
    for (method, request, code, message) in cases {
        let expected = Refused { code: *code, message: (*message).into() };
        assert_eq!(client.refused(method, request).await, expected, "{method}");
    }
}

const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

fn of(request: impl prost::Message) -> Vec<u8> {
    request.encode_to_vec()
}

#[tokio::test]
async fn a_key_keeps_its_value_or_its_lease_if_that_is_asked() {
    let served = Served::memory().await;
    let client = served.client().await;
    let grant = LeaseGrantRequest { ttl: 100, id: 7 };
    client.call::<LeaseGrantResponse>("Lease/LeaseGrant", &grant).await.unwrap();
    client.call::<PutResponse>("KV/Put", &put("a", "1")).await.unwrap();
    let keep_value = PutRequest { ignore_value: true, lease: 7, prev_kv: true, ..put("a", "") };
    let done: PutResponse = client.call("KV/Put", &keep_value).await.unwrap();
    assert_eq!((revision(&done.header), &done.prev_kv.unwrap().value[..]), (3, &b"1"[..]));
    let keep_lease = PutRequest { ignore_lease: true, ..put("a", "2") };
    let nested = txn(vec![at("a", 3)], vec![op(keep_lease)], vec![]);
    let request = txn(vec![], vec![op(nested), op(get("a"))], vec![]);
    let done: TxnResponse = client.call("KV/Txn", &request).await.unwrap();
    assert!(done.succeeded && done.responses.len() == 2, "{done:?}");
    let Some(Response::Range(found)) = &done.responses[1].response else { panic!("{done:?}") };
    assert_eq!((&found.kvs[0].value[..], found.kvs[0].lease, found.kvs[0].version), (&b"2"[..], 7, 3));

    // A key that is not there fails the transaction only if it gets there.
    let missing = || op(PutRequest { ignore_value: true, ..put("none", "") });
    let taken = txn(vec![], vec![op(put("b", "1")), missing()], vec![]);
    assert_eq!(client.refused("KV/Txn", &of(taken)).await.message, "etcdserver: key not found");
    let passed = txn(vec![], vec![op(put("b", "1"))], vec![missing()]);
    let done: TxnResponse = client.call("KV/Txn", &passed).await.unwrap();
    assert_eq!(revision(&done.header), 5, "the one before changed nothing");
}

#[tokio::test]
async fn many_requests_go_at_once_over_one_connection() {
    let served = Served::memory().await;
    let client = served.client().await;
    let puts = (0..2000).map(|key| {
        let client = client.clone();
        async move { client.call::<PutResponse>("KV/Put", &put(&format!("k{key:04}"), "v")).await.unwrap() }
    });
    let mut revisions: Vec<_> = futures::future::join_all(puts).await.iter().map(|put| revision(&put.header)).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..2002).collect::<Vec<_>>());
    let page = RangeRequest { limit: 10, ..prefix("k") };
    let page: RangeResponse = client.call("KV/Range", &page).await.unwrap();
    assert_eq!((page.kvs.len(), page.count, page.more), (10, 2000, true));
}

#[tokio::test]
async fn large_requests_and_answers_go_through_in_parts() {
    let served = Served::memory().await;
    let client = served.client().await;
    let value = "x".repeat(1 << 20);
    let puts = (0..24).map(|key| {
        let (client, value) = (client.clone(), value.clone());
        async move { client.call::<PutResponse>("KV/Put", &put(&format!("k{key:02}"), &value)).await.unwrap() }
    });
    futures::future::join_all(puts).await;
    let all = prefix("k");
    let reads = (0..3).map(|_| client.call::<RangeResponse>("KV/Range", &all));
    for read in futures::future::join_all(reads).await {
        let read = read.unwrap();
        assert_eq!(read.kvs.len(), 24);
        assert!(read.kvs.iter().all(|kv| kv.value.len() == 1 << 20));
    }
}
