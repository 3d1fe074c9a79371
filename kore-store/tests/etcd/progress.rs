//! What requested progress says, and what is made of it.

use futures::StreamExt;
use kore_store::{EtcdStore, Progress, Revision, Store, WatchRequest, Watched};

use crate::harness::{Etcd, connect};

const EVENTS: usize = 20_000;

/// Writes so many events, one a revision, and answers with the first and the last revision.
async fn write(store: &EtcdStore) -> (Revision, Revision) {
    let before = store.status().await.unwrap().revision;
    futures::stream::iter(0..EVENTS)
        .map(|number| async move { store.put(format!("p/{number}").into(), "v".into()).await.unwrap() })
        .buffer_unordered(200)
        .for_each(|_| std::future::ready(()))
        .await;
    (before + 1, before + EVENTS as u64)
}

/// How many events came before the progress that was asked for at once; and the progress.
async fn asked_at_once(store: &EtcdStore, first: Revision) -> (usize, Revision) {
    let mut watch = store.watch(WatchRequest::prefix("p/").from(first)).await.unwrap();
    watch.request_progress();
    let mut events = 0;
    loop {
        match watch.next().await.unwrap().unwrap() {
            Watched::Batch(batch) => events += batch.events.len(),
            Watched::Progress(revision) => return (events, revision),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn this_etcd_lies_and_the_store_does_not() {
    let etcd = Etcd::single().await;
    let store = etcd.store().await;
    let (first, last) = write(&store).await;
    let raw = connect(etcd.options().progress(Progress::Requested)).await;
    let (told, progress) = asked_at_once(&raw, first).await;
    assert!(progress >= last && told < EVENTS, "an etcd that tells the truth: {told} events before {progress}");
    for _ in 0..5 {
        let (told, progress) = asked_at_once(&store, first).await;
        assert!(progress >= last && told == EVENTS, "{told} events before {progress}");
    }
}
