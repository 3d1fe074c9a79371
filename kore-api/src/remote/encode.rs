//! A request as HTTP.

use std::fmt::Write;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::error::Error;
use crate::patch::PatchKind;
use crate::request::{Body, FieldValidation, Options, Propagation, Request, Verb};

/// Whether the answer is a log.
pub(super) fn is_log(request: &Request) -> bool {
    request.verb == Verb::Get && request.subresource.as_deref() == Some("log")
}

/// The request to `server` (a URL without a slash at the end), without credentials.
pub(super) fn encode(server: &str, request: &Request) -> Result<http::Request<Full<Bytes>>, Error> {
    let what = || format!("{} {}", request.verb, request.resource);
    let unsendable = |problem: String| Error::Unsendable { what: what(), problem };
    let deletes = matches!(request.verb, Verb::Delete | Verb::DeleteCollection);
    let (content_type, body) = match &request.body {
        _ if deletes => ("application/json", to_bytes(&delete_options(&request.options))),
        Body::Empty => ("", Bytes::new()),
        Body::Value(value) => {
            let value = with_preconditions(value.clone(), &request.options);
            ("application/json", to_bytes(&value))
        }
        Body::Encoded(format, bytes) => (format.content_type(), bytes.clone()),
        Body::Patch(PatchKind::Json, patch) => (patch_type(PatchKind::Json), to_bytes(patch)),
        Body::Patch(kind, patch) => (patch_type(*kind), to_bytes(&with_preconditions(patch.clone(), &request.options))),
        Body::EncodedPatch(kind, bytes) => (patch_type(*kind), bytes.clone()),
    };
    let mut encoded = http::Request::builder().method(method(request.verb)).uri(uri(server, request));
    if !content_type.is_empty() {
        encoded = encoded.header(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    encoded.body(Full::new(body)).map_err(|error| unsendable(error.to_string()))
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Get | Verb::List | Verb::Watch => Method::GET,
        Verb::Create => Method::POST,
        Verb::Update => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Delete | Verb::DeleteCollection => Method::DELETE,
    }
}

fn patch_type(kind: PatchKind) -> &'static str {
    match kind {
        PatchKind::Json => "application/json-patch+json",
        PatchKind::Merge => "application/merge-patch+json",
        PatchKind::Strategic => "application/strategic-merge-patch+json",
        PatchKind::Apply => "application/apply-patch+yaml",
    }
}

fn to_bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("a JSON tree always encodes").into()
}

/// On the wire, a write says in the object itself which one it means.
fn with_preconditions(mut value: Value, options: &Options) -> Value {
    if let (Some(uid), Some(fields)) = (&options.precondition_uid, value.as_object_mut()) {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("uid".into(), uid.as_str().into());
        }
    }
    value
}

fn uri(server: &str, request: &Request) -> String {
    let resource = &request.resource;
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let namespace = request.namespace.as_deref().map(|namespace| ["namespaces", namespace]);
    let segments = [root, &*resource.group, &*resource.version].into_iter().filter(|segment| !segment.is_empty());
    let segments = segments.chain(namespace.into_iter().flatten()).chain([&*resource.plural]);
    let segments = segments.chain(request.name.as_deref()).chain(request.subresource.as_deref());
    let mut uri = server.to_owned();
    for segment in segments {
        uri.push('/');
        percent_encode(&mut uri, segment);
    }
    let mut separator = '?';
    for (name, value) in parameters(request) {
        uri.push(std::mem::replace(&mut separator, '&'));
        percent_encode(&mut uri, &name);
        uri.push('=');
        percent_encode(&mut uri, &value);
    }
    uri
}

/// The query: what the server reads back as the same options. Those of a deletion travel in its body.
fn parameters(request: &Request) -> Vec<(String, String)> {
    let options = &request.options;
    let deletes = matches!(request.verb, Verb::Delete | Verb::DeleteCollection);
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let flag = |set: bool| set.then(|| "true".to_owned());
    let field_validation = match options.field_validation {
        FieldValidation::Warn => None,
        FieldValidation::Ignore => Some("Ignore".to_owned()),
        FieldValidation::Strict => Some("Strict".to_owned()),
    };
    let known = [
        ("watch", flag(request.verb == Verb::Watch)),
        ("labelSelector", options.label_selector.clone()),
        ("fieldSelector", options.field_selector.clone()),
        ("limit", number(Some(options.limit).filter(|limit| *limit > 0))),
        ("continue", options.continue_token.clone()),
        ("resourceVersion", options.resource_version.clone()),
        ("resourceVersionMatch", options.resource_version_match.clone()),
        ("timeoutSeconds", number(options.timeout_seconds)),
        ("allowWatchBookmarks", flag(options.allow_watch_bookmarks)),
        ("sendInitialEvents", flag(options.send_initial_events)),
        ("dryRun", (options.dry_run && !deletes).then(|| "All".to_owned())),
        ("fieldManager", options.field_manager.clone()),
        ("fieldValidation", field_validation),
        ("force", flag(options.force)),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.chain(options.extra.iter().cloned()).collect()
}

fn delete_options(options: &Options) -> Value {
    let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    if let Some(seconds) = options.grace_period_seconds {
        body["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(propagation) = options.propagation {
        let policy = match propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        body["propagationPolicy"] = policy.into();
    }
    if options.dry_run {
        body["dryRun"] = json!(["All"]);
    }
    if let Some(uid) = &options.precondition_uid {
        body["preconditions"]["uid"] = uid.as_str().into();
    }
    if let Some(revision) = &options.precondition_revision {
        body["preconditions"]["resourceVersion"] = revision.as_str().into();
    }
    body
}

/// Appends `text` with everything encoded that is not unreserved (RFC 3986).
fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
}
