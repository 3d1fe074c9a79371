//! Reads the body under a limit.

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};

use super::{Answer, Stage};
use crate::error::{Reason, Status};
use crate::http::Body;
use crate::http::respond::refuse;

/// How much of a body that is too large is read and thrown away, so that a client which writes before it reads gets to see
/// the answer.
const DISCARDED_BYTES_MAX: usize = 32 << 20;

/// Makes [`ReadBody`]s.
#[derive(Clone, Copy, Debug)]
pub struct ReadBodyLayer {
    limit_bytes: usize,
}

impl ReadBodyLayer {
    /// Bodies of at most `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes }
    }
}

/// Reads the whole body of each request; refuses with 413 what is larger than the limit, with 400 what breaks off.
#[derive(Clone, Debug)]
pub struct ReadBody<S> {
    limit_bytes: usize,
    inner: S,
}

impl<S> Layer<S> for ReadBodyLayer {
    type Service = ReadBody<S>;
    fn layer(&self, inner: S) -> ReadBody<S> {
        ReadBody { limit_bytes: self.limit_bytes, inner }
    }
}

impl<S, B> Service<Request<B>> for ReadBody<S>
where
    S: Stage<Bytes>,
    B: http_body::Body<Data: Send, Error: Display> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let inner = self.inner.clone();
        let limit_bytes = self.limit_bytes;
        Box::pin(async move {
            let (head, body) = request.into_parts();
            match read(body, limit_bytes).await {
                Ok(body) => inner.oneshot(Request::from_parts(head, body)).await,
                Err(status) => Ok(refuse(&status)),
            }
        })
    }
}

async fn read<B: http_body::Body<Error: Display>>(body: B, limit_bytes: usize) -> Result<Bytes, Status> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_large = body.size_hint().lower() > limit_bytes as u64;
    let capacity = if too_large { 0 } else { body.size_hint().lower() };
    let mut read = BytesMut::with_capacity(usize::try_from(capacity).unwrap_or_default());
    let mut total = 0_usize;
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Status::bad_request(format!("the body of the request broke off: {error}")))?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        total = total.saturating_add(data.remaining());
        if total > DISCARDED_BYTES_MAX {
            break;
        }
        if !too_large && total <= limit_bytes {
            while data.has_remaining() {
                let chunk = data.chunk();
                read.extend_from_slice(chunk);
                let length = chunk.len();
                data.advance(length);
            }
        } else {
            read = BytesMut::new();
        }
    }
    if too_large || total > limit_bytes {
        let message = format!("Request entity too large: limit is {limit_bytes}");
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    Ok(read.freeze())
}
