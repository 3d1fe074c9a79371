//! So many short requests at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};

use super::{Answer, RequestInfo, Stage};
use crate::error::{Reason, Status, StatusDetails};
use crate::http::Body;
use crate::http::respond::refuse;

/// Makes [`InFlight`]s that share one limit.
#[derive(Clone, Debug)]
pub struct InFlightLayer {
    free: Arc<Semaphore>,
    timeout: Duration,
}

impl InFlightLayer {
    /// At most `requests` at a time, each for at most `timeout`.
    pub fn new(requests: usize, timeout: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(requests)), timeout }
    }
}

/// Refuses with 429 and `Retry-After` when too many short requests are being answered, and with 504 those that take too
/// long. Watches and streams are not counted: connections and their streams are limited by the listener.
#[derive(Clone, Debug)]
pub struct InFlight<S> {
    free: Arc<Semaphore>,
    timeout: Duration,
    inner: S,
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;
    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight { free: self.free.clone(), timeout: self.timeout, inner }
    }
}

impl<S: Stage<B>, B: Send + 'static> Service<Request<B>> for InFlight<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let long = request.extensions().get::<Arc<RequestInfo>>().is_some_and(|info| info.is_long_running);
        let answer = self.inner.clone().oneshot(request);
        if long {
            return Box::pin(answer);
        }
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            return Box::pin(future::ready(Ok(refuse(&too_many()))));
        };
        let timeout = self.timeout;
        Box::pin(async move {
            let answered = tokio::time::timeout(timeout, answer).await;
            drop(permit);
            answered.unwrap_or_else(|_| {
                let message = format!("request did not complete within {}s", timeout.as_secs());
                Ok(refuse(&Status::new(Reason::Timeout, message)))
            })
        })
    }
}

fn too_many() -> Status {
    let details = StatusDetails { retry_after_seconds: 1, ..StatusDetails::default() };
    let message = "too many requests, please try again later";
    Status { details: Some(details), ..Status::new(Reason::TooManyRequests, message) }
}
