//! A server that knows more than its clients.
//!
//! - here: [`Newer`], the layer between client and server
//! - `fields.rs`: the fields that the clients do not know: putting them in, and taking them out
//! - `carried.rs`: whether a write carries them back
//! - `copied.rs`: whether an object that was made from a template carries them along

mod carried;
mod copied;
mod fields;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::Value;

use self::fields::Place;
use crate::client::{Client, Transport};
use crate::error::Error;
use crate::object::{Object, ObjectKey, ResourceType};
use crate::patch;
use crate::request::{Body, Content, Request, Response, Verb, WatchEvent, WatchStream};

/// How many violations are kept; more are counted with the last.
const VIOLATIONS_MAX: usize = 1000;

/// Makes a server look newer than its clients: every object they are sent has one more field in every object of it at every
/// depth, inside the items of lists too, which no typed view knows. What a client writes must bring those back wherever the object or
/// list item that held them still is, and what it creates from its controller's pod template (sets, pods) must carry those of the template along; then they are taken out again, since the server behind would not know them either.
///
/// Which field and which value follows from the seed and the path. A replacement is checked as it is sent, a patch by what it
/// makes of the object there is. Of writes to `status`, only that part is checked: the server ignores the rest. A list item still is there if
/// one with the same list keys is, or, where the list has none, an equal one.
///
/// ```
/// use kore_api::client::Client;
/// use kore_api::simulation::Newer;
///
/// fn watched_over(newer: &Newer, scheduler: &Client) -> Client {
///     newer.client("system:kube-scheduler", scheduler)
/// }
/// ```
#[derive(Clone)]
pub struct Newer {
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    /// Reads what is about to be replaced.
    reader: Client,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    violations: Vec<Violation>,
    checked: BTreeMap<(Arc<str>, String), u64>,
}

/// A field that a write would have lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Who wrote.
    pub user: Arc<str>,
    /// How.
    pub verb: Verb,
    /// Which resource.
    pub resource: Arc<ResourceType>,
    /// Which part of the object; empty: all of it.
    pub subresource: String,
    /// Which object.
    pub key: ObjectKey,
    /// Which field, for example `spec.template.spec.containers[name=web].koreNewer2f`.
    pub path: String,
    /// What became of it.
    pub problem: String,
}

impl Newer {
    /// Fields from `seed`. `reader` reads the objects that clients write to: it must be allowed to get all of them.
    pub fn seeded(seed: u64, reader: &Client) -> Self {
        let shared = Shared { seed, reader: reader.clone(), seen: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The same identity, called `user` in violations, at a newer server.
    pub fn client(&self, user: &str, inner: &Client) -> Client {
        let transport = Layer { user: user.into(), inner: inner.clone(), shared: self.shared.clone() };
        Client::new(transport, *inner.clock(), inner.entropy().clone())
    }

    /// What writes would have lost; at most 1,000.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.lock().violations.clone()
    }

    /// How many writes were checked, by user and resource (`pods/status`; `create pods` for those made from a template). A test makes sure that those it is about are there.
    pub fn checked(&self) -> BTreeMap<(Arc<str>, String), u64> {
        self.shared.lock().checked.clone()
    }
}

impl fmt::Debug for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Newer({} violations)", self.shared.lock().violations.len())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, verb, resource, subresource, key, path, problem } = self;
        write!(f, "{user}: {verb} {resource}")?;
        if !subresource.is_empty() {
            write!(f, "/{subresource}")?;
        }
        write!(f, " {key}: {path} {problem}")
    }
}

struct Layer {
    user: Arc<str>,
    inner: Client,
    shared: Arc<Shared>,
}

#[async_trait]
impl Transport for Layer {
    async fn call(&self, mut request: Request) -> Result<Response, Error> {
        let resource = request.resource.clone();
        match request.verb {
            Verb::Create => self.check_copy(&request).await,
            _ => self.check(&request).await,
        }
        if let Body::Value(value) | Body::Patch(_, value) = &mut request.body {
            fields::take_out(value);
        }
        let mut response = self.inner.call(request).await?;
        response.content = self.shared.dress_content(&resource, response.content)?;
        Ok(response)
    }
}

impl Layer {
    /// Whether a write carries back what it was made from.
    async fn check(&self, request: &Request) {
        let subresource = request.subresource.as_deref().unwrap_or_default();
        let is_object = matches!(subresource, "" | "status" | "finalize");
        let is_change = matches!(request.verb, Verb::Update | Verb::Patch);
        let (true, true, Some(name)) = (is_object, is_change, &request.name) else {
            return;
        };
        // One that does not exist is refused by the server.
        let Some(current) = self.shared.read(request, name).await else {
            return;
        };
        let place = Place::of(&request.resource);
        let base = self.shared.dressed(&request.resource, &current);
        let written = match &request.body {
            Body::Value(value) => value.clone(),
            Body::Patch(kind, change) => {
                match patch::apply(*kind, place.schema(), &base, change) {
                    Ok(patched) => patched,
                    // One that does not apply is refused by the server.
                    Err(_) => return,
                }
            }
            _ => return,
        };
        // A write that is bound to another revision is refused as well.
        let bound = written["metadata"]["resourceVersion"].as_str();
        if bound.is_some_and(|bound| bound != current.revision().to_string()) {
            return;
        }
        let lost = match subresource {
            "status" => carried::lost_below("status", &place, &base, &written),
            _ => carried::lost(&place, &base, &written),
        };
        let part = match subresource {
            "" => request.resource.to_string(),
            part => format!("{}/{part}", request.resource),
        };
        self.note(request, part, current.key(), lost);
    }

    /// Whether what is made from a template is made from all of it.
    async fn check_copy(&self, request: &Request) {
        let (Body::Value(written), None) = (&request.body, &request.subresource) else {
            return;
        };
        let Some(owner) = copied::owner_of(written) else {
            return;
        };
        let Some(current) = self.shared.read_of(&owner.resource, request.namespace.as_deref(), &owner.name).await
        else {
            return;
        };
        let base = self.shared.dressed(&owner.resource, &current);
        let Some(lost) = copied::lost(&request.resource, written, &owner.resource, &base) else {
            return;
        };
        let name = written["metadata"]["name"].as_str().or_else(|| written["metadata"]["generateName"].as_str());
        let key = ObjectKey::namespaced(request.namespace.as_deref().unwrap_or_default(), name.unwrap_or_default());
        self.note(request, format!("create {}", request.resource), &key, lost);
    }

    fn note(&self, request: &Request, part: String, key: &ObjectKey, lost: Vec<(String, String)>) {
        let mut seen = self.shared.lock();
        *seen.checked.entry((self.user.clone(), part)).or_default() += 1;
        for (path, problem) in lost {
            if seen.violations.len() == VIOLATIONS_MAX {
                return;
            }
            seen.violations.push(Violation {
                user: self.user.clone(),
                verb: request.verb,
                resource: request.resource.clone(),
                subresource: request.subresource.as_deref().unwrap_or_default().to_owned(),
                key: key.clone(),
                path,
                problem,
            });
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, request: &Request, name: &str) -> Option<Object> {
        self.read_of(&request.resource, request.namespace.as_deref(), name).await
    }

    async fn read_of(&self, resource: &ResourceType, namespace: Option<&str>, name: &str) -> Option<Object> {
        let api = self.reader.dynamic(resource.clone());
        let api = match namespace {
            Some(namespace) => api.in_namespace(namespace),
            None => api,
        };
        api.get_opt(name).await.ok().flatten()
    }

    /// The object with the fields that clients do not know.
    fn dressed(&self, resource: &ResourceType, object: &Object) -> Value {
        let mut value = object.to_value();
        fields::put_in(self.seed, &Place::of(resource), &mut value);
        value
    }

    fn dress(&self, resource: &ResourceType, object: &Object) -> Result<Object, Error> {
        let dressed = self.dressed(resource, object);
        Ok(Object::from_value(dressed, object.revision())?)
    }

    fn dress_content(self: &Arc<Self>, resource: &Arc<ResourceType>, content: Content) -> Result<Content, Error> {
        Ok(match content {
            Content::Object(object) => Content::Object(self.dress(resource, &object)?),
            Content::Created(object) => Content::Created(self.dress(resource, &object)?),
            Content::List(mut list) => {
                for object in &mut list.items {
                    *object = self.dress(resource, object)?;
                }
                Content::List(list)
            }
            Content::Watch(events) => Content::Watch(self.dress_events(resource.clone(), events)),
            other => other,
        })
    }

    fn dress_events(self: &Arc<Self>, resource: Arc<ResourceType>, events: WatchStream) -> WatchStream {
        let shared = self.clone();
        let dress = move |event: Result<WatchEvent, Error>| {
            Ok(match event? {
                WatchEvent::Added(object) => WatchEvent::Added(shared.dress(&resource, &object)?),
                WatchEvent::Modified(object) => WatchEvent::Modified(shared.dress(&resource, &object)?),
                WatchEvent::Deleted(object) => WatchEvent::Deleted(shared.dress(&resource, &object)?),
                bookmark => bookmark,
            })
        };
        events.map(dress).boxed()
    }
}

#[cfg(test)]
mod tests;
