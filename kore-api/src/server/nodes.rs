//! The way to the agents of nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

/// The body of a request to a node's agent, and of its answer.
pub type NodeBody = UnsyncBoxBody<Bytes, BoxError>;
/// A node's agent, as whatever answers HTTP requests: in the same process, or over the network.
pub type NodeService = BoxCloneSyncService<http::Request<NodeBody>, http::Response<NodeBody>, BoxError>;

/// The way to the agents of nodes, for what the API relays to them (`kubectl logs`). Cloning shares it.
///
/// The requests are those of upstream's node agent: `GET /containerLogs/NAMESPACE/POD/CONTAINER?follow=true&tailLines=10`,
/// answered with the log as it is, or with a status of 400 and more and a text that says why not.
///
/// ```
/// use http_body_util::Full;
/// use kore_api::server::{NodeBody, Nodes};
///
/// let nodes = Nodes::default();
/// nodes.attach("node-1", tower::service_fn(|request: http::Request<NodeBody>| async move {
///     let answer = format!("the log behind {}", request.uri().path());
///     Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(bytes::Bytes::from(answer))))
/// }));
/// assert!(nodes.get("node-1").is_some());
/// ```
#[derive(Clone, Default)]
pub struct Nodes {
    services: Arc<Mutex<BTreeMap<String, NodeService>>>,
}

impl Nodes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, NodeService>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, requests for this node go to `service`.
    pub fn attach<S, B>(&self, node: impl Into<String>, service: S)
    where
        S: Service<http::Request<NodeBody>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let boxed = |response: http::Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync());
        let service = service.map_response(boxed).map_err(Into::into);
        self.lock().insert(node.into(), BoxCloneSyncService::new(service));
    }

    /// The node can no longer be reached.
    pub fn detach(&self, node: &str) {
        self.lock().remove(node);
    }

    /// The way to a node.
    pub fn get(&self, node: &str) -> Option<NodeService> {
        self.lock().get(node).cloned()
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}
