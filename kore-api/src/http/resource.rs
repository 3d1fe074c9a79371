//! Requests for resources.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, Response};

use super::accept::negotiate;
use super::layer::RequestInfo;
use super::path::ResourcePath;
use super::query::{FIELD_MANAGER_CHARS_MAX, delete_options};
use super::respond::Reply;
use super::routes::{method_not_allowed, no_such_resource};
use super::{Body as HttpBody, Core};
use crate::auth::User;
use crate::codec::{self, Format};
use crate::error::{Reason, Status};
use crate::patch::PatchKind;
use crate::registry::ResourceInfo;
use crate::request::{Body, Options, Request, Verb};

/// Answers a request for a resource.
pub(super) async fn answer(
    core: &Arc<dyn Core>,
    user: &User,
    head: &Parts,
    info: &RequestInfo,
    path: &ResourcePath,
    body: Bytes,
) -> Result<Response<HttpBody>, Status> {
    let find = || core.registry().get(&path.group, &path.version, &path.plural).cloned();
    let resource = match find() {
        Some(resource) => resource,
        None => {
            core.refresh().await;
            find().ok_or_else(no_such_resource)?
        }
    };
    let resource = &resource;
    let verb = verb(resource, path, &head.method, info.is_watch)?;
    // Before anything is done: what cannot be answered is not done.
    let accepted = negotiate(&head.headers, verb == Verb::Watch)?;
    let mut options = info.query.options()?;
    let body = read_body(verb, &head.headers, body, &mut options)?;
    let watched = path.name.as_deref().filter(|_| verb == Verb::Watch);
    if let Some(name) = watched {
        let selectors = options.field_selector.take().into_iter().chain([format!("metadata.name={name}")]);
        options.field_selector = Some(selectors.collect::<Vec<_>>().join(","));
    }
    let request = Request {
        verb,
        resource: resource.resource.clone(),
        namespace: path.namespace.as_deref().map(Arc::from),
        name: path.name.as_deref().filter(|_| watched.is_none()).map(Arc::from),
        subresource: path.subresource.as_deref().map(Arc::from),
        options,
        body,
        user_agent: user_agent(&head.headers),
    };
    let closing = head.extensions.get::<super::Closing>().cloned();
    let reply = Reply::new(resource.clone(), accepted, &info.query, core.clock(), closing)?;
    let response = core.handle(user, request).await?;
    reply.write(response)
}

/// The name of the program that sends, as upstream takes it for a field manager: what stands before the first slash, as far as it
/// is printable, and no more than 128 characters of it.
fn user_agent(headers: &HeaderMap) -> Arc<str> {
    let value = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = value.split('/').next().unwrap_or_default();
    name.chars().filter(|character| !character.is_control()).take(FIELD_MANAGER_CHARS_MAX).collect::<String>().into()
}

/// What the method means for this path, if the resource has it.
fn verb(resource: &ResourceInfo, path: &ResourcePath, method: &Method, is_watch: bool) -> Result<Verb, Status> {
    let namespaced = resource.resource.is_namespaced();
    if path.namespace.is_some() && !namespaced {
        return Err(no_such_resource());
    }
    // An object of a namespaced resource is only found in its namespace.
    if path.name.is_some() && path.namespace.is_none() && namespaced {
        return Err(no_such_resource());
    }
    if is_watch && path.subresource.is_none() {
        return Ok(Verb::Watch);
    }
    let verb = match (method, &path.name) {
        (&Method::GET | &Method::HEAD, None) => Verb::List,
        (&Method::GET | &Method::HEAD, Some(_)) => Verb::Get,
        (&Method::POST, None) => Verb::Create,
        (&Method::POST, Some(_)) if path.subresource.is_some() => Verb::Create,
        (&Method::PUT, Some(_)) => Verb::Update,
        (&Method::PATCH, Some(_)) => Verb::Patch,
        (&Method::DELETE, Some(_)) => Verb::Delete,
        (&Method::DELETE, None) => Verb::DeleteCollection,
        _ => return Err(method_not_allowed()),
    };
    match path.subresource.as_deref() {
        Some(part) => {
            let verbs = subresource_verbs(resource, part).ok_or_else(no_such_resource)?;
            if verbs.contains(&verb) { Ok(verb) } else { Err(method_not_allowed()) }
        }
        // A namespaced object is made, and a namespace emptied, in a namespace.
        None if namespaced && path.namespace.is_none() && !verb.is_read() => Err(method_not_allowed()),
        None => Ok(verb),
    }
}

/// What can be done with a part of a resource's objects; `None` if they have no such part.
pub(super) fn subresource_verbs(resource: &ResourceInfo, part: &str) -> Option<&'static [Verb]> {
    const PART: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
    match part {
        "status" => resource.has_status.then_some(PART),
        "scale" => resource.scale.is_some().then_some(PART),
        _ if !resource.subresources.contains(&part) => None,
        "binding" | "eviction" | "token" => Some(&[Verb::Create]),
        "finalize" => Some(&[Verb::Update]),
        "log" => Some(&[Verb::Get]),
        "attach" | "exec" | "portforward" => Some(&[Verb::Create, Verb::Get]),
        "proxy" => Some(&[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update]),
        _ => Some(PART),
    }
}

fn read_body(verb: Verb, headers: &HeaderMap, body: Bytes, options: &mut Options) -> Result<Body, Status> {
    match verb {
        Verb::Get | Verb::List | Verb::Watch => Ok(Body::Empty),
        Verb::Create | Verb::Update => Ok(Body::Encoded(body_format(headers)?, body)),
        Verb::Patch => Ok(Body::EncodedPatch(patch_kind(headers)?, body)),
        Verb::Delete | Verb::DeleteCollection => {
            if !body.is_empty() {
                let decoded = codec::decode(body_format(headers)?, &body, &codec::Limits::default());
                let decoded = decoded.map_err(|error| Status::bad_request(error.to_string()))?;
                delete_options(options, &decoded.value)?;
            }
            Ok(Body::Empty)
        }
    }
}

/// The `Content-Type` without parameters; empty if there is none.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn body_format(headers: &HeaderMap) -> Result<Format, Status> {
    match &*media_type(headers) {
        // As upstream: who says nothing means JSON.
        "" => Ok(Format::Json),
        media_type => Format::from_content_type(media_type).ok_or_else(|| {
            let accepted = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
            unsupported(&accepted)
        }),
    }
}

fn patch_kind(headers: &HeaderMap) -> Result<PatchKind, Status> {
    match &*media_type(headers) {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        _ => {
            let accepted = [
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ];
            Err(unsupported(&accepted))
        }
    }
}

fn unsupported(accepted: &[&str]) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    Status::new(Reason::UnsupportedMediaType, message)
}
