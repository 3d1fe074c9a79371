//! Finds out who asks.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Request, Response};
use tower::{Layer, Service, ServiceExt};

use super::{Answer, Stage};
use crate::auth::{Authenticator, InvalidCredentials, User};
use crate::error::{Reason, Status};
use crate::http::Body;
use crate::http::respond::refuse;

/// Paths that anybody may ask for, as upstream's default roles have it.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// Makes [`Authenticate`]s that ask one authenticator.
#[derive(Clone)]
pub struct AuthenticateLayer {
    authenticator: Arc<dyn Authenticator>,
}

impl AuthenticateLayer {
    /// Asks `authenticator`.
    pub fn new(authenticator: impl Authenticator) -> Self {
        Self { authenticator: Arc::new(authenticator) }
    }
}

impl fmt::Debug for AuthenticateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticateLayer")
    }
}

/// Puts a [`User`] into the extensions of each request, and refuses with 401 where there is none.
///
/// A request that already has a `User` in its extensions passes as that user: nothing from outside the process can put one
/// there, a layer of the application's own can. `/healthz`, `/livez`, `/readyz` and `/version` may be asked for anonymously.
/// Impersonation is refused rather than ignored.
#[derive(Clone)]
pub struct Authenticate<S> {
    authenticator: Arc<dyn Authenticator>,
    inner: S,
}

impl<S> fmt::Debug for Authenticate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticate")
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;
    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate { authenticator: self.authenticator.clone(), inner }
    }
}

impl<S: Stage<B>, B: Send + 'static> Service<Request<B>> for Authenticate<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let inner = self.inner.clone();
        let authenticator = self.authenticator.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            if impersonates(&head.headers) {
                let message = "impersonation is not supported by this server";
                return Ok(refuse(&Status::new(Reason::Forbidden, message)));
            }
            if head.extensions.get::<User>().is_none() {
                match identify(&*authenticator, &head).await {
                    Ok(user) => head.extensions.insert(user),
                    Err(InvalidCredentials(problem)) => {
                        tracing::debug!(%problem, path = head.uri.path(), "not authenticated");
                        return Ok(unauthorized());
                    }
                };
            }
            // Nobody behind this needs the credentials, and nobody should log them.
            head.headers.remove(http::header::AUTHORIZATION);
            inner.oneshot(Request::from_parts(head, body)).await
        })
    }
}

async fn identify(authenticator: &dyn Authenticator, head: &http::request::Parts) -> Result<User, InvalidCredentials> {
    match authenticator.authenticate(head).await? {
        Some(user) => Ok(user),
        None if is_public(head.uri.path()) => Ok(User::anonymous()),
        None => Err(InvalidCredentials("no credentials that anybody knows".into())),
    }
}

/// Whether anybody may ask for `path`.
pub(super) fn is_public(path: &str) -> bool {
    PUBLIC.contains(&path.strip_suffix('/').unwrap_or(path))
}

fn impersonates(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("impersonate-"))
}

fn unauthorized() -> Response<Body> {
    let mut response = refuse(&Status::new(Reason::Unauthorized, "Unauthorized"));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
