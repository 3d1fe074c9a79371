//! What all requests share, and which code answers which request.

use std::collections::BTreeMap;
use std::sync::Arc;

use kore_store::{Clock, Entropy, Revision, Store};

use super::Nodes;
use super::definitions::Definitions;
use super::lifetime::Lifetimes;
use super::quota::Quotas;
use super::routes::{Route, Table};
use super::update::Part;
use crate::admission::Admission;
use crate::auth::{AccountTokens, Attributes, Authorizer, Decision, ResourceAttributes, User};
use crate::cache::{Caches, ResourceCache};
use crate::error::{Reason, Status};
use crate::object::{ObjectKey, ResourceType};
use crate::registry::Pool;
use crate::request::{Body, Content, Options, Request, Response, Verb};
use crate::selector::is_dns_label;

/// What all requests share.
pub(crate) struct Core {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    pub(super) resources: Table,
    pub(super) definitions: Definitions,
    pub(super) caches: Arc<Caches>,
    pub(super) authorizers: Vec<Arc<dyn Authorizer>>,
    pub(super) admission: Vec<Arc<dyn Admission>>,
    pub(super) nodes: Nodes,
    pub(super) pools: BTreeMap<&'static str, Pool>,
    pub(super) lifetimes: Lifetimes,
    pub(super) quotas: Quotas,
    pub(super) account_tokens: Option<AccountTokens>,
}

/// One request on its way.
pub(super) struct Call<'a> {
    pub(super) core: &'a Core,
    pub(super) user: &'a User,
    pub(super) route: &'a Arc<Route>,
    pub(super) namespace: Option<&'a Arc<str>>,
    pub(super) options: &'a Options,
    /// The program that sends, for managed fields where the request names no manager.
    pub(super) user_agent: &'a str,
    /// What the client is told besides.
    pub(super) warnings: Vec<String>,
}

impl<'a> Call<'a> {
    /// Another call for the same request.
    pub(super) fn like(&self) -> Call<'a> {
        Call { warnings: Vec::new(), ..*self }
    }

    pub(super) fn resource(&self) -> &ResourceType {
        &self.route.info.resource
    }

    pub(super) fn key(&self, name: &str) -> ObjectKey {
        match self.namespace {
            Some(namespace) => ObjectKey::namespaced(namespace.clone(), name),
            None => ObjectKey::cluster(name),
        }
    }
}

/// The object that a request names.
fn named(name: &Option<Arc<str>>) -> Result<&str, Status> {
    name.as_deref().ok_or_else(|| Status::bad_request("the request names no object"))
}

impl Call<'_> {
    /// Answers what is no plain read.
    async fn write(
        &mut self,
        verb: Verb,
        part: Option<&str>,
        name: &Option<Arc<str>>,
        body: Body,
    ) -> Result<Content, Status> {
        match (verb, part) {
            (Verb::Create, None) => self.create(body).await,
            (Verb::Update, None | Some("status" | "approval")) => self.update(named(name)?, Part::of(part), body).await,
            (Verb::Patch, None | Some("status" | "approval")) => self.patch(named(name)?, Part::of(part), body).await,
            (Verb::Delete, None) => self.delete(named(name)?).await,
            (Verb::DeleteCollection, None) => self.delete_collection().await,
            (Verb::Get, Some("scale")) => self.get_scale(named(name)?).await,
            (Verb::Update, Some("scale")) => self.update_scale(named(name)?, body).await,
            (Verb::Patch, Some("scale")) => self.patch_scale(named(name)?, body).await,
            (Verb::Create, Some("token")) => self.issue_token(named(name)?, body).await,
            (Verb::Create, Some("eviction")) => self.evict(named(name)?, body).await,
            (Verb::Create, Some("binding")) => self.bind(named(name)?, body).await,
            (Verb::Update, Some("finalize")) => self.finalize(named(name)?, body).await,
            (Verb::Get, Some("log")) => self.log(named(name)?).await,
            _ => {
                let problem = "the server does not allow this method on the requested resource";
                Err(Status::new(Reason::MethodNotAllowed, problem))
            }
        }
    }
}

impl Core {
    pub(super) async fn handle(&self, user: &User, request: Request) -> Result<Response, Status> {
        self.caches.check_running()?;
        // A caller that never has to wait would not let others run.
        tokio::task::consume_budget().await;
        let mut routes = self.resources.now();
        if routes.find(&request.resource).is_err() {
            self.serve_definitions().await?;
            routes = self.resources.now();
        }
        let route = routes.find(&request.resource)?;
        check_shape(route, &request)?;
        self.authorize_request(user, &request).await?;
        let Request { verb, namespace, name, subresource, options, body, user_agent, .. } = request;
        let mut call = Call {
            core: self,
            user,
            route,
            namespace: namespace.as_ref(),
            options: &options,
            user_agent: &user_agent,
            warnings: Vec::new(),
        };
        let part = subresource.as_deref();
        let content = match (verb, part) {
            (Verb::Get, None | Some("status" | "approval")) => Content::Object(call.get(named(&name)?).await?),
            (Verb::List, None) => Content::List(call.list().await?),
            (Verb::Watch, None) => Content::Watch(call.watch(name.as_deref()).await?),
            // In a box of their own, so that a read is not as large as a write.
            _ => Box::pin(call.write(verb, part, &name, body)).await?,
        };
        call.warnings.extend(route.info.deprecation.clone());
        Ok(Response { warnings: call.warnings, content })
    }

    /// The cache of a resource; `None`: the server does not have it.
    pub(crate) fn cache_of(&self, resource: &ResourceType) -> Option<Arc<ResourceCache>> {
        self.resources.now().find(resource).ok().map(|route| route.cache.clone())
    }

    async fn authorize_request(&self, user: &User, request: &Request) -> Result<(), Status> {
        let resource = ResourceAttributes {
            verb: request.verb,
            group: &request.resource.group,
            version: &request.resource.version,
            resource: &request.resource.plural,
            subresource: request.subresource.as_deref().unwrap_or_default(),
            namespace: request.namespace.as_deref().unwrap_or_default(),
            name: request.name.as_deref().unwrap_or_default(),
        };
        let verb = request.verb.as_str();
        self.authorize(&Attributes { user, resource: Some(resource), path: "", verb }).await
    }

    /// Whether the user may do this to the object, too.
    pub(super) async fn authorize_verb(
        &self,
        user: &User,
        verb: Verb,
        resource: &ResourceType,
        namespace: Option<&Arc<str>>,
        name: &str,
    ) -> Result<(), Status> {
        let resource = ResourceAttributes {
            verb,
            group: &resource.group,
            version: &resource.version,
            resource: &resource.plural,
            subresource: "",
            namespace: namespace.map_or("", |namespace| &**namespace),
            name,
        };
        self.authorize(&Attributes { user, resource: Some(resource), path: "", verb: verb.as_str() }).await
    }

    /// The first decision of an authoriser, if one has an opinion.
    pub(super) async fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let mut reasons: Vec<String> = Vec::new();
        for authorizer in &self.authorizers {
            match authorizer.authorize(attributes).await {
                Decision::NoOpinion(reason) => reasons.push(reason),
                decision => return decision,
            }
        }
        reasons.retain(|reason| !reason.is_empty());
        Decision::NoOpinion(reasons.join(", "))
    }

    async fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self.decide(attributes).await {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(forbidden(attributes, &reason)),
        }
    }

    /// Whether the caches are filled and followed.
    pub(super) fn is_ready(&self) -> bool {
        self.caches.progress() > 0 && self.caches.check_running().is_ok() && self.caches.is_followed()
    }

    /// Waits until the caches have reached the store's present revision, and returns that.
    pub(crate) async fn catch_up(&self) -> Result<Revision, Status> {
        self.caches.check_running()?;
        let status = self.store.status().await.map_err(super::commit::store_failed)?;
        self.caches.reach(status.revision).await?;
        Ok(status.revision)
    }

    /// The time of day as objects have it: RFC 3339, whole seconds.
    pub(super) fn now(&self) -> String {
        timestamp(self.clock.now())
    }
}

/// A time as objects have it: RFC 3339, whole seconds.
pub(super) fn timestamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn no_such_resource() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

/// Whether a request fits its resource: scope and subresource.
fn check_shape(route: &Route, request: &Request) -> Result<(), Status> {
    let info = &route.info;
    let whole_collection = matches!(request.verb, Verb::List | Verb::Watch | Verb::DeleteCollection);
    match (&request.namespace, info.resource.is_namespaced()) {
        // CVE-2019-11247: a cluster-scoped object is not found in a namespace.
        (Some(_), false) => return Err(no_such_resource()),
        (None, true) if !whole_collection || request.verb == Verb::DeleteCollection => {
            return Err(Status::bad_request("an empty namespace may not be set for this request"));
        }
        _ => {}
    }
    // No namespace has another name; one with a slash would reach into keys that are not its own.
    if let Some(namespace) = request.namespace.as_deref().filter(|namespace| !is_dns_label(namespace)) {
        let namespaces = ResourceType { plural: "namespaces".into(), group: "".into(), ..(*info.resource).clone() };
        return Err(Status::not_found(&namespaces, namespace));
    }
    if let Some(name) = request.name.as_deref().filter(|name| name.contains('/')) {
        return Err(Status::not_found(&info.resource, name));
    }
    let known = match request.subresource.as_deref() {
        None => true,
        Some("status") => info.has_status,
        Some("scale") => info.scale.is_some(),
        Some(other) => info.subresources.contains(&other),
    };
    if known { Ok(()) } else { Err(no_such_resource()) }
}

/// The refusal of somebody's request, in upstream's words.
fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Status {
    let user = &attributes.user.name;
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let Some(resource) = &attributes.resource else {
        return Status::new(
            Reason::Forbidden,
            format!("forbidden: User {user:?} cannot {} path {:?}{because}", attributes.verb, attributes.path),
        );
    };
    let part = match resource.subresource {
        "" => resource.resource.to_owned(),
        part => format!("{}/{part}", resource.resource),
    };
    let scope = match resource.namespace {
        "" => " at the cluster scope".to_owned(),
        namespace => format!(" in the namespace {namespace:?}"),
    };
    let about = ResourceType {
        group: resource.group.to_owned().into(),
        version: resource.version.to_owned().into(),
        plural: resource.resource.to_owned().into(),
        kind: "".into(),
        scope: crate::object::Scope::Cluster,
    };
    let (verb, group) = (resource.verb, resource.group);
    let problem = format!("User {user:?} cannot {verb} resource {part:?} in API group {group:?}{scope}{because}");
    Status::forbidden(&about, resource.name, problem)
}
