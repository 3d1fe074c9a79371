//! Whether a user may use a path that is no resource.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};

use super::authenticate::is_public;
use super::{Answer, RequestInfo, Stage};
use crate::auth::{Attributes, Decision, User};
use crate::error::{Reason, Status};
use crate::http::path::Target;
use crate::http::respond::refuse;
use crate::http::{Body, Core};

/// Makes [`AuthorizePaths`]s that ask a core.
#[derive(Clone)]
pub struct AuthorizePathsLayer {
    core: Arc<dyn Core>,
}

impl AuthorizePathsLayer {
    /// Asks `core`.
    pub fn new(core: Arc<dyn Core>) -> Self {
        Self { core }
    }
}

impl fmt::Debug for AuthorizePathsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizePathsLayer")
    }
}

/// Asks the authoriser about paths that are no resources, and refuses with 403. Requests for resources pass: the core
/// authorises them, whatever way they came.
///
/// What every client needs to find its way (`/api`, `/apis`, `/openapi`, `/version`) is open to whoever has been
/// authenticated unless the authoriser denies it, as upstream's default roles have it.
#[derive(Clone)]
pub struct AuthorizePaths<S> {
    core: Arc<dyn Core>,
    inner: S,
}

impl<S> fmt::Debug for AuthorizePaths<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizePaths")
    }
}

impl<S> Layer<S> for AuthorizePathsLayer {
    type Service = AuthorizePaths<S>;
    fn layer(&self, inner: S) -> AuthorizePaths<S> {
        AuthorizePaths { core: self.core.clone(), inner }
    }
}

impl<S: Stage<B>, B: Send + 'static> Service<Request<B>> for AuthorizePaths<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let inner = self.inner.clone();
        let core = self.core.clone();
        Box::pin(async move {
            let info = request.extensions().get::<Arc<RequestInfo>>().cloned();
            if let Some(Target::Other(path)) = info.as_deref().map(|info| &info.target) {
                let nobody = User::default();
                let user = request.extensions().get::<User>().unwrap_or(&nobody);
                let checked = check(&*core, user, path, request.method()).await;
                if let Err(status) = checked {
                    return Ok(refuse(&status));
                }
            }
            inner.oneshot(request).await
        })
    }
}

async fn check(core: &dyn Core, user: &User, path: &str, method: &http::Method) -> Result<(), Status> {
    let verb = method.as_str().to_ascii_lowercase();
    let attributes = Attributes { user, resource: None, path, verb: &verb };
    let problem = match core.authorize(&attributes).await {
        Decision::Allow => return Ok(()),
        Decision::NoOpinion(_) if method.is_safe() && is_discovery(path) => return Ok(()),
        Decision::Deny(problem) | Decision::NoOpinion(problem) => problem,
    };
    let separator = if problem.is_empty() { "" } else { ": " };
    let message = format!("forbidden: User {:?} cannot {verb} path {path:?}{separator}{problem}", user.name);
    Err(Status::new(Reason::Forbidden, message))
}

/// What every client needs to find its way.
fn is_discovery(path: &str) -> bool {
    let under = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_public(path) || under("/api") || under("/apis") || under("/openapi")
}
