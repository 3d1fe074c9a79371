//! A client that sees everything: gRPC by hand, on HTTP/2.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use prost::Message;
use tokio::net::TcpStream;

use super::PATIENCE;

/// How a call was refused: gRPC's code, and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: u32,
    pub(crate) message: String,
}

#[derive(Clone)]
pub(crate) struct Client {
    send: SendRequest<Bytes>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        // A window as gRPC's libraries have it.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(5 << 20).initial_window_size(2 << 20);
        let (send, connection) = builder.handshake(socket).await.unwrap();
        tokio::spawn(connection);
        Client { send }
    }

    /// One request, one answer.
    pub(crate) async fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A, Refused> {
        let mut stream = self.stream(method).await;
        stream.send(request);
        stream.finish();
        let answer = stream.next().await?;
        assert!(stream.next::<A>().await?.is_none(), "a second answer");
        Ok(answer.expect("an answer, or a refusal"))
    }

    /// How a call is refused, whose request is these bytes.
    pub(crate) async fn refused(&self, method: &str, request: &[u8]) -> Refused {
        let mut stream = self.stream(method).await;
        stream.send.send_data(prefixed(request), true).unwrap();
        stream.next::<()>().await.expect_err("it is refused")
    }

    /// A call whose requests are sent one by one. The method is `KV/Range`.
    pub(crate) async fn stream(&self, method: &str) -> Stream {
        let request = Request::post(format!("http://etcd/etcdserverpb.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        self.open(request).await
    }

    pub(crate) fn send_request(&self) -> SendRequest<Bytes> {
        self.send.clone()
    }

    pub(crate) async fn open(&self, request: Request<()>) -> Stream {
        let mut ready = self.send.clone().ready().await.unwrap();
        let (response, send) = ready.send_request(request, false).unwrap();
        Stream { response: Some(response), send, body: None, buffer: BytesMut::new(), ended: None }
    }
}

pub(crate) struct Stream {
    response: Option<h2::client::ResponseFuture>,
    pub(crate) send: SendStream<Bytes>,
    body: Option<RecvStream>,
    buffer: BytesMut,
    ended: Option<Result<(), Refused>>,
}

/// A message as it goes over the wire.
pub(crate) fn prefixed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(message);
    bytes.freeze()
}

impl Stream {
    pub(crate) fn send(&mut self, request: &impl Message) {
        self.send.send_data(prefixed(&request.encode_to_vec()), false).unwrap();
    }

    pub(crate) fn finish(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    /// The head of the answer, when it comes.
    pub(crate) async fn head(&mut self) -> Response<()> {
        let response = self.response.take().expect("the head is asked for once");
        let (head, body) = tokio::time::timeout(PATIENCE, response).await.expect("an answer").unwrap().into_parts();
        self.body = Some(body);
        if let Some(status) = head.headers.get("grpc-status") {
            assert!(status != "0" || self.body.as_ref().unwrap().is_end_stream());
            self.ended = Some(outcome(&head.headers));
        }
        Response::from_parts(head, ())
    }

    /// The next answer; None: the call has ended well.
    pub(crate) async fn next<A: Message + Default>(&mut self) -> Result<Option<A>, Refused> {
        tokio::time::timeout(PATIENCE, self.next_now()).await.expect("an answer in time")
    }

    async fn next_now<A: Message + Default>(&mut self) -> Result<Option<A>, Refused> {
        if self.response.is_some() {
            let head = self.head().await;
            assert_eq!(head.status(), 200);
            assert_eq!(head.headers()["content-type"], "application/grpc");
        }
        loop {
            if let Some(ended) = self.ended.clone() {
                return ended.map(|()| None);
            }
            if self.buffer.len() >= 5 {
                let length = (&self.buffer[1..5]).get_u32() as usize;
                if self.buffer.len() >= 5 + length {
                    let message = self.buffer.split_to(5 + length).freeze().slice(5..);
                    return Ok(Some(A::decode(message).unwrap()));
                }
            }
            let body = self.body.as_mut().expect("the head has come");
            match body.data().await {
                Some(data) => {
                    let data = data.map_err(reset)?;
                    body.flow_control().release_capacity(data.len()).unwrap();
                    self.buffer.extend_from_slice(&data);
                }
                None => {
                    assert!(self.buffer.is_empty(), "the last answer is cut short");
                    let trailers = body.trailers().await.map_err(reset)?;
                    self.ended = Some(outcome(&trailers.expect("a call ends with trailers")));
                }
            }
        }
    }
}

/// A stream or a connection that broke off: no code of gRPC's.
fn reset(error: h2::Error) -> Refused {
    Refused { code: 99, message: error.to_string() }
}

fn outcome(trailers: &HeaderMap) -> Result<(), Refused> {
    let text = |name| trailers.get(name).map_or("", |value| value.to_str().unwrap());
    match text("grpc-status").parse().unwrap() {
        0 => Ok(()),
        code => Err(Refused { code, message: text("grpc-message").into() }),
    }
}
