//! The service.

use std::convert::Infallible;
use std::fmt;
use std::fmt::Display;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer, Service};

use super::layer::{
    Answer, Authenticate, AuthenticateLayer, AuthorizePaths, AuthorizePathsLayer, CatchPanic, CatchPanicLayer,
    Describe, DescribeLayer, InFlight, InFlightLayer, ReadBody, ReadBodyLayer,
};
use super::routes::Routes;
use super::{Body, Core};
use crate::auth::Authenticator;

/// The Kubernetes API over HTTP, as a service.
///
/// It takes requests with any body, never fails, and can be cloned: it goes behind a [`super::Listener`], into an axum
/// application (`Router::fallback_service`), or into `kube::Client::new(service, "default")` in the same process.
///
/// ```
/// # use kore_api::http::{ApiService, Core};
/// # use kore_api::auth::User;
/// # async fn example(core: impl Core) -> Result<(), std::convert::Infallible> {
/// use kore_api::auth::TokenAuthenticator;
/// use tower::ServiceExt;
///
/// let tokens = TokenAuthenticator::new([("secret", User::admin())]);
/// let service = ApiService::new(core, tokens);
/// let request = http::Request::get("/api/v1/namespaces")
///     .header("authorization", "Bearer secret")
///     .body(String::new())
///     .expect("a valid request");
/// let response = service.oneshot(request).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ApiService {
    stack: Stack,
}

type Stack = CatchPanic<Describe<Authenticate<AuthorizePaths<InFlight<ReadBody<Routes>>>>>>;

/// What the service allows at most.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The largest body of a request, in bytes; beyond: 413. Default: 3 MiB, as upstream.
    pub body_bytes: usize,
    /// How many requests are answered at a time, watches and streams not counted; beyond: 429. Default: 600, as upstream's 400
    /// for reads and 200 for writes together.
    pub requests_in_flight: usize,
    /// How long a request may take that is no watch or stream; beyond: 504. Default: 60 s, as upstream.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 3 << 20, requests_in_flight: 600, request_timeout: Duration::from_secs(60) }
    }
}

impl ApiService {
    /// A service in front of `core` for whom `authenticator` knows.
    pub fn new(core: impl Core, authenticator: impl Authenticator) -> Self {
        Self::with_limits(core, authenticator, &Limits::default())
    }

    /// As [`ApiService::new`], with limits of one's own.
    pub fn with_limits(core: impl Core, authenticator: impl Authenticator, limits: &Limits) -> Self {
        let core: Arc<dyn Core> = Arc::new(core);
        let stack = ReadBodyLayer::new(limits.body_bytes).layer(Routes::new(core.clone()));
        let stack = InFlightLayer::new(limits.requests_in_flight, limits.request_timeout).layer(stack);
        let stack = AuthorizePathsLayer::new(core).layer(stack);
        let stack = AuthenticateLayer::new(authenticator).layer(stack);
        let stack = CatchPanicLayer.layer(DescribeLayer.layer(stack));
        Self { stack }
    }
}

impl<B> Service<Request<B>> for ApiService
where
    B: http_body::Body<Data: Send, Error: Display> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.stack, context)
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        self.stack.call(request)
    }
}

impl fmt::Debug for ApiService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiService")
    }
}
