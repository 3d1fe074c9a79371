//! What the server says.

use http::header::WARNING;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Reason, Status};
use crate::object::{Object, ResourceType};
use crate::request::{Content, ObjectList, Request, Verb};

/// An answer that is no stream.
pub(super) fn decode(code: StatusCode, bytes: &[u8], request: &Request, target: &str) -> Result<Content, Error> {
    if !code.is_success() {
        return Err(status(code, bytes).into());
    }
    let unreadable = |error: serde_json::Error| Error::Transport {
        target: target.to_owned(),
        problem: format!("the answer cannot be read: {error}"),
    };
    if request.verb == Verb::List {
        return list(bytes, &request.resource, unreadable).map(Content::List);
    }
    let value: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
    if value["kind"] == "Status" && value["apiVersion"] == "v1" {
        return Ok(Content::Status(serde_json::from_value(value).map_err(unreadable)?));
    }
    let resource = &*request.resource;
    // A subresource may have a kind of its own (Scale).
    if value["kind"] != *resource.kind || value["apiVersion"] != *resource.api_version() {
        return Ok(Content::Value(value));
    }
    let object = object(value, resource)?;
    Ok(if code == StatusCode::CREATED { Content::Created(object) } else { Content::Object(object) })
}

/// A refusal: the server's own `Status`, or one made of the code where the server (or a proxy) sent something else.
fn status(code: StatusCode, bytes: &[u8]) -> Status {
    let sent: Option<Value> = serde_json::from_slice(bytes).ok();
    let sent = sent.filter(|value| value["kind"] == "Status");
    let sent: Option<Status> = sent.and_then(|value| serde_json::from_value(value).ok());
    sent.unwrap_or_else(|| {
        let reason = match code.as_u16() {
            400 => Reason::BadRequest,
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            404 => Reason::NotFound,
            405 => Reason::MethodNotAllowed,
            409 => Reason::Conflict,
            410 => Reason::Gone,
            413 => Reason::RequestEntityTooLarge,
            429 => Reason::TooManyRequests,
            503 => Reason::ServiceUnavailable,
            504 => Reason::Timeout,
            _ => Reason::Unknown,
        };
        let text: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(256).collect();
        let message = if text.is_empty() { code.to_string() } else { format!("{code}: {text}") };
        Status { code: code.as_u16(), ..Status::new(reason, message) }
    })
}

/// An object; in typed lists, upstream leaves kind and version out.
pub(super) fn object(mut value: Value, resource: &ResourceType) -> Result<Object, Error> {
    let revision = value["metadata"]["resourceVersion"].as_str().and_then(|revision| revision.parse().ok());
    if let Some(fields) = value.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| (&*resource.api_version()).into());
        fields.entry("kind").or_insert_with(|| (&*resource.kind).into());
    }
    Ok(Object::from_value(value, revision.unwrap_or_default())?)
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    /// `null` where an empty list is meant.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    continue_token: String,
    remaining_item_count: Option<u64>,
}

fn list(
    bytes: &[u8],
    resource: &ResourceType,
    unreadable: impl Fn(serde_json::Error) -> Error,
) -> Result<ObjectList, Error> {
    let List { metadata, items } = serde_json::from_slice(bytes).map_err(&unreadable)?;
    // One tree at a time, however long the list is.
    let items = items.unwrap_or_default().into_iter().map(|item| {
        let value = serde_json::from_str(item.get()).map_err(&unreadable)?;
        object(value, resource)
    });
    Ok(ObjectList {
        items: items.collect::<Result<_, _>>()?,
        revision: metadata.resource_version.parse().unwrap_or_default(),
        continue_token: Some(metadata.continue_token).filter(|token| !token.is_empty()),
        remaining: metadata.remaining_item_count,
    })
}

/// The texts of `Warning` headers (RFC 7234: code, agent, quoted text).
pub(super) fn warnings(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &http::HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let quoted = value.split_once('"')?.1.strip_suffix('"')?;
        let mut text = String::with_capacity(quoted.len());
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            text.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        Some(text)
    };
    headers.get_all(WARNING).iter().filter_map(text).collect()
}
