//! The node's HTTP service: what the API server relays to.
//!
//! - this file: [`NodeService`] and its routes
//! - `logs`: reading container logs
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | `ok` |
//! | `/pods` | the pods of this node, as a `PodList` |
//! | `/containerLogs/NAMESPACE/POD/CONTAINER` | the log: `follow`, `tailLines`, `sinceSeconds`, `sinceTime`, `timestamps`, `previous`, `limitBytes` |
//!
//! It authenticates nobody: whoever serves it (the API server in its own process, a TLS listener) decides who may ask.

mod logs;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt, future::BoxFuture};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::{ContainerStatus as ApiStatus, Pod};
use kore_api::request::Options;

use self::logs::LogOptions;
use crate::{agent::Shared, runtime::ContainerStatus};

/// The body of an answer. It breaks off with an error when a log cannot be read on.
pub type NodeBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A node's HTTP service, for any request body (none is read).
///
/// Cloning shares the node. Get it from [`Agent::service`](crate::agent::Agent::service).
#[derive(Clone)]
pub struct NodeService {
    shared: Arc<Shared>,
}

/// What a request is refused with.
pub(crate) struct Refusal(StatusCode, String);

impl NodeService {
    pub(crate) fn new(shared: Arc<Shared>) -> NodeService {
        NodeService { shared }
    }

    async fn answer(self, method: Method, path: String, query: String) -> Response<NodeBody> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let result = match (method == Method::GET, parts.as_slice()) {
            (false, _) => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET".into())),
            (true, ["healthz"]) => Ok(plain("ok")),
            (true, ["pods"]) => self.pods().await,
            (true, ["containerLogs", namespace, pod, container]) => self.logs(namespace, pod, container, &query).await,
            _ => Err(Refusal(StatusCode::NOT_FOUND, format!("no such path: {path}"))),
        };
        result.unwrap_or_else(|Refusal(status, message)| {
            let mut response = plain(format!("{message}\n"));
            *response.status_mut() = status;
            response
        })
    }

    async fn pods(&self) -> Result<Response<NodeBody>, Refusal> {
        let options = Options::default().fields(format!("spec.nodeName={}", self.shared.node));
        let pods = self.shared.client.api::<Pod>().list(&options).await;
        let pods = pods.map_err(|error| Refusal(StatusCode::BAD_GATEWAY, error.to_string()))?;
        let items: Vec<serde_json::Value> = pods.items.iter().map(|pod| pod.object().to_value()).collect();
        let list = serde_json::json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items});
        let mut response = plain(list.to_string());
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }

    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        query: &str,
    ) -> Result<Response<NodeBody>, Refusal> {
        let now = self.shared.client.clock().now();
        let options = LogOptions::parse(query, now).map_err(bad_request)?;
        let status = self.find(namespace, pod, container, options.previous).await?;
        let shared = self.shared.clone();
        let (uid, id) = (status.pod.uid.clone(), status.id.clone());
        let lives = move || {
            let (shared, uid, id) = (shared.clone(), uid.clone(), id.clone());
            async move {
                let listing = shared.runtime.list(Some(&uid)).await.unwrap_or_default();
                let found = listing.containers.into_iter().find(|one| one.id == id);
                found.is_some_and(|one| one.state.exit().is_none())
            }
            .boxed()
        };
        let stream = logs::read(status.log_path, options, lives).map_ok(Frame::data);
        let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
        let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        Ok(response)
    }

    /// The newest container of this name, or the one that the pod's status has as the last state.
    async fn find(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
    ) -> Result<ContainerStatus, Refusal> {
        let api = self.shared.client.namespaced::<Pod>(namespace);
        let view = match api.get_opt(pod).await {
            Ok(Some(view)) => view,
            Ok(None) => {
                return Err(Refusal(StatusCode::NOT_FOUND, format!("pod {namespace}/{pod} not found")));
            }
            Err(error) => return Err(Refusal(StatusCode::BAD_GATEWAY, error.to_string())),
        };
        let uid = view.object().uid();
        let listing = self.shared.runtime.list(Some(uid)).await;
        let listing = listing.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let mut named: Vec<ContainerStatus> =
            listing.containers.into_iter().filter(|one| one.name == container).collect();
        named.sort_by_key(|one| std::cmp::Reverse(one.attempt));
        let current = current(&view, container);
        let is_previous = |one: &ContainerStatus| {
            let id = format!("{}://{}", self.shared.settings.runtime_name, one.id);
            one.state.exit().is_some() && current != Some(&id)
        };
        if let Some(found) = named.into_iter().find(|one| !previous || is_previous(one)) {
            return Ok(found);
        }
        if crate::machine::spec::container(&view, container).is_none() {
            let text = format!("container {container} is not valid for pod {pod}");
            return Err(bad_request(text));
        }
        Err(bad_request(match previous {
            true => {
                format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")
            }
            false => {
                format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {}", waiting(&view, container))
            }
        }))
    }
}

/// What the API has of a container.
fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ApiStatus> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let mut all = main.chain(status.init_container_statuses.iter().flatten());
    all.find(|one| one.name == container)
}

/// The id of the container that is the current state. While the next one is waited for it is none: the newest is the last state.
fn current<'a>(pod: &'a Pod, container: &str) -> Option<&'a String> {
    let status = status(pod, container)?;
    let waits = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
    status.container_id.as_ref().filter(|_| !waits)
}

/// Why a container has not started, by its status.
fn waiting(pod: &Pod, container: &str) -> String {
    let waiting = status(pod, container).and_then(|one| one.state.as_ref()?.waiting.as_ref());
    match waiting.and_then(|waiting| waiting.reason.as_deref()) {
        Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image".into(),
        Some(reason) => reason.into(),
        None => "ContainerCreating".into(),
    }
}

fn bad_request(message: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, message)
}

fn plain(text: impl Into<Bytes>) -> Response<NodeBody> {
    let body = Full::new(text.into()).map_err(|never: Infallible| match never {});
    Response::new(body.boxed_unsync())
}

impl<B> tower::Service<Request<B>> for NodeService {
    type Response = Response<NodeBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let uri = request.uri();
        let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
        let answer = self.clone().answer(request.method().clone(), path, query);
        answer.map(Ok).boxed()
    }
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService").field("node", &self.shared.node).finish_non_exhaustive()
    }
}
