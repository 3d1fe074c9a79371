//! Reads path and query.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future;
use http::{Method, Request, Response};
use tower::{Layer, Service, ServiceExt};

use super::{Answer, Stage};
use crate::error::Status;
use crate::http::path::Target;
use crate::http::query::Query;
use crate::http::respond::refuse;
use crate::http::{Body, LONG_RUNNING};

/// What the path and the query of a request say; an `Arc` of it is in the request's extensions behind [`Describe`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestInfo {
    /// What the path asks for.
    pub target: Target,
    /// The query parameters.
    pub query: Query,
    /// Whether it asks to follow changes of a collection.
    pub is_watch: bool,
    /// Whether the answer may take as long as it likes: watches, and subresources that stream.
    pub is_long_running: bool,
}

impl RequestInfo {
    fn read<B>(request: &Request<B>) -> Result<Self, Status> {
        let target = Target::parse(request.uri().path())?;
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let (mut is_watch, mut streams) = (false, false);
        if let Target::Resource(path) = &target {
            is_watch = reads && (path.watch || (path.name.is_none() && query.flag("watch")?));
            let part = path.subresource.as_deref().unwrap_or_default();
            streams = LONG_RUNNING.contains(&part.split('/').next().unwrap_or_default());
        }
        Ok(Self { target, query, is_watch, is_long_running: is_watch || streams })
    }
}

/// Makes [`Describe`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct DescribeLayer;

/// Puts an `Arc<RequestInfo>` into the extensions of each request; refuses with 400 what cannot be read.
#[derive(Clone, Debug)]
pub struct Describe<S> {
    inner: S,
}

impl<S> Layer<S> for DescribeLayer {
    type Service = Describe<S>;
    fn layer(&self, inner: S) -> Describe<S> {
        Describe { inner }
    }
}

impl<S: Stage<B>, B: Send + 'static> Service<Request<B>> for Describe<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Answer {
        match RequestInfo::read(&request) {
            Ok(info) => {
                request.extensions_mut().insert(Arc::new(info));
                Box::pin(self.inner.clone().oneshot(request))
            }
            Err(status) => Box::pin(future::ready(Ok(refuse(&status)))),
        }
    }
}
