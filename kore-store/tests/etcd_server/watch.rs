//! Watching.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use kore_store::{EtcdServerOptions, MemoryStore, Range, Ranged, Result, Revision, Status, Store, Txn, Watch, Watched};

use crate::support::short::*;
use crate::support::{Client, Served, Stream, memory};
use crate::wire::*;

async fn next(stream: &mut Stream) -> WatchResponse {
    stream.next().await.unwrap().expect("the stream goes on")
}

async fn write(client: &Client, key: &str, value: &str) -> i64 {
    revision(&client.call::<PutResponse>("KV/Put", &put(key, value)).await.unwrap().header)
}

/// Begins a watch, and answers with its id.
async fn begin(stream: &mut Stream, request: WatchCreateRequest) -> i64 {
    stream.send(&watch(request));
    let created = next(stream).await;
    assert!(created.created && !created.canceled && created.events.is_empty(), "{created:?}");
    created.watch_id
}

/// Kind, key, value and previous value of each event.
fn plain(response: &WatchResponse) -> Vec<(i32, String, String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let events = response.events.iter().map(|event| {
        let kv = event.kv.as_ref().unwrap();
        (event.kind, text(&kv.key), text(&kv.value), event.prev_kv.as_ref().map(|kv| text(&kv.value)))
    });
    events.collect()
}

fn event(kind: i32, key: &str, value: &str, previous: Option<&str>) -> (i32, String, String, Option<String>) {
    (kind, key.into(), value.into(), previous.map(Into::into))
}

#[tokio::test]
async fn a_stream_has_many_watches_each_with_its_own_wishes() {
    let served = Served::memory().await;
    let client = served.client().await;
    write(&client, "a/1", "old").await;
    let mut stream = client.stream("Watch/Watch").await;
    let plain_one = begin(&mut stream, create_watch("a/", end("a/"))).await;
    let previous = WatchCreateRequest { prev_kv: true, watch_id: 42, ..create_watch("a/1", Bytes::new()) };
    assert_eq!(begin(&mut stream, previous).await, 42);
    let no_put = FilterType::NoPut as i32;
    let deletions = WatchCreateRequest { filters: vec![no_put], ..create_watch("\0", bytes("\0")) };
    let deletions = begin(&mut stream, deletions).await;
    assert_eq!((plain_one, deletions), (0, 1));

    assert_eq!(write(&client, "a/1", "new").await, 3);
    let mut told = [next(&mut stream).await, next(&mut stream).await];
    told.sort_by_key(|told| told.watch_id);
    assert_eq!(told[0].watch_id, plain_one);
    assert_eq!(plain(&told[0]), [event(0, "a/1", "new", None)]);
    assert_eq!((told[1].watch_id, revision(&told[1].header)), (42, 3));
    assert_eq!(plain(&told[1]), [event(0, "a/1", "new", Some("old"))]);

    client.call::<DeleteRangeResponse>("KV/DeleteRange", &delete("a/1")).await.unwrap();
    let mut told = [next(&mut stream).await, next(&mut stream).await, next(&mut stream).await];
    told.sort_by_key(|told| told.watch_id);
    assert_eq!(plain(&told[0]), [event(1, "a/1", "", None)]);
    assert_eq!((told[1].watch_id, plain(&told[1])), (deletions, vec![event(1, "a/1", "", None)]));
    assert_eq!(plain(&told[2]), [event(1, "a/1", "", Some("new"))]);
    let mark = told[0].events[0].kv.as_ref().unwrap();
    assert_eq!((mark.mod_revision, mark.create_revision, mark.version), (4, 0, 0));

    stream.send(&cancel(42));
    let canceled = next(&mut stream).await;
    assert!(canceled.canceled && canceled.watch_id == 42, "{canceled:?}");
    // One that is not there is not answered, and an id can be had again.
    stream.send(&cancel(42));
    stream.send(&cancel(plain_one));
    assert_eq!(next(&mut stream).await.watch_id, plain_one);
    assert_eq!(begin(&mut stream, WatchCreateRequest { watch_id: 42, ..create_watch("b", Bytes::new()) }).await, 42);
    write(&client, "a/2", "").await;
    write(&client, "b", "1").await;
    assert_eq!(plain(&next(&mut stream).await), [event(0, "b", "1", None)]);
    // The client has said its last: the stream ends well.
    stream.finish();
    assert_eq!(stream.next::<WatchResponse>().await, Ok(None));
}

#[tokio::test]
async fn what_cannot_be_watched_is_answered_as_cancelled() {
    let options = EtcdServerOptions::default().watches_per_stream(2).watches(3);
    let served = Served::store(Arc::new(memory()), options).await;
    let client = served.client().await;
    for value in ["1", "2", "3", "4"] {
        write(&client, "a", value).await;
    }
    let compact = CompactionRequest { revision: 4, physical: false };
    client.call::<CompactionResponse>("KV/Compact", &compact).await.unwrap();
    let mut stream = client.stream("Watch/Watch").await;
    let refused = async |stream: &mut Stream, request, reason: &str| {
        stream.send(&watch(request));
        let refused = next(stream).await;
        assert!(refused.created && refused.canceled && refused.watch_id == -1, "{refused:?}");
        assert_eq!(refused.cancel_reason, reason);
    };
    // What has been compacted is first created, and then cancelled.
    let old = WatchCreateRequest { start_revision: 3, ..create_watch("a", Bytes::new()) };
    let id = begin(&mut stream, old).await;
    let canceled = next(&mut stream).await;
    assert!(canceled.canceled && !canceled.created && canceled.watch_id == id, "{canceled:?}");
    assert_eq!(canceled.compact_revision, 4);
    // The compacted revision itself can still be watched.
    let oldest = WatchCreateRequest { start_revision: 4, watch_id: 9, ..create_watch("a", Bytes::new()) };
    begin(&mut stream, oldest).await;
    let told = next(&mut stream).await;
    assert_eq!(plain(&told), [event(0, "a", "3", None), event(0, "a", "4", None)]);
    let again = WatchCreateRequest { watch_id: 9, ..create_watch("a", Bytes::new()) };
    refused(&mut stream, again, "mvcc: duplicate watch ID provided on the WatchStream").await;
    refused(&mut stream, create_watch("b", bytes("b")), "mvcc: watcher range is empty").await;
    let never = WatchCreateRequest { start_revision: -1, ..create_watch("a", Bytes::new()) };
    refused(&mut stream, never, "etcdserver: mvcc: required revision has been compacted").await;
    begin(&mut stream, create_watch("a", Bytes::new())).await;
    refused(&mut stream, create_watch("a", Bytes::new()), "etcdserver: too many requests").await;
    // All streams together have a limit, too, and one that ends makes room.
    let mut other = client.stream("Watch/Watch").await;
    begin(&mut other, create_watch("a", Bytes::new())).await;
    refused(&mut other, create_watch("a", Bytes::new()), "etcdserver: too many requests").await;
    stream.send(&cancel(9));
    assert!(next(&mut stream).await.canceled);
    begin(&mut other, create_watch("a", Bytes::new())).await;
}

#[tokio::test]
async fn a_watch_that_always_has_something_to_tell_does_not_hold_up_progress() {
    let served = Served::memory().await;
    let client = served.client().await;
    let mut stream = client.stream("Watch/Watch").await;
    begin(&mut stream, create_watch("hot", Bytes::new())).await;
    begin(&mut stream, create_watch("cold", Bytes::new())).await;
    // Always another write is under way.
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            loop {
                futures::future::join_all((0..20).map(|_| write(&client, "hot", "v"))).await;
            }
        }
    });
    let mut told = 0;
    for _ in 0..20 {
        let now = write(&client, "cold", "v").await;
        stream.send(&ask_progress());
        let progress = loop {
            let response = next(&mut stream).await;
            if response.watch_id == -1 {
                break revision(&response.header);
            }
            if response.watch_id == 1 {
                told = revision(&response.header);
            }
        };
        assert!(progress >= now && told == now, "progress {progress} after {told}, asked after {now}");
    }
    writer.abort();
}

#[tokio::test]
async fn requested_progress_comes_after_every_event_of_every_watch() {
    let served = Served::memory().await;
    let client = served.client().await;
    let mut last = 0;
    for number in 0..3000 {
        last = write(&client, &format!("k/{}", number % 7), "v").await;
    }
    let mut stream = client.stream("Watch/Watch").await;
    let from = |key: &str, start_revision| WatchCreateRequest { start_revision, ..create_watch(key, end(key)) };
    // Two that have everything yet to tell, and one that has nothing; another one joins while the question is open.
    stream.send(&watch(from("k/", 1)));
    stream.send(&watch(from("k/3", 1)));
    stream.send(&watch(from("other", 0)));
    stream.send(&ask_progress());
    stream.send(&watch(from("k/5", 1)));
    let (mut told, mut created) = ([0; 4], 0);
    let progress = loop {
        let response = next(&mut stream).await;
        match response.watch_id {
            -1 => break response,
            _ if response.created => created += 1,
            id => told[id as usize] += response.events.len(),
        }
    };
    assert!(progress.events.is_empty() && !progress.canceled, "{progress:?}");
    let sure = revision(&progress.header);
    assert!(sure >= last, "{sure} is before the request");
    assert_eq!(told[..3], [3000, 429, 0], "progress {sure} came before the events");
    // Whoever was created before the answer is covered by it.
    if created == 4 {
        assert_eq!(told[3], 428);
    }
    // Nobody asked again: the next that comes is an event.
    let told = write(&client, "other", "").await;
    loop {
        let response = next(&mut stream).await;
        assert_ne!(response.watch_id, -1);
        if response.watch_id == 2 {
            assert_eq!(revision(&response.header), told);
            break;
        }
    }
}

#[tokio::test]
async fn idle_watches_that_asked_are_told_progress() {
    let options = EtcdServerOptions::default().progress_interval(Duration::from_millis(1));
    let served = Served::store(Arc::new(memory()), options).await;
    let client = served.client().await;
    let mut stream = client.stream("Watch/Watch").await;
    begin(&mut stream, create_watch("a", Bytes::new())).await;
    let notified = WatchCreateRequest { progress_notify: true, ..create_watch("a", Bytes::new()) };
    let notified = begin(&mut stream, notified).await;
    let now = write(&client, "b", "").await;
    loop {
        let progress = next(&mut stream).await;
        assert!(progress.events.is_empty() && progress.watch_id == notified, "{progress:?}");
        if revision(&progress.header) == now {
            break;
        }
    }
}

/// A store whose watches answer questions about progress one by one, and not before the second: each as of when it was asked.
struct Slow {
    inner: MemoryStore,
    asked: Arc<Mutex<Vec<Revision>>>,
}

struct SlowWatch {
    inner: MemoryStore,
    asked: Arc<Mutex<Vec<Revision>>>,
    answered: usize,
}

impl futures::Stream for SlowWatch {
    type Item = Result<Watched>;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Watched>>> {
        let asked = self.asked.lock().unwrap().clone();
        if asked.len() < 2 || self.answered == asked.len() {
            return Poll::Pending;
        }
        self.answered += 1;
        Poll::Ready(Some(Ok(Watched::Progress(asked[self.answered - 1]))))
    }
}

impl kore_store::WatchSource for SlowWatch {
    fn request_progress(self: Pin<&mut Self>) {
        let now = self.inner.status().now_or_never().unwrap().unwrap().revision;
        self.asked.lock().unwrap().push(now);
    }
}

#[async_trait]
impl Store for Slow {
    async fn range(&self, range: Range) -> Result<Ranged> {
        self.inner.range(range).await
    }
    async fn txn(&self, txn: Txn) -> Result<kore_store::TxnResponse> {
        self.inner.txn(txn).await
    }
    async fn watch(&self, _: kore_store::WatchRequest) -> Result<Watch> {
        Ok(Watch::new(SlowWatch { inner: self.inner.clone(), asked: self.asked.clone(), answered: 0 }))
    }
    async fn compact(&self, revision: Revision) -> Result<()> {
        self.inner.compact(revision).await
    }
    async fn status(&self) -> Result<Status> {
        self.inner.status().await
    }
}

#[tokio::test]
async fn progress_that_answers_an_earlier_question_is_no_answer_to_a_later_one() {
    let asked: Arc<Mutex<Vec<Revision>>> = Arc::default();
    let options = EtcdServerOptions::default().progress_interval(Duration::from_millis(1));
    let served = Served::store(Arc::new(Slow { inner: memory(), asked: asked.clone() }), options).await;
    let client = served.client().await;
    let mut stream = client.stream("Watch/Watch").await;
    begin(&mut stream, WatchCreateRequest { progress_notify: true, ..create_watch("a", Bytes::new()) }).await;
    // The server asks by itself, and then is asked.
    while asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let now = write(&client, "b", "").await;
    stream.send(&ask_progress());
    let progress = loop {
        let response = next(&mut stream).await;
        if response.watch_id == -1 {
            break revision(&response.header);
        }
    };
    assert!(progress >= now, "progress {progress}, asked after {now}");
}

#[tokio::test]
async fn a_large_revision_is_split_only_if_that_was_asked() {
    let options = EtcdServerOptions::default().request_bytes(30_000);
    let served = Served::store(Arc::new(memory()), options).await;
    let client = served.client().await;
    for key in 0..20 {
        write(&client, &format!("k/{key:02}"), &"x".repeat(10_000)).await;
    }
    let mut stream = client.stream("Watch/Watch").await;
    let whole = WatchCreateRequest { prev_kv: true, ..create_watch("k/", end("k/")) };
    let whole = begin(&mut stream, whole).await;
    let parts = WatchCreateRequest { prev_kv: true, fragment: true, ..create_watch("k/", end("k/")) };
    let parts = begin(&mut stream, parts).await;
    let all = DeleteRangeRequest { range_end: end("k/"), ..delete("k/") };
    client.call::<DeleteRangeResponse>("KV/DeleteRange", &all).await.unwrap();
    let (mut at_once, mut keys, mut last) = (0, Vec::new(), false);
    while at_once == 0 || !last {
        let response = next(&mut stream).await;
        if response.watch_id == whole {
            at_once += response.events.len();
            assert!(!response.fragment);
            continue;
        }
        assert_eq!(response.watch_id, parts);
        assert!(response.events.len() <= 2, "{} events in a part", response.events.len());
        keys.extend(plain(&response).into_iter().map(|(_, key, ..)| key));
        last = !response.fragment;
    }
    assert_eq!(at_once, 20);
    assert_eq!(keys, (0..20).map(|key| format!("k/{key:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_revision_is_told_in_one_message() {
    let served = Served::memory().await;
    let client = served.client().await;
    let mut stream = client.stream("Watch/Watch").await;
    for _ in 0..50 {
        let puts = (0..100).map(|key| op(put(&format!("k/{key}"), &"x".repeat(100))));
        client.call::<TxnResponse>("KV/Txn", &txn(vec![], puts.collect(), vec![])).await.unwrap();
    }
    begin(&mut stream, WatchCreateRequest { start_revision: 1, ..create_watch("k/", end("k/")) }).await;
    let mut told = 0;
    while told < 50 {
        let response = next(&mut stream).await;
        assert_eq!(response.events.len() % 100, 0);
        for events in response.events.chunks(100) {
            let revision = events[0].kv.as_ref().unwrap().mod_revision;
            assert!(events.iter().all(|event| event.kv.as_ref().unwrap().mod_revision == revision));
            assert_eq!(revision, told + 2);
            told += 1;
        }
    }
}

#[tokio::test]
async fn a_stopped_server_says_so_and_answers_what_was_asked() {
    let served = Served::memory().await;
    let client = served.client().await;
    let mut stream = client.stream("Watch/Watch").await;
    begin(&mut stream, create_watch("a", Bytes::new())).await;
    served.stop().await;
    let stopped = stream.next::<WatchResponse>().await.unwrap_err();
    assert_eq!((stopped.code, &stopped.message[..]), (14, "etcdserver: server stopped"));
}
