//! `/openapi/v2` and `/openapi/v3`: the index, and the documents, which are built when they are first asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::accept::{first_of, negotiate};
use super::discovery::{part_verbs, resource_verbs, subresource_kind, subresources};
use super::respond::{json, with_type};
use super::routes::no_such_resource;
use super::{Body, Query};
use crate::error::Status;
use crate::openapi::{self, PathSource};
use crate::registry::Registry;

/// The documents of one registry; of another registry, all anew.
#[derive(Clone, Default)]
pub(super) struct Documents(Arc<Mutex<Option<Built>>>);

struct Built {
    /// Held so that its address stays its identity.
    registry: Arc<Registry>,
    sources: Vec<PathSource>,
    /// As many as there are group versions at most, and two.
    documents: BTreeMap<Document, Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Document {
    V2Json,
    V2Protobuf,
    /// That of a group version.
    V3(String),
}

/// The media type under which clients ask for the v2 document in protobuf: the older spelling, which is no media type, is
/// what client-go sends. The answer is in the newer one.
const V2_PROTOBUF_ASKED: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

impl Documents {
    /// Answers `/openapi/v3` (no segments) or `/openapi/v3/SEGMENTS`.
    pub(super) fn answer(
        &self,
        registry: &Arc<Registry>,
        reviews: &Registry,
        segments: &[&str],
        query: &Query,
        head: &Parts,
    ) -> Result<Response<Body>, Status> {
        // JSON is what it is; who wants something else is told so.
        negotiate(&head.headers, true)?;
        self.with(registry, reviews, |built| {
            let api_version = match *segments {
                [] => return Ok(json(&openapi::index(&built.sources))),
                ["api", version] => version.to_owned(),
                ["apis", group, version] => format!("{group}/{version}"),
                _ => return Err(no_such_resource()),
            };
            built.response(Document::V3(api_version), query, head)
        })
    }

    /// Answers `/openapi/v2`, in JSON or protobuf.
    pub(super) fn answer_v2(
        &self,
        registry: &Arc<Registry>,
        reviews: &Registry,
        query: &Query,
        head: &Parts,
    ) -> Result<Response<Body>, Status> {
        let document = match first_of(&head.headers, &V2_PROTOBUF_ASKED) {
            true => Document::V2Protobuf,
            false => {
                negotiate(&head.headers, true)?;
                Document::V2Json
            }
        };
        self.with(registry, reviews, |built| built.response(document, query, head))
    }

    fn with<T>(&self, registry: &Arc<Registry>, reviews: &Registry, answer: impl FnOnce(&mut Built) -> T) -> T {
        let mut built = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = built.as_ref().is_none_or(|built| !Arc::ptr_eq(&built.registry, registry));
        if stale {
            let sources = registry.iter().chain(reviews.iter()).map(|info| source(info)).collect();
            *built = Some(Built { registry: registry.clone(), sources, documents: BTreeMap::new() });
        }
        answer(built.as_mut().expect("built just now"))
    }
}

impl Built {
    fn response(&mut self, document: Document, query: &Query, head: &Parts) -> Result<Response<Body>, Status> {
        let (hash, media_type) = match &document {
            Document::V2Json => (openapi::hash_v2(&self.sources), "application/json"),
            Document::V2Protobuf => (openapi::hash_v2(&self.sources), V2_PROTOBUF_ASKED[1]),
            Document::V3(api_version) => (openapi::hash(&self.sources, api_version), "application/json"),
        };
        // Two forms of one document are two things to a cache.
        let etag =
            if document == Document::V2Protobuf { format!("\"{hash}-protobuf\"") } else { format!("\"{hash}\"") };
        let known = head.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
        let is_v3 = matches!(document, Document::V3(_));
        let content = self.content(document)?;
        let mut response = with_type(media_type, if known { Bytes::new() } else { content });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::from_str(&etag).map_err(Status::internal)?);
        // Under the address that the index gives, the document never changes.
        if is_v3 && query.get("hash") == Some(&*hash) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        }
        Ok(response)
    }

    fn content(&mut self, document: Document) -> Result<Bytes, Status> {
        if let Some(content) = self.documents.get(&document) {
            return Ok(content.clone());
        }
        let text = |value: &Value| serde_json::to_vec(value).map_err(Status::internal);
        let content = Bytes::from(match &document {
            Document::V2Json => text(&openapi::document_v2(&self.sources))?,
            Document::V2Protobuf => openapi::document_v2_protobuf(&self.sources),
            Document::V3(api_version) => {
                text(&openapi::document(&self.sources, api_version).ok_or_else(no_such_resource)?)?
            }
        });
        self.documents.insert(document, content.clone());
        Ok(content)
    }
}

fn source(info: &crate::registry::ResourceInfo) -> PathSource {
    let resource = &info.resource;
    let api_version = resource.api_version();
    let mut source = PathSource::new(&api_version, &resource.kind, &resource.plural, resource.is_namespaced());
    source.schema = info.stated_schema.as_deref().cloned();
    subresources(info).into_iter().fold(source.with_verbs(resource_verbs(info)), |source, part| {
        let verbs = part_verbs(info, part);
        match subresource_kind(part) {
            Some(("", version, kind)) => source.with_subresource(part, version, kind, &verbs),
            Some((group, version, kind)) => source.with_subresource(part, &format!("{group}/{version}"), kind, &verbs),
            None => source.with_subresource(part, &api_version, &resource.kind, &verbs),
        }
    })
}
