//! How answers are written.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WARNING};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use kore_store::Clock;
use serde::Serialize;
use serde_json::{Value, json};

use super::accept::{Accepted, Shape};
use super::table::{IncludeObject, Table};
use super::{Body, Closing, Query, watch};
use crate::codec::{self, Format};
use crate::error::Status;
use crate::object::Object;
use crate::registry::ResourceInfo;
use crate::request::{self, Content, ObjectList};

/// More warnings than this are not sent.
const WARNINGS_MAX: usize = 32;
/// A longer warning is cut off.
const WARNING_CHARS_MAX: usize = 1024;

/// How one request wants to be answered.
pub(super) struct Reply {
    resource: Arc<ResourceInfo>,
    accepted: Accepted,
    table: Table,
    pretty: bool,
    closing: Option<Closing>,
}

impl Reply {
    pub(super) fn new(
        resource: Arc<ResourceInfo>,
        accepted: Accepted,
        query: &Query,
        clock: Clock,
        closing: Option<Closing>,
    ) -> Result<Self, Status> {
        let include = IncludeObject::parse(query.get("includeObject").unwrap_or_default())?;
        let table = Table::new(resource.clone(), include, clock);
        let pretty = query.flag("pretty")?;
        Ok(Self { resource, accepted, table, pretty, closing })
    }

    /// Writes an answer of the core.
    pub(super) fn write(self, response: request::Response) -> Result<Response<Body>, Status> {
        let warnings = response.warnings;
        let mut written = self.write_content(response.content)?;
        for warning in warnings.iter().take(WARNINGS_MAX) {
            written.headers_mut().append(WARNING, warning_value(warning));
        }
        Ok(written)
    }

    fn write_content(self, content: Content) -> Result<Response<Body>, Status> {
        match content {
            Content::Object(object) => self.object(StatusCode::OK, &object),
            Content::Created(object) => self.object(StatusCode::CREATED, &object),
            Content::List(list) => self.list(list),
            Content::Value(value) => {
                let value = match self.accepted.shape {
                    Shape::Table => self.table.of_value(value),
                    Shape::Whole => value,
                    Shape::Metadata => partial(&value),
                };
                self.value(StatusCode::OK, &value)
            }
            Content::Status(status) => {
                let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::OK);
                self.value(code, &serde_json::to_value(&status).map_err(Status::internal)?)
            }
            Content::Watch(events) => {
                let events = watch::lines(events, self.accepted.shape, self.table, self.resource, self.closing);
                Ok(with_type("application/json", Body::stream(events)))
            }
            Content::Bytes(bytes) => {
                let bytes = watch::until_closing(bytes, self.closing);
                Ok(with_type("text/plain", Body::stream(bytes)))
            }
        }
    }

    fn object(self, code: StatusCode, object: &Object) -> Result<Response<Body>, Status> {
        let as_stored = self.accepted == Accepted { format: Format::Json, shape: Shape::Whole };
        if as_stored && !self.pretty {
            let managed = object.managed_fields().map_or(0, bytes::Bytes::len);
            let mut out = Vec::with_capacity(object.body().len() + managed + 128);
            object.write_json(&mut out);
            out.push(b'\n');
            let mut response = with_type("application/json", out);
            *response.status_mut() = code;
            return Ok(response);
        }
        let value = match self.accepted.shape {
            Shape::Whole => object.to_value(),
            Shape::Metadata => partial(&object.to_value()),
            Shape::Table => self.table.of_object(object),
        };
        self.value(code, &value)
    }

    fn list(self, list: ObjectList) -> Result<Response<Body>, Status> {
        let metadata = list_metadata(&list);
        let items = list.items.into_iter();
        let body = match self.accepted.shape {
            Shape::Whole => {
                let resource = &self.resource.resource;
                let head = list_head(&format!("{}List", resource.kind), &resource.api_version(), &metadata);
                Body::joined(head, items, |out, object: Object| object.write_json(out), b"]}\n")
            }
            Shape::Metadata => {
                let head = list_head("PartialObjectMetadataList", "meta.k8s.io/v1", &metadata);
                Body::joined(head, items, |out, object: Object| append(out, &partial(&object.to_value())), b"]}\n")
            }
            Shape::Table => {
                let table = self.table.clone();
                let write = move |out: &mut Vec<u8>, object: Object| append(out, &table.row(&object));
                Body::joined(self.table.head(&metadata), items, write, b"]}\n")
            }
        };
        if self.accepted.format == Format::Json && !self.pretty {
            return Ok(with_type("application/json", body));
        }
        let bytes = body.into_bytes().map_err(|_| Status::internal("a list is no stream"))?;
        self.value(StatusCode::OK, &serde_json::from_slice(&bytes).map_err(Status::internal)?)
    }

    fn value(&self, code: StatusCode, value: &Value) -> Result<Response<Body>, Status> {
        let format = self.accepted.format;
        let pretty = self.pretty && format == Format::Json;
        let encoded = if pretty { None } else { codec::encode(format, value).ok() };
        // What has no protobuf is sent as JSON, and says so.
        let (format, bytes) = match encoded {
            Some(bytes) => (format, bytes),
            None if pretty => (Format::Json, serde_json::to_vec_pretty(value).map_err(Status::internal)?.into()),
            None => (Format::Json, codec::encode(Format::Json, value).map_err(Status::internal)?),
        };
        let mut response = with_type(format.content_type(), bytes);
        *response.status_mut() = code;
        Ok(response)
    }
}

/// The metadata of a list, or of a table of many.
fn list_metadata(list: &ObjectList) -> Value {
    let mut metadata = json!({"resourceVersion": list.revision.to_string()});
    if let Some(token) = &list.continue_token {
        metadata["continue"] = token.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

fn list_head(kind: &str, api_version: &str, metadata: &Value) -> Vec<u8> {
    let (kind, api_version) = (json!(kind), json!(api_version));
    format!(r#"{{"kind":{kind},"apiVersion":{api_version},"metadata":{metadata},"items":["#).into_bytes()
}

/// Appends a value as JSON.
pub(super) fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("writing JSON to memory does not fail");
}

/// The metadata of an object, and nothing else of it.
pub(super) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// An answer with a body of this type.
pub(super) fn with_type(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    let mut out = Vec::new();
    append(&mut out, value);
    out.push(b'\n');
    with_type("application/json", out)
}

/// A status as an answer.
pub(super) fn refuse(status: &Status) -> Response<Body> {
    let mut response = json(status);
    *response.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let retry_after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if retry_after > 0 {
        response.headers_mut().insert(RETRY_AFTER, retry_after.into());
    }
    response
}

/// A `Warning` header as RFC 7234 has it: code, agent, text.
fn warning_value(text: &str) -> HeaderValue {
    let mut quoted = String::from("299 - \"");
    for c in text.chars().filter(|c| !c.is_control()).take(WARNING_CHARS_MAX) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    HeaderValue::from_bytes(quoted.as_bytes()).expect("there are no control characters in it")
}

/// The age of an object as tables show it.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    let created = object["metadata"]["creationTimestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    created.map_or_else(|| "<unknown>".into(), |created| crate::kinds::duration::between(created, now).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_quoted() {
        for (text, expected) in [
            ("plain", r#"299 - "plain""#),
            ("unknown field \"a\\b\"\n", r#"299 - "unknown field \"a\\b\"""#),
            ("für", "299 - \"für\""),
        ] {
            assert_eq!(warning_value(text).as_bytes(), expected.as_bytes());
        }
    }
}
