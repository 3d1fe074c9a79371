//! Clients that go away in the middle, and a store whose watches break.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kore_api::Entropy;
use kore_api::patch::PatchKind;
use kore_api::registry::NODE_PORTS;
use kore_api::request::{Options, WatchEvent};
use kore_store::{
    Error, Range, Ranged, Result, Revision, Status, Store, Txn, TxnResponse, Watch, WatchRequest, WatchSource, Watched,
};
use serde_json::json;

use crate::harness::*;

/// A store that takes its time, and whose watches break now and then.
struct Frail {
    inner: Arc<dyn Store>,
    entropy: Entropy,
    /// One of so many items is an error; 0: none.
    breaks_one_in: u64,
}

#[async_trait::async_trait]
impl Store for Frail {
    async fn range(&self, request: Range) -> Result<Ranged> {
        self.inner.range(request).await
    }
    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        tokio::time::sleep(Duration::from_millis(self.entropy.below(3))).await;
        let answer = self.inner.txn(txn).await;
        tokio::time::sleep(Duration::from_millis(self.entropy.below(3))).await;
        answer
    }
    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        let watch = self.inner.watch(request).await?;
        Ok(Watch::new(Breaking { watch, entropy: self.entropy.clone(), one_in: self.breaks_one_in }))
    }
    async fn compact(&self, revision: Revision) -> Result<()> {
        self.inner.compact(revision).await
    }
    async fn status(&self) -> Result<Status> {
        self.inner.status().await
    }
}

struct Breaking {
    watch: Watch,
    entropy: Entropy,
    one_in: u64,
}

impl Stream for Breaking {
    type Item = Result<Watched>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.watch.poll_next_unpin(context);
        if item.is_ready() && self.one_in > 0 && self.entropy.below(self.one_in) == 0 {
            return Poll::Ready(Some(Err(Error::Unavailable { reason: "the connection is lost".into() })));
        }
        item
    }
}

impl WatchSource for Breaking {
    fn request_progress(mut self: Pin<&mut Self>) {
        self.watch.request_progress();
    }
}

fn frail(inner: &Arc<dyn Store>, seed: u64, breaks_one_in: u64) -> Arc<dyn Store> {
    Arc::new(Frail { inner: inner.clone(), entropy: Entropy::seeded(seed), breaks_one_in })
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_nothing_half_done() {
    let mut dropped = 0;
    for seed in 0..10 {
        let inner = memory();
        let store = frail(&inner, seed, 0);
        open(builder(&store), async |server| {
            let things = api(&server, things());
            let entropy = Entropy::seeded(seed + 100);
            let clients = (0..4).map(|_| async {
                let mut dropped = 0;
                for _ in 0..40 {
                    let name = format!("t{}", entropy.below(6));
                    let patience = Duration::from_millis(entropy.below(8));
                    let ports: Vec<_> = (0..entropy.below(3)).map(|_| json!({"port": null})).collect();
                    let spec = json!({"ports": ports});
                    let options = Options::default();
                    let write = async {
                        match entropy.below(3) {
                            0 => drop(things.create(thing(&name, spec), &options).await),
                            1 => {
                                let patch = json!({"spec": spec});
                                drop(things.patch(&name, None, PatchKind::Merge, patch, &options).await);
                            }
                            _ => drop(things.delete(&name, &options).await),
                        }
                    };
                    dropped += usize::from(tokio::time::timeout(patience, write).await.is_err());
                }
                dropped
            });
            dropped += futures::future::join_all(clients).await.into_iter().sum::<usize>();
            // Every port that an object has is claimed, and no other.
            let list = things.list(&Options::default()).await.unwrap();
            let mut held = Vec::new();
            for object in &list.items {
                let value = object.to_value();
                held.extend(
                    value["spec"]["ports"].as_array().into_iter().flatten().map(|port| port["port"].to_string()),
                );
            }
            let distinct: BTreeSet<String> = held.iter().cloned().collect();
            assert_eq!(distinct.len(), held.len(), "seed {seed}: a port was handed out twice");
            let prefix = format!("/claims/{NODE_PORTS}/");
            let claims = inner.range(Range::prefix(prefix.clone())).await.unwrap();
            let claimed: BTreeSet<String> =
                claims.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key[prefix.len()..]).into_owned()).collect();
            assert_eq!(claimed, distinct, "seed {seed}");
            for object in list.items {
                assert_eq!(things.get(object.name()).await.unwrap(), object);
            }
        })
        .await;
    }
    assert!(dropped > 100, "clients did go away: {dropped}");
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_to_the_store_loses_nothing() {
    for seed in 0..5 {
        let store = frail(&memory(), seed, 4);
        open(builder(&store), async |server| {
            let things = api(&server, things());
            let mut watch = things.watch(&Options::default()).await.unwrap();
            for at in 0..50 {
                things.create(thing(&format!("t{at:02}"), json!({})), &Options::default()).await.unwrap();
            }
            for at in 0..50 {
                let Some(Ok(WatchEvent::Added(object))) = watch.next().await else { panic!("each, in order") };
                assert_eq!(object.name(), format!("t{at:02}"));
            }
            assert_eq!(things.list(&Options::default()).await.unwrap().items.len(), 50);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_lists_are_right_and_watches_are_told() {
    let inner = memory();
    // Its first watch breaks at its next item; what comes then is compacted before anybody looks.
    let store: Arc<dyn Store> = Arc::new(Frail { inner: inner.clone(), entropy: Entropy::seeded(1), breaks_one_in: 1 });
    let healthy = builder(&inner);
    let (old, list) = open(healthy, async |server| {
        let things = api(&server, things());
        let old = things.create(thing("a", json!({})), &Options::default()).await.unwrap();
        (old, things.list(&Options::default()).await.unwrap())
    })
    .await;
    assert_eq!(list.items, std::slice::from_ref(&old));
    let revision = inner.status().await.unwrap().revision;
    inner.compact(revision).await.unwrap();
    open(builder(&store), async |server| {
        let things = api(&server, things());
        let any = Options::default().resource_version("0");
        assert_eq!(things.list(&any).await.unwrap().items, [old]);
        let mut watch = things.watch(&any).await.unwrap();
        assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Added(_)))));
        for name in ["b", "c"] {
            things.create(thing(name, json!({})), &Options::default()).await.unwrap();
        }
        let revision = inner.status().await.unwrap().revision;
        inner.compact(revision).await.unwrap();
        let told = watch.next().await;
        assert!(matches!(&told, Some(Err(error)) if error.is_expired()), "{told:?}");
        assert_eq!(names(&things.list(&any).await.unwrap().items), ["a", "b", "c"]);
    })
    .await;
}
