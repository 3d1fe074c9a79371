//! What Kubernetes' API server asks of its store, in the shapes in which it asks.

use std::sync::Arc;
use std::time::Duration;

use kore_store::EtcdServerOptions;

use crate::support::short::*;
use crate::support::{Client, Served, memory};
use crate::wire::*;

const PODS: &str = "/registry/pods/";

/// Writes a key if it is at this revision, and else reads it.
async fn optimistic(client: &Client, key: &str, value: &str, expected: i64) -> Result<i64, Vec<KeyValue>> {
    let request = txn(vec![at(key, expected)], vec![op(put(key, value))], vec![op(get(key))]);
    let done: TxnResponse = client.call("KV/Txn", &request).await.unwrap();
    match (done.succeeded, done.responses.into_iter().next().unwrap().response.unwrap()) {
        (true, Response::Put(_)) => Ok(revision(&done.header)),
        (false, Response::Range(found)) => Err(found.kvs),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn objects_are_created_updated_and_deleted_optimistically() {
    let served = Served::memory().await;
    let client = served.client().await;
    let key = "/registry/pods/default/web";
    let created = optimistic(&client, key, "v1", 0).await.unwrap();
    let exists = optimistic(&client, key, "v1", 0).await.unwrap_err();
    assert_eq!((exists[0].mod_revision, &exists[0].value[..]), (created, &b"v1"[..]));
    let updated = optimistic(&client, key, "v2", created).await.unwrap();
    assert_eq!(optimistic(&client, key, "v3", created).await.unwrap_err()[0].mod_revision, updated);

    let remove = |at_revision| txn(vec![at(key, at_revision)], vec![op(delete(key))], vec![op(get(key))]);
    let stale: TxnResponse = client.call("KV/Txn", &remove(created)).await.unwrap();
    assert!(!stale.succeeded);
    let gone: TxnResponse = client.call("KV/Txn", &remove(updated)).await.unwrap();
    assert!(gone.succeeded && revision(&gone.header) == updated + 1);
    assert!(optimistic(&client, key, "v4", updated).await.unwrap_err().is_empty());
}

#[tokio::test]
async fn a_list_is_paged_at_one_revision() {
    let served = Served::memory().await;
    let client = served.client().await;
    for pod in 0..25 {
        optimistic(&client, &format!("{PODS}default/web-{pod:02}"), "{}", 0).await.unwrap();
    }
    let first = RangeRequest { limit: 10, ..prefix(PODS) };
    let mut page: RangeResponse = client.call("KV/Range", &first).await.unwrap();
    let at = revision(&page.header);
    // What is written meanwhile is not part of it.
    optimistic(&client, &format!("{PODS}default/web-99"), "{}", 0).await.unwrap();
    let mut keys = Vec::new();
    loop {
        let left = 25 - keys.len() as i64;
        assert_eq!((page.count, page.more), (left, left > 10));
        keys.extend(page.kvs.iter().map(|kv| kv.key.clone()));
        if !page.more {
            break;
        }
        let mut key = keys.last().unwrap().to_vec();
        key.push(0);
        let next = RangeRequest { key: key.into(), revision: at, ..first.clone() };
        page = client.call("KV/Range", &next).await.unwrap();
    }
    assert!(keys.is_sorted() && keys.len() == 25);
    let count = RangeRequest { count_only: true, ..prefix(PODS) };
    let count: RangeResponse = client.call("KV/Range", &count).await.unwrap();
    assert_eq!((count.count, count.kvs.len(), count.more), (26, 0, false));
}

#[tokio::test]
async fn one_of_many_servers_compacts() {
    let served = Served::memory().await;
    let client = served.client().await;
    for value in 0..5 {
        client.call::<PutResponse>("KV/Put", &put("a", &value.to_string())).await.unwrap();
    }
    let attempt = |seen: i64| {
        let same = compare("compact_rev_key", CompareResult::Equal, CompareTarget::Version, TargetUnion::Version(seen));
        txn(vec![same], vec![op(put("compact_rev_key", "5"))], vec![op(get("compact_rev_key"))])
    };
    let won: TxnResponse = client.call("KV/Txn", &attempt(0)).await.unwrap();
    let lost: TxnResponse = client.call("KV/Txn", &attempt(0)).await.unwrap();
    assert!(won.succeeded && !lost.succeeded);
    let Some(Response::Range(found)) = &lost.responses[0].response else { panic!("{lost:?}") };
    assert_eq!((found.kvs[0].version, &found.kvs[0].value[..]), (1, &b"5"[..]));
    let compact = CompactionRequest { revision: 5, physical: false };
    client.call::<CompactionResponse>("KV/Compact", &compact).await.unwrap();
}

#[tokio::test]
async fn a_watch_cache_follows_a_list_and_asks_how_far_it_is() {
    let options = EtcdServerOptions::default().progress_interval(Duration::from_secs(5));
    let served = Served::store(Arc::new(memory()), options).await;
    let client = served.client().await;
    let created = optimistic(&client, &format!("{PODS}a"), "v1", 0).await.unwrap();
    let list: RangeResponse = client.call("KV/Range", &prefix(PODS)).await.unwrap();
    let request = WatchCreateRequest {
        start_revision: revision(&list.header) + 1,
        prev_kv: true,
        progress_notify: true,
        ..create_watch(PODS, end(PODS))
    };
    let mut stream = client.stream("Watch/Watch").await;
    stream.send(&watch(request));
    assert!(stream.next::<WatchResponse>().await.unwrap().unwrap().created);

    optimistic(&client, &format!("{PODS}a"), "v2", created).await.unwrap();
    let elsewhere = optimistic(&client, "/registry/nodes/n", "{}", 0).await.unwrap();
    // A consistent read from the cache: until the watch is known to be as far as this revision.
    let (mut fresh, mut told) = (0, Vec::new());
    while fresh < elsewhere {
        stream.send(&ask_progress());
        loop {
            let response: WatchResponse = stream.next().await.unwrap().unwrap();
            if response.events.is_empty() {
                assert_eq!(response.watch_id, -1);
                fresh = revision(&response.header);
                break;
            }
            told.extend(response.events);
        }
    }
    let [event] = &told[..] else { panic!("{told:?}") };
    let (kv, previous) = (event.kv.as_ref().unwrap(), event.prev_kv.as_ref().unwrap());
    assert_eq!((&kv.value[..], &previous.value[..]), (&b"v2"[..], &b"v1"[..]));
    assert_eq!(previous.mod_revision, created);
}
