//! One call on HTTP/2: its messages, its answers, how it ends. A message is five bytes (a flag, and the length) and a
//! body; a call ends with trailers that say how it went.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Response, header};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::failure::{Code, Failure, TOO_MANY_REQUESTS};

/// The five bytes before a message.
const PREFIX: usize = 5;

/// How long the one request of a call may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// How long the client may take to take a piece of an answer for which the store keeps something.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// An answer of so many bytes is handed to the connection at once; a larger one waits for the client to take it.
const SMALL: usize = 16 << 10;

/// KiB of larger answers that a connection may have under way at a time; an answer larger than that goes alone.
pub(super) const ANSWER_KIB: u32 = 16 << 10;

/// The client has gone: nobody hears how the call ended.
pub(super) const GONE: Failure = Failure::new(Code::Cancelled, "etcdserver: request canceled");

/// The messages that a client sends in a call.
pub(super) struct Messages {
    body: RecvStream,
    /// What came last, as far as it has not been read.
    chunk: Bytes,
    /// The beginning of a message that did not come in one piece.
    partial: BytesMut,
    limit: usize,
    /// KiB of partial messages that the server takes.
    room: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Messages {
    pub(super) fn new(body: RecvStream, limit: usize, room: Arc<Semaphore>) -> Messages {
        Messages { body, chunk: Bytes::new(), partial: BytesMut::new(), limit, room, held: None }
    }

    /// The next message; None: the client has said everything. Nothing is lost when this is dropped and asked again.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Failure> {
        let message = poll_fn(|context| self.poll(context)).await?.map(decode).transpose()?;
        self.held = None;
        Ok(message)
    }

    /// The only message of a call that has one.
    pub(super) async fn only<M: Message + Default>(&mut self) -> Result<M, Failure> {
        let mut arriving = pin!(async {
            let message = poll_fn(|context| self.poll(context)).await?;
            let message = message.ok_or(Failure::new(Code::InvalidArgument, "the call has no request"))?;
            match poll_fn(|context| self.poll(context)).await? {
                None => Ok(message),
                Some(_) => Err(Failure::new(Code::InvalidArgument, "the call has more than one request")),
            }
        });
        // Mostly it has come together with its call, and nobody needs to look at a clock.
        let arrived = match futures::poll!(arriving.as_mut()) {
            Poll::Ready(arrived) => arrived,
            Poll::Pending => {
                let late = |_| Failure::new(Code::DeadlineExceeded, "the request did not arrive in time");
                timeout(ARRIVES_WITHIN, arriving).await.map_err(late)?
            }
        };
        decode(arrived?)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            if let Some(message) = self.take()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(self.body.poll_data(context)) {
                Some(Ok(chunk)) => {
                    // The next ones may come: what is held back here has a limit of its own.
                    drop(self.body.flow_control().release_capacity(chunk.len()));
                    self.chunk = chunk;
                }
                Some(Err(_)) => return Poll::Ready(Err(GONE)),
                None if self.partial.is_empty() => return Poll::Ready(Ok(None)),
                None => {
                    let cut = Failure::new(Code::InvalidArgument, "the request is cut short");
                    return Poll::Ready(Err(cut));
                }
            }
        }
    }

    /// The next message, if all of it is there.
    fn take(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.partial.is_empty() {
            if self.chunk.len() >= PREFIX {
                let end = PREFIX + self.length(&self.chunk)?;
                if self.chunk.len() >= end {
                    return Ok(Some(self.chunk.split_to(end).slice(PREFIX..)));
                }
            }
            if self.chunk.is_empty() {
                return Ok(None);
            }
        }
        // It goes over several pieces: put together the prefix, then the rest.
        self.gather(PREFIX)?;
        if self.partial.len() < PREFIX {
            return Ok(None);
        }
        let end = PREFIX + self.length(&self.partial)?;
        self.gather(end)?;
        if self.partial.len() < end {
            return Ok(None);
        }
        self.partial.advance(PREFIX);
        Ok(Some(std::mem::take(&mut self.partial).freeze()))
    }

    /// Moves from the last piece what is missing to so many bytes.
    fn gather(&mut self, to: usize) -> Result<(), Failure> {
        let missing = to.saturating_sub(self.partial.len());
        let piece = self.chunk.split_to(missing.min(self.chunk.len()));
        if piece.is_empty() {
            return Ok(());
        }
        let kib = u32::try_from(piece.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(kib).map_err(|_| TOO_MANY_REQUESTS)?;
        match &mut self.held {
            Some(held) if !self.partial.is_empty() => held.merge(room),
            held => *held = Some(room),
        }
        self.partial.reserve(missing);
        self.partial.extend_from_slice(&piece);
        Ok(())
    }

    /// The length of the message that begins here.
    fn length(&self, mut start: &[u8]) -> Result<usize, Failure> {
        match start.get_u8() {
            0 => {}
            1 => return Err(Failure::new(Code::Unimplemented, "compressed requests are not supported")),
            _ => return Err(Failure::new(Code::InvalidArgument, "the request is not a gRPC message")),
        }
        let length = start.get_u32() as usize;
        if length > self.limit {
            let message = format!("grpc: received message larger than max ({length} vs. {})", self.limit);
            return Err(Failure::with(Code::ResourceExhausted, message));
        }
        Ok(length)
    }
}

fn decode<M: Message + Default>(message: Bytes) -> Result<M, Failure> {
    M::decode(message)
        .map_err(|error| Failure::with(Code::InvalidArgument, format!("etcdserver: malformed request: {error}")))
}

/// The message behind its prefix.
fn encode(message: &impl Message) -> Result<Bytes, Failure> {
    let length = message.encoded_len();
    let stated = u32::try_from(length);
    let stated = stated.map_err(|_| Failure::new(Code::ResourceExhausted, "the answer is larger than 4 GiB"))?;
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(stated);
    message.encode_raw(&mut bytes);
    Ok(bytes.freeze())
}

/// The answers to a client in a call.
pub(super) struct Answers {
    stream: SendStream<Bytes>,
}

impl Answers {
    /// Says that answers will come.
    pub(super) fn begin(respond: &mut SendResponse<Bytes>) -> Result<Answers, Failure> {
        let stream = respond.send_response(head(), false).map_err(|_| GONE)?;
        Ok(Answers { stream })
    }

    /// Hands over one answer, as fast as the client takes it: until then nothing more is made for it.
    pub(super) async fn send(&mut self, message: &impl Message) -> Result<(), Failure> {
        let message = encode(message)?;
        self.send_as_taken(message).await
    }

    /// The same for a small piece of something that the store keeps for this call: it is not kept for a client that has
    /// stopped to take it.
    pub(super) async fn send_kept(&mut self, message: &impl Message) -> Result<(), Failure> {
        let late = |_| Failure::new(Code::DeadlineExceeded, "etcdserver: the client did not take the answer");
        timeout(TAKEN_WITHIN, self.send(message)).await.map_err(late)?
    }

    async fn send_as_taken(&mut self, mut message: Bytes) -> Result<(), Failure> {
        while !message.is_empty() {
            self.stream.reserve_capacity(message.len());
            let granted = poll_fn(|context| self.stream.poll_capacity(context)).await;
            let granted = granted.and_then(Result::ok).ok_or(GONE)?;
            let piece = message.split_to(granted.min(message.len()));
            self.stream.send_data(piece, false).map_err(|_| GONE)?;
        }
        Ok(())
    }

    /// Says how the call ended.
    pub(super) fn end(mut self, outcome: Result<(), Failure>) {
        let trailers = match outcome {
            Ok(()) => success(),
            Err(failure) => failure.trailers(),
        };
        // Who has gone does not hear it.
        drop(self.stream.send_trailers(trailers));
    }
}

/// Gives a call its one answer, or says how it failed.
pub(super) async fn answer<M: Message>(
    respond: &mut SendResponse<Bytes>,
    outcome: Result<M, Failure>,
    room: &Arc<Semaphore>,
) {
    let message = match outcome {
        Ok(message) => message,
        Err(failure) => return refuse(respond, &failure),
    };
    let length = message.encoded_len();
    if length <= SMALL {
        if let (Ok(bytes), Ok(mut answers)) = (encode(&message), Answers::begin(respond))
            && answers.stream.send_data(bytes, false).is_ok()
        {
            answers.end(Ok(()));
        }
        return;
    }
    // Large ones are put into bytes when their turn comes: before, they are shared with the store.
    let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX).min(ANSWER_KIB);
    let Ok(_room) = room.acquire_many(kib).await else { return };
    let bytes = match encode(&message) {
        Ok(bytes) => bytes,
        Err(failure) => return refuse(respond, &failure),
    };
    drop(message);
    let Ok(mut answers) = Answers::begin(respond) else { return };
    if answers.send_as_taken(bytes).await.is_ok() {
        answers.end(Ok(()));
    }
}

/// Ends a call that has not been answered yet.
pub(super) fn refuse(respond: &mut SendResponse<Bytes>, failure: &Failure) {
    let mut response = head();
    response.headers_mut().extend(failure.trailers());
    // Who has gone does not hear it.
    drop(respond.send_response(response, true));
}

/// Ends what is no call.
pub(super) fn refuse_http(respond: &mut SendResponse<Bytes>, status: http::StatusCode) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    drop(respond.send_response(response, true));
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

fn success() -> HeaderMap {
    static SUCCESS: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers
    });
    SUCCESS.clone()
}
