//! Who answers a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use tower::Service;

use super::layer::{Answer, RequestInfo};
use super::openapi::Documents;
use super::path::Target;
use super::respond::{json, refuse};
use super::{Body, Core, discovery, gzip, health, resource, reviews};
use crate::auth::User;
use crate::error::{Reason, Status};
use crate::registry::Registry;

/// What stands behind all layers: finds who answers a request.
#[derive(Clone)]
pub(super) struct Routes {
    core: Arc<dyn Core>,
    reviews: Arc<Registry>,
    documents: Documents,
}

impl Routes {
    pub(super) fn new(core: Arc<dyn Core>) -> Self {
        let reviews = Arc::new(reviews::registry());
        Self { core, reviews, documents: Documents::default() }
    }
}

impl Service<Request<Bytes>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Answer {
        let routes = self.clone();
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let takes_gzip = gzip::is_accepted(request.headers());
            let mut response = routes.answer(request).await.unwrap_or_else(|status| refuse(&status));
            if is_head {
                *response.body_mut() = Body::empty();
            }
            Ok(if takes_gzip { gzip::compress(response) } else { response })
        })
    }
}

impl Routes {
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Body>, Status> {
        let core = &self.core;
        let (head, body) = request.into_parts();
        let of_layers = || Status::internal("the layers in front of the routes are missing");
        let info = head.extensions.get::<Arc<RequestInfo>>().ok_or_else(of_layers)?;
        let user = head.extensions.get::<User>().ok_or_else(of_layers)?;
        let path = match &info.target {
            Target::Resource(path) if self.reviews.get(&path.group, &path.version, &path.plural).is_some() => {
                return reviews::answer(&**core, user, &head, path, &body).await;
            }
            Target::Resource(path) => {
                return resource::answer(core, user, &head, info, path, body).await;
            }
            Target::Other(path) => path.as_str(),
        };
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(method_not_allowed());
        }
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        if matches!(segments[..], ["" | "api" | "apis" | "openapi", ..]) {
            core.refresh().await;
        }
        match segments[..] {
            [""] => Ok(json(&discovery::paths(&core.registry(), &self.reviews))),
            ["healthz" | "livez" | "readyz"] => Ok(health::answer(&**core, segments[0], &info.query)),
            ["version"] => Ok(json(&health::version())),
            ["api" | "apis", ..] => discovery::answer(&core.registry(), &self.reviews, &segments, &head),
            ["openapi", "v2"] => self.documents.answer_v2(&core.registry(), &self.reviews, &info.query, &head),
            ["openapi", "v3", ref rest @ ..] => {
                self.documents.answer(&core.registry(), &self.reviews, rest, &info.query, &head)
            }
            _ => Err(no_such_resource()),
        }
    }
}

/// Nothing is served there.
pub(super) fn no_such_resource() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

/// Something is served there, but not with this method.
pub(super) fn method_not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status::new(Reason::MethodNotAllowed, message)
}
