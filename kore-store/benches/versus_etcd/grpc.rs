//! A client of etcd's API as lean as can be: HTTP/2 by hand, one stream a request. The same for both servers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use prost::Message;
use tokio::net::TcpStream;

use crate::wire::{CompactionRequest, CompactionResponse, PutRequest, PutResponse, RangeRequest, RangeResponse};

/// Connections to one server, shared by the writers.
#[derive(Clone)]
pub(crate) struct Client {
    connections: Vec<SendRequest<Bytes>>,
}

impl Client {
    /// Connects to a server that may still be starting.
    pub(crate) async fn connect(address: SocketAddr, count: usize) -> Client {
        let mut connections = Vec::new();
        while connections.len() < count {
            let Ok(socket) = TcpStream::connect(address).await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            socket.set_nodelay(true).expect("a socket");
            let mut builder = h2::client::Builder::new();
            builder.initial_connection_window_size(5 << 20).initial_window_size(2 << 20);
            let (connection, work) = builder.handshake(socket).await.expect("HTTP/2");
            tokio::spawn(work);
            connections.push(connection);
        }
        let client = Client { connections };
        // It answers.
        client.get(0, "a".into()).await;
        client
    }

    pub(crate) async fn put(&self, writer: u64, key: Bytes, value: Bytes) {
        let put = PutRequest { key, value, ..PutRequest::default() };
        self.call::<PutResponse>(writer, "/etcdserverpb.KV/Put", &put).await;
    }

    pub(crate) async fn get(&self, writer: u64, key: Bytes) -> Option<Bytes> {
        let get = RangeRequest { key, ..RangeRequest::default() };
        let answer: RangeResponse = self.call(writer, "/etcdserverpb.KV/Range", &get).await;
        answer.kvs.into_iter().next().map(|kv| kv.value)
    }

    /// The store's revision.
    pub(crate) async fn revision(&self) -> u64 {
        let get = RangeRequest { key: "a".into(), ..RangeRequest::default() };
        let answer: RangeResponse = self.call(0, "/etcdserverpb.KV/Range", &get).await;
        answer.header.expect("a header").revision as u64
    }

    /// Forgets what was before a revision, and waits until that is done.
    pub(crate) async fn compact(&self, revision: u64) {
        let compact = CompactionRequest { revision: revision as i64, physical: true };
        self.call::<CompactionResponse>(0, "/etcdserverpb.KV/Compact", &compact).await;
    }

    async fn call<A: Message + Default>(&self, writer: u64, path: &str, request: &impl Message) -> A {
        let connection = self.connections[writer as usize % self.connections.len()].clone();
        let mut message = BytesMut::with_capacity(5 + request.encoded_len());
        message.put_u8(0);
        message.put_u32(request.encoded_len() as u32);
        request.encode(&mut message).expect("there is room");
        let head = Request::post(format!("http://etcd{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let mut connection = connection.ready().await.expect("a connection");
        let (answer, mut body) = connection.send_request(head, false).expect("a stream");
        body.send_data(message.freeze(), true).expect("a window");
        let mut answer = answer.await.expect("an answer").into_body();
        let mut bytes = BytesMut::new();
        while let Some(data) = answer.data().await {
            let data = data.expect("all of it");
            answer.flow_control().release_capacity(data.len()).expect("what was received");
            bytes.extend_from_slice(&data);
        }
        let trailers = answer.trailers().await.expect("an end").expect("trailers");
        assert_eq!(trailers["grpc-status"], "0", "{trailers:?}");
        A::decode(&bytes[5..]).expect("a message")
    }
}
