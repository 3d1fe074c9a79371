//! Clients and stores that misbehave: each gets a clear answer, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::Request;
use kore_store::{
    Error, EtcdServer, EtcdServerOptions, KeyRange, MemoryStore, Range, Ranged, Result, Revision, Status, Store, Txn,
    Watch, WatchSource, Watched,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::short::*;
use crate::support::{Client, PATIENCE, Refused, Served, memory};
use crate::wire::*;

/// What every HTTP/2 client says first, and settings without a wish.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn works(served: &Served) {
    let client = served.client().await;
    client.call::<PutResponse>("KV/Put", &put("works", "1")).await.unwrap();
}

/// Reads until the other side closes.
async fn closed(mut socket: impl tokio::io::AsyncRead + Unpin) {
    let mut read = Vec::new();
    // A reset is as good.
    drop(tokio::time::timeout(PATIENCE, socket.read_to_end(&mut read)).await.expect("it is closed"));
}

#[tokio::test]
async fn what_is_no_http2_is_closed() {
    let served = Served::memory().await;
    let long = vec![b'x'; 1 << 20];
    for garbage in [&b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0; 100], &[0xff; 100], &long] {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        // It may be closed before it has taken everything.
        drop(socket.write_all(garbage).await);
        closed(socket).await;
        // Behind a good beginning, too.
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket.write_all(PREFACE).await.unwrap();
        drop(socket.write_all(garbage).await);
        drop(socket.shutdown().await);
        closed(socket).await;
    }
    works(&served).await;
}

#[tokio::test]
async fn what_is_no_grpc_is_refused() {
    let served = Served::memory().await;
    let client = served.client().await;
    let ask = async |request: Request<()>| client.open(request).await.head().await.status().as_u16();
    let uri = "http://etcd/etcdserverpb.KV/Range";
    assert_eq!(ask(Request::post(uri).body(()).unwrap()).await, 415);
    assert_eq!(ask(Request::post(uri).header("content-type", "application/json").body(()).unwrap()).await, 415);
    assert_eq!(ask(Request::post(uri).header("content-type", "application/grpc-web").body(()).unwrap()).await, 415);
    assert_eq!(ask(Request::get(uri).header("content-type", "application/grpc").body(()).unwrap()).await, 405);

    let refused = async |pieces: &[&[u8]]| {
        let mut stream = client.stream("KV/Range").await;
        for piece in pieces {
            stream.send.send_data(Bytes::copy_from_slice(piece), false).unwrap();
        }
        stream.finish();
        let Refused { code, message } = stream.next::<RangeResponse>().await.unwrap_err();
        (code, message)
    };
    let invalid = |message: &str| (3, message.to_owned());
    assert_eq!(refused(&[]).await, invalid("the call has no request"));
    assert_eq!(refused(&[b"\0\0"]).await, invalid("the request is cut short"));
    assert_eq!(refused(&[b"\0\0\0\0\x09", b"abc"]).await, invalid("the request is cut short"));
    assert_eq!(refused(&[b"\x07\0\0\0\0"]).await, invalid("the request is not a gRPC message"));
    let whole: &[u8] = b"\0\0\0\0\x03\x0a\x01a";
    assert_eq!(refused(&[whole, whole]).await, invalid("the call has more than one request"));
    assert_eq!(refused(&[b"\x01\0\0\0\0"]).await, (12, "compressed requests are not supported".into()));
    let (code, message) = refused(&[b"\0\xff\xff\xff\xff"]).await;
    assert_eq!((code, &message[..]), (8, "grpc: received message larger than max (4294967295 vs. 2097152)"));
    // One in many pieces is as good as another.
    let mut stream = client.stream("KV/Range").await;
    for byte in whole {
        stream.send.send_data(Bytes::copy_from_slice(&[*byte]), false).unwrap();
    }
    stream.finish();
    assert!(stream.next::<RangeResponse>().await.unwrap().is_some());
}

/// A server on one end of a pipe, as the application would serve a listener of its own.
fn piped(store: Arc<dyn Store>) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let server = EtcdServer::new(store, EtcdServerOptions::default());
    let serve = async move { server.serve_connection(theirs, std::future::pending()).await };
    (ours, tokio::spawn(serve))
}

#[tokio::test(start_paused = true)]
async fn who_never_says_a_word_is_closed() {
    let began = Instant::now();
    let (silent, served) = piped(Arc::new(memory()));
    served.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 10);
    drop(silent);
    // And so is who said hello and then nothing any more.
    let (mut silent, served) = piped(Arc::new(memory()));
    silent.write_all(PREFACE).await.unwrap();
    let began = Instant::now();
    served.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 140);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_arrive_ends() {
    let (ours, _served) = piped(Arc::new(memory()));
    let (send, connection) = h2::client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://etcd/etcdserverpb.KV/Put").header("content-type", "application/grpc");
    let mut send = send.ready().await.unwrap();
    let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"\0\0\0\0\x09abc"), false).unwrap();
    let began = Instant::now();
    let answer = answer.await.unwrap();
    assert_eq!((&answer.headers()["grpc-status"], began.elapsed().as_secs()), (&"4".parse().unwrap(), 30));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_not_taken_is_given_up() {
    let store = Arc::new(memory());
    for number in 0..40 {
        store.put(format!("key-{number}").into(), vec![b'v'; 10 << 10].into()).await.unwrap();
    }
    let (ours, _served) = piped(store);
    let (send, connection) = h2::client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::post("http://etcd/etcdserverpb.Maintenance/Snapshot").header("content-type", "application/grpc");
    let mut send = send.ready().await.unwrap();
    let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
    let mut answer = answer.await.unwrap().into_body();
    // The window is not opened: what comes is not taken.
    let began = Instant::now();
    let mut taken = 0;
    while let Some(piece) = answer.data().await {
        taken += piece.unwrap().len();
    }
    let trailers = answer.trailers().await.unwrap().unwrap();
    assert_eq!((&trailers["grpc-status"], began.elapsed().as_secs()), (&"4".parse().unwrap(), 60));
    assert!((60_000..100_000).contains(&taken), "{taken}");
}

#[tokio::test]
async fn requests_in_pieces_have_a_limit_together() {
    let options = EtcdServerOptions::default().receive_mib(1);
    let served = Served::store(Arc::new(memory()), options).await;
    let value = Bytes::from(vec![b'x'; 600 << 10]);
    let request = PutRequest { value, ..put("a", "") };
    let mut message = BytesMut::from(&b"\0"[..]);
    let body = prost::Message::encode_to_vec(&request);
    message.extend_from_slice(&(body.len() as u32).to_be_bytes());
    message.extend_from_slice(&body);
    let mut message = message.freeze();
    let last = message.split_off(message.len() - 1);
    // One that is under way, and holds more than half of it. It has been received when another one is refused.
    let client = served.client().await;
    let mut first = client.stream("KV/Put").await;
    first.send.send_data(message.clone(), false).unwrap();
    let second = loop {
        let other: Result<PutResponse, Refused> = served.client().await.call("KV/Put", &request).await;
        match other {
            Ok(_) => tokio::task::yield_now().await,
            Err(refused) => break refused,
        }
    };
    assert_eq!((second.code, &second.message[..]), (8, "etcdserver: too many requests"));
    // It ends well, and makes room.
    first.send.send_data(last, true).unwrap();
    assert!(first.next::<PutResponse>().await.unwrap().is_some());
    served.client().await.call::<PutResponse>("KV/Put", &request).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let served = Served::store(Arc::new(memory()), EtcdServerOptions::default().connections(1)).await;
    let first = served.client().await;
    first.call::<PutResponse>("KV/Put", &put("a", "1")).await.unwrap();
    let second = served.client().await;
    let request = put("a", "2");
    let mut waiting = std::pin::pin!(second.call::<PutResponse>("KV/Put", &request));
    // The first one goes on meanwhile, and the second one does not.
    for _ in 0..100 {
        first.call::<RangeResponse>("KV/Range", &get("a")).await.unwrap();
        assert!(futures::poll!(&mut waiting).is_pending());
    }
    drop(first);
    waiting.await.unwrap();
}

#[tokio::test]
async fn thousands_of_watches_on_a_stream_are_each_told() {
    let served = Served::memory().await;
    let client = served.client().await;
    let mut stream = client.stream("Watch/Watch").await;
    const WATCHES: usize = 5000;
    for number in 0..WATCHES {
        stream.send(&watch(create_watch(&format!("k/{:02}", number % 100), Bytes::new())));
    }
    for _ in 0..WATCHES {
        assert!(stream.next::<WatchResponse>().await.unwrap().unwrap().created);
    }
    let puts = (0..100).map(|key| op(put(&format!("k/{key:02}"), "v"))).collect();
    client.call::<TxnResponse>("KV/Txn", &txn(vec![], puts, vec![])).await.unwrap();
    stream.send(&ask_progress());
    let mut told = vec![0; WATCHES];
    loop {
        let response: WatchResponse = stream.next().await.unwrap().unwrap();
        match response.watch_id {
            -1 => break,
            id => told[id as usize] += response.events.len(),
        }
    }
    assert!(told.iter().all(|told| *told == 1));
}

/// Counts who still holds a value.
struct Held(#[expect(dead_code, reason = "counted, not read")] Arc<()>, Vec<u8>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

#[tokio::test]
async fn a_client_that_never_reads_stalls_only_its_stream_and_holds_little() {
    let store = memory();
    let served = Served::store(Arc::new(store.clone()), EtcdServerOptions::default()).await;
    let client = served.client().await;
    // Nobody reads this one.
    let mut deaf = client.stream("Watch/Watch").await;
    deaf.send(&watch(create_watch("k", Bytes::new())));
    let mut hearing = client.stream("Watch/Watch").await;
    hearing.send(&watch(create_watch("k", Bytes::new())));
    assert!(hearing.next::<WatchResponse>().await.unwrap().unwrap().created);
    let count = Arc::new(());
    let mut last = 0;
    for _ in 0..500 {
        let value = Bytes::from_owner(Held(count.clone(), vec![b'x'; 100_000]));
        last = store.put("k".into(), value).await.unwrap();
        // Those on the same connection are told at once.
        let told: WatchResponse = hearing.next().await.unwrap().unwrap();
        assert_eq!(revision(&told.header), last.cast_signed());
    }
    let last = store.delete(KeyRange::Key("k".into())).await.unwrap() + last;
    store.compact(last).await.unwrap();
    drop(hearing);
    // What the deaf one holds: what was read ahead for it.
    let held = async {
        while Arc::strong_count(&count) > 30 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.expect("a stalled stream holds no history");
    works(&served).await;
    // When it reads at last, it hears what has become of its watch.
    let mut told = 0;
    loop {
        let response: WatchResponse = deaf.next().await.unwrap().unwrap();
        if response.canceled {
            assert_eq!(response.compact_revision, last.cast_signed());
            break;
        }
        told += response.events.len();
    }
    assert!(told < 100, "{told} events were kept");
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_only_their_connection() {
    let served = Served::memory().await;
    let client = served.client().await;
    for _ in 0..5000 {
        let request = Request::post("http://etcd/etcdserverpb.KV/Put").header("content-type", "application/grpc");
        let Ok(ready) = futures::future::poll_fn(|context| client_ready(&client, context)).await else { break };
        let mut ready = ready;
        let Ok((_, mut body)) = ready.send_request(request.body(()).unwrap(), false) else { break };
        body.send_reset(h2::Reason::CANCEL);
        tokio::task::yield_now().await;
    }
    works(&served).await;
}

fn client_ready(
    client: &Client,
    context: &mut std::task::Context<'_>,
) -> std::task::Poll<std::result::Result<h2::client::SendRequest<Bytes>, h2::Error>> {
    let mut send = client.send_request();
    send.poll_ready(context).map_ok(|()| send)
}

#[tokio::test]
async fn connections_that_break_off_leave_nothing_behind() {
    let store = memory();
    let served = Served::store(Arc::new(store.clone()), EtcdServerOptions::default().connections(3)).await;
    for round in 0..20 {
        let client = served.client().await;
        let mut stream = client.stream("Watch/Watch").await;
        stream.send(&watch(create_watch("k", Bytes::new())));
        assert!(stream.next::<WatchResponse>().await.unwrap().unwrap().created);
        let mut upload = client.stream("KV/Put").await;
        upload.send.send_data(Bytes::from_static(b"\0\0\0\xff\xff..."), false).unwrap();
        let key = format!("k{round}");
        client.call::<PutResponse>("KV/Put", &put(&key, "v")).await.unwrap();
        // Dropping every handle closes the connection, whatever is under way.
        drop((client, stream, upload));
    }
    works(&served).await;
}

/// A store that fails as it is told to.
struct Failing {
    inner: MemoryStore,
    error: Error,
}

struct FailingWatch(Watch, Error);

impl futures::Stream for FailingWatch {
    type Item = Result<Watched>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Watched>>> {
        let error = self.1.clone();
        self.0.poll_next_unpin(context).map(|_| Some(Err(error)))
    }
}

impl WatchSource for FailingWatch {
    fn request_progress(self: std::pin::Pin<&mut Self>) {}
}

#[async_trait]
impl Store for Failing {
    async fn range(&self, _: Range) -> Result<Ranged> {
        Err(self.error.clone())
    }
    async fn txn(&self, _: Txn) -> Result<kore_store::TxnResponse> {
        Err(self.error.clone())
    }
    async fn watch(&self, request: kore_store::WatchRequest) -> Result<Watch> {
        Ok(Watch::new(FailingWatch(self.inner.watch(request).await?, self.error.clone())))
    }
    async fn compact(&self, _: Revision) -> Result<()> {
        Err(self.error.clone())
    }
    async fn status(&self) -> Result<Status> {
        self.inner.status().await
    }
}

#[tokio::test]
async fn a_store_that_fails_is_told_apart() {
    let unavailable = Error::Unavailable { reason: "the disk is gone".into() };
    let unknown = Error::OutcomeUnknown { reason: "the disk is going".into() };
    let cases = [
        (unavailable, "etcdserver: the store is unavailable: the disk is gone"),
        // By this one, clients know that they do not know.
        (unknown, "etcdserver: request timed out"),
    ];
    for (error, message) in cases {
        let inner = memory();
        let failing = Failing { inner: inner.clone(), error };
        let served = Served::store(Arc::new(failing), EtcdServerOptions::default()).await;
        let client = served.client().await;
        let expected = Refused { code: 14, message: message.into() };
        assert_eq!(client.call::<PutResponse>("KV/Put", &put("a", "1")).await, Err(expected.clone()));
        assert_eq!(client.call::<RangeResponse>("KV/Range", &get("a")).await, Err(expected.clone()));
        let mut stream = client.stream("Watch/Watch").await;
        stream.send(&watch(create_watch("a", Bytes::new())));
        assert!(stream.next::<WatchResponse>().await.unwrap().unwrap().created);
        inner.put("a".into(), "1".into()).await.unwrap();
        assert_eq!(stream.next::<WatchResponse>().await, Err(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_store_never_answers_ends_when_its_client_gives_up() {
    struct Stuck(Arc<()>);
    #[async_trait]
    impl Store for Stuck {
        async fn range(&self, _: Range) -> Result<Ranged> {
            let _here = self.0.clone();
            std::future::pending().await
        }
        async fn txn(&self, _: Txn) -> Result<kore_store::TxnResponse> {
            std::future::pending().await
        }
        async fn watch(&self, _: kore_store::WatchRequest) -> Result<Watch> {
            std::future::pending().await
        }
        async fn compact(&self, _: Revision) -> Result<()> {
            std::future::pending().await
        }
        async fn status(&self) -> Result<Status> {
            std::future::pending().await
        }
    }
    let here = Arc::new(());
    let served = Served::store(Arc::new(Stuck(here.clone())), EtcdServerOptions::default()).await;
    let client = served.client().await;
    let mut stream = client.stream("KV/Range").await;
    stream.send(&get("a"));
    stream.finish();
    let arrived = async {
        while Arc::strong_count(&here) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    arrived.await;
    stream.send.send_reset(h2::Reason::CANCEL);
    let ended = async {
        while Arc::strong_count(&here) > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the call has ended");
}
