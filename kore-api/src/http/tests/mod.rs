//! The service in front of a core that only remembers what it was asked.
//!
//! - `requests.rs`: what the core is asked. `answers.rs`: how its answers are written. `about.rs`: what needs no core.
//!   `arbitrary.rs`: anything at all.

mod about;
mod answers;
mod arbitrary;
mod requests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::{HeaderMap, Method, Request as HttpRequest, StatusCode};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use kore_store::Clock;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{ApiService, Core};
use crate::auth::{Attributes, Decision, TokenAuthenticator, User};
use crate::error::{Error, Reason, Status, StatusDetails};
use crate::object::{Object, ResourceType, Scope};
use crate::registry::{Registry, ResourceInfo, ScalePaths};
use crate::request::{Body, Content, ObjectList, Options, Propagation, Request, Response, Verb, WatchEvent};

type Answer = dyn Fn(&Request) -> Result<Response, Status> + Send + Sync;

/// Answers with what it is told to, and remembers the last request.
#[derive(Clone)]
pub(crate) struct Fake {
    registry: Arc<Registry>,
    asked: Arc<Mutex<Option<(User, Request)>>>,
    answer: Arc<Answer>,
    ready: bool,
}

fn resource(group: &'static str, plural: &'static str, kind: &'static str, scope: Scope) -> ResourceInfo {
    let names =
        ResourceType { group: group.into(), version: "v1".into(), plural: plural.into(), kind: kind.into(), scope };
    ResourceInfo::new(names)
}

impl Fake {
    pub(crate) fn new(answer: impl Fn(&Request) -> Result<Response, Status> + Send + Sync + 'static) -> Self {
        let mut pods = resource("", "pods", "Pod", Scope::Namespaced).short_names(&["po"]).categories(&["all"]);
        pods.subresources = vec!["binding", "log"];
        let mut deployments = resource("apps", "deployments", "Deployment", Scope::Namespaced);
        let [spec_replicas, status_replicas, selector] =
            ["spec.replicas", "status.replicas", "spec.selector"].map(Into::into);
        deployments.scale = Some(ScalePaths { spec_replicas, status_replicas, selector });
        let nodes = resource("", "nodes", "Node", Scope::Cluster);
        let namespaces = resource("", "namespaces", "Namespace", Scope::Cluster);
        let registry = Registry::new().with(pods).with(deployments).with(nodes).with(namespaces);
        Self { registry: Arc::new(registry), asked: Arc::default(), answer: Arc::new(answer), ready: true }
    }

    /// Answers every request with an object or a list of the right kind.
    pub(crate) fn obliging() -> Self {
        Self::new(|request| {
            let content = match request.verb {
                Verb::List => Content::List(ObjectList {
                    items: vec![pod("a", 5), pod("b", 6)],
                    revision: 7,
                    ..ObjectList::default()
                }),
                Verb::Watch => Content::Watch(stream::iter([Ok(WatchEvent::Added(pod("a", 5)))]).boxed()),
                Verb::Create if request.subresource.is_none() => Content::Created(pod("a", 5)),
                Verb::DeleteCollection => Content::Status(Status { code: 200, ..Status::new(Reason::Unknown, "") }),
                _ => Content::Object(pod("a", 5)),
            };
            Ok(content.into())
        })
    }

    pub(crate) fn service(&self) -> ApiService {
        ApiService::new(self.clone(), TokenAuthenticator::new([("secret", User::admin()), ("plain", User::new("bob"))]))
    }

    pub(crate) fn asked(&self) -> Option<Request> {
        self.asked.lock().unwrap().take().map(|(_, request)| request)
    }
}

#[async_trait]
impl Core for Fake {
    async fn handle(&self, user: &User, request: Request) -> Result<Response, Status> {
        let answer = (self.answer)(&request);
        *self.asked.lock().unwrap() = Some((user.clone(), request));
        answer
    }
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in(crate::auth::MASTERS) { Decision::Allow } else { Decision::NoOpinion(String::new()) }
    }
    fn registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }
    fn is_ready(&self) -> bool {
        self.ready
    }
    fn clock(&self) -> Clock {
        Clock::starting_at("2026-01-01T00:01:00Z".parse::<Timestamp>().unwrap())
    }
}

pub(crate) fn pod(name: &str, revision: u64) -> Object {
    let metadata = json!({"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"});
    Object::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}), revision).unwrap()
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answered {
    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    fn message(&self) -> String {
        let value = self.value();
        assert_eq!(value["kind"], "Status");
        assert_eq!(value["code"], self.status.as_u16());
        value["message"].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

async fn send(core: &Fake, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answered {
    let mut request = HttpRequest::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.header("authorization", "Bearer secret");
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let response = core.service().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Answered { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

async fn get(core: &Fake, path: &str, accept: &str) -> Answered {
    send(core, Method::GET, path, &[("accept", accept)], b"").await
}
