//! What stands behind the HTTP front.

use std::sync::Arc;

use async_trait::async_trait;
use kore_store::Clock;

use crate::auth::{Attributes, Decision, User};
use crate::error::Status;
use crate::registry::Registry;
use crate::request::{Request, Response};

/// What stands behind the HTTP front: it answers requests, whatever way they came.
///
/// A server implements it; so can anything that wants to be seen as a Kubernetes API. The front end has read the path, the
/// query and the headers, authenticated the user and looked the resource up in the registry; authorisation of requests for
/// resources, admission, decoding of objects and storage are the core's.
///
/// ```
/// use std::sync::Arc;
/// use kore_api::auth::{Attributes, Decision, User};
/// use kore_api::error::Status;
/// use kore_api::http::Core;
/// use kore_api::object::{Object, ResourceType, Scope};
/// use kore_api::registry::{Registry, ResourceInfo};
/// use kore_api::request::{Content, Request, Response, Verb};
/// use kore_api::Clock;
/// use serde_json::json;
///
/// /// One read-only resource, which lives nowhere.
/// struct Greetings {
///     registry: Arc<Registry>,
///     clock: Clock,
/// }
///
/// #[async_trait::async_trait]
/// impl Core for Greetings {
///     async fn handle(&self, user: &User, request: Request) -> Result<Response, Status> {
///         let name = request.name.as_deref().unwrap_or_default();
///         if request.verb != Verb::Get || name != "hello" {
///             return Err(Status::not_found(&request.resource, name));
///         }
///         let greeting = json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": name}, "to": user.name});
///         let greeting = Object::from_value(greeting, 1).map_err(Status::internal)?;
///         Ok(Content::Object(greeting).into())
///     }
///     async fn authorize(&self, _: &Attributes<'_>) -> Decision {
///         Decision::Allow
///     }
///     fn registry(&self) -> Arc<Registry> {
///         self.registry.clone()
///     }
///     fn is_ready(&self) -> bool {
///         true
///     }
///     fn clock(&self) -> Clock {
///         self.clock
///     }
/// }
///
/// # fn main() {
/// let greetings = ResourceInfo::new(ResourceType {
///     group: "example.com".into(),
///     version: "v1".into(),
///     plural: "greetings".into(),
///     kind: "Greeting".into(),
///     scope: Scope::Cluster,
/// });
/// let core = Greetings { registry: Arc::new(Registry::new().with(greetings)), clock: Clock::system() };
/// let service = kore_api::http::ApiService::new(core, kore_api::auth::TokenAuthenticator::default());
/// # let _ = service;
/// # }
/// ```
#[async_trait]
pub trait Core: Send + Sync + 'static {
    /// Answers one request of `user`'s. The future may be dropped at any point, when the client goes away.
    ///
    /// # Errors
    /// What the client is told.
    async fn handle(&self, user: &User, request: Request) -> Result<Response, Status>;

    /// Whether something is allowed: asked for paths that are no resources, and for `SelfSubjectAccessReview`.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// The resources there are. While they stay the same, the same allocation.
    fn registry(&self) -> Arc<Registry>;

    /// Waits until [`Core::registry`] has all resources that have been defined by now: asked before a client is told that there is no
    /// such resource, or which there are.
    async fn refresh(&self) {}

    /// Whether requests for resources can be answered: `/readyz`.
    fn is_ready(&self) -> bool;

    /// The wall clock: ages in tables.
    fn clock(&self) -> Clock;
}
