//! `/openapi/v3`: the index, and the documents, which are built when they are first asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::accept::negotiate;
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
    /// By group version; as many as there are group versions at most.
    documents: BTreeMap<String, Bytes>,
}

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
        let mut built = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = built.as_ref().is_none_or(|built| !Arc::ptr_eq(&built.registry, registry));
        if stale {
            let sources = registry.iter().chain(reviews.iter()).map(|info| source(info)).collect();
            *built = Some(Built { registry: registry.clone(), sources, documents: BTreeMap::new() });
        }
        let built = built.as_mut().expect("built just now");
        let api_version = match *segments {
            [] => return Ok(json(&openapi::index(&built.sources))),
            ["api", version] => version.to_owned(),
            ["apis", group, version] => format!("{group}/{version}"),
            _ => return Err(no_such_resource()),
        };
        let hash = openapi::hash(&built.sources, &api_version);
        let etag = format!("\"{hash}\"");
        let known = head.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
        let document = built.document(&api_version)?;
        let mut response = with_type("application/json", if known { Bytes::new() } else { document });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::from_str(&etag).map_err(Status::internal)?);
        // Under the address that the index gives, the document never changes.
        if query.get("hash") == Some(&*hash) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        }
        Ok(response)
    }
}

impl Built {
    fn document(&mut self, api_version: &str) -> Result<Bytes, Status> {
        if let Some(document) = self.documents.get(api_version) {
            return Ok(document.clone());
        }
        let document = openapi::document(&self.sources, api_version).ok_or_else(no_such_resource)?;
        let document = Bytes::from(serde_json::to_vec(&document).map_err(Status::internal)?);
        self.documents.insert(api_version.to_owned(), document.clone());
        Ok(document)
    }
}

fn source(info: &crate::registry::ResourceInfo) -> PathSource {
    let resource = &info.resource;
    let api_version = resource.api_version();
    let source = PathSource::new(&api_version, &resource.kind, &resource.plural, resource.is_namespaced());
    subresources(info).into_iter().fold(source.with_verbs(resource_verbs(info)), |source, part| {
        let verbs = part_verbs(info, part);
        match subresource_kind(part) {
            Some(("", version, kind)) => source.with_subresource(part, version, kind, &verbs),
            Some((group, version, kind)) => source.with_subresource(part, &format!("{group}/{version}"), kind, &verbs),
            None => source.with_subresource(part, &api_version, &resource.kind, &verbs),
        }
    })
}
