//! A panic is a 500, and the connection lives on.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use futures::FutureExt;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};

use super::{Answer, Stage};
use crate::error::Status;
use crate::http::Body;
use crate::http::respond::refuse;

/// Makes [`CatchPanic`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct CatchPanicLayer;

/// Answers 500 when what is behind it panics; the panic hook has told what happened.
#[derive(Clone, Debug)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;
    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

impl<S: Stage<B>, B: Send + 'static> Service<Request<B>> for CatchPanic<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        // Nothing that the panic left half done is reached from here again but through locks that do not mind.
        let answer = AssertUnwindSafe(self.inner.clone().oneshot(request)).catch_unwind();
        Box::pin(answer.map(|outcome| {
            outcome.unwrap_or_else(|_| Ok(refuse(&Status::internal("a fault of the server, see its log"))))
        }))
    }
}
