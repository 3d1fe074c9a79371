//! OpenAPI documents: v3, one per group version, which `kubectl explain`, client-side apply and field validation read; and v2,
//! one for all, which clients read that validate by themselves.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`PathSource`], [`index`], [`document`], [`hash`], [`document_v2`], [`document_v2_protobuf`] |
//! | `paths.rs` | the operations on a resource |
//! | `components.rs` | the schemas, from the table of facts |
//! | `descriptions.rs` | the texts, from the schemas that come with `k8s-openapi` |
//! | `v2.rs` | the v2 document, from the v3 ones |
//! | `gnostic.rs` | its protobuf form |
//!
//! Everything here is a pure function of the sources; a document takes milliseconds to build and up to a few megabytes, so a
//! server builds each when it is first asked for and keeps the bytes. The index costs next to nothing: its hashes are those
//! of the sources, of which the documents are a function.
//!
//! ```
//! use kore_api::openapi::{self, PathSource};
//!
//! let sources = [PathSource::new("apps/v1", "Deployment", "deployments", true).with_subresource("status", "apps/v1", "Deployment", &["get", "update", "patch"])];
//! let index = openapi::index(&sources);
//! assert!(index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().starts_with("/openapi/v3/apis/apps/v1?hash="));
//! let document = openapi::document(&sources, "apps/v1").unwrap();
//! assert!(document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"].is_object());
//! assert!(document["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["replicas"]["description"].is_string());
//! ```

mod components;
mod descriptions;
mod gnostic;
mod paths;
mod v2;

use std::collections::BTreeSet;
use std::hash::Hasher as _;

use serde_json::{Map, Value, json};

/// The version of the API that the documents describe.
const VERSION: &str = "v1.37.0";
/// The verbs of a resource with everything.
const ALL_VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A resource, as far as its OpenAPI document needs to know it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PathSource {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// What can be done with it, as discovery says: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`.
    pub verbs: Vec<String>,
    /// Its subresources.
    pub subresources: Vec<SubresourceSource>,
    /// The OpenAPI v3 schema of a kind that is not built in. Without it such a kind is an object with free fields.
    pub schema: Option<Value>,
}

/// A subresource, as far as its OpenAPI document needs to know it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SubresourceSource {
    /// `status`.
    pub name: String,
    /// The group version of what it takes and gives.
    pub api_version: String,
    /// The kind of what it takes and gives: `Scale` of `autoscaling/v1` for `scale`.
    pub kind: String,
    /// `get`, `update`, `patch`, `create`, `delete`.
    pub verbs: Vec<String>,
}

impl PathSource {
    /// A resource with every verb and no subresources.
    pub fn new(api_version: &str, kind: &str, plural: &str, namespaced: bool) -> PathSource {
        PathSource {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
            verbs: ALL_VERBS.map(str::to_owned).to_vec(),
            subresources: Vec::new(),
            schema: None,
        }
    }

    /// With these verbs only.
    #[must_use]
    pub fn with_verbs<T: AsRef<str>>(mut self, verbs: &[T]) -> PathSource {
        self.verbs = verbs.iter().map(|verb| verb.as_ref().to_owned()).collect();
        self
    }

    /// With a subresource.
    #[must_use]
    pub fn with_subresource<T: AsRef<str>>(
        mut self,
        name: &str,
        api_version: &str,
        kind: &str,
        verbs: &[T],
    ) -> PathSource {
        self.subresources.push(SubresourceSource {
            name: name.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            verbs: verbs.iter().map(|verb| verb.as_ref().to_owned()).collect(),
        });
        self
    }

    /// With the OpenAPI v3 schema of a kind that is not built in.
    #[must_use]
    pub fn with_schema(mut self, schema: Value) -> PathSource {
        self.schema = Some(schema);
        self
    }
}

/// The path of a group version in the index, and below `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
pub fn path_of(api_version: &str) -> String {
    if api_version.contains('/') { format!("apis/{api_version}") } else { format!("api/{api_version}") }
}

/// The answer to `/openapi/v3`: where each group version's document is.
pub fn index(sources: &[PathSource]) -> Value {
    let versions: BTreeSet<&str> = sources.iter().map(|source| source.api_version.as_str()).collect();
    let paths: Map<String, Value> = versions
        .into_iter()
        .map(|version| {
            let path = path_of(version);
            let url = format!("/openapi/v3/{path}?hash={}", hash(sources, version));
            (path, json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
}

/// What changes when the document of a group version changes: 16 hexadecimal digits. Also good as an `ETag`.
pub fn hash(sources: &[PathSource], api_version: &str) -> String {
    fingerprint(sources.iter().filter(|source| source.api_version == api_version))
}

/// As [`hash`], of the v2 document.
pub fn hash_v2(sources: &[PathSource]) -> String {
    fingerprint(sources)
}

fn fingerprint<'a>(sources: impl IntoIterator<Item = &'a PathSource>) -> String {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
    hasher.write_u64(crate::facts::fingerprint());
    for source in sources {
        hasher.write(format!("{source:?}").as_bytes());
    }
    format!("{:016X}", hasher.finish())
}

/// The document of a group version (`apps/v1`, `v1`). `None` if no source belongs to it.
pub fn document(sources: &[PathSource], api_version: &str) -> Option<Value> {
    let sources: Vec<&PathSource> = sources.iter().filter(|source| source.api_version == api_version).collect();
    if sources.is_empty() {
        return None;
    }
    let mut document = json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": VERSION },
        "components": {
            "securitySchemes": {
                "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer token authentication" },
            },
        },
    });
    document["paths"] = Value::Object(sources.iter().flat_map(|source| paths::of(source)).collect());
    document["components"]["schemas"] = Value::Object(components::of(&sources, api_version));
    Some(document)
}

/// The v2 document of all group versions, as JSON: the answer to `/openapi/v2`.
pub fn document_v2(sources: &[PathSource]) -> Value {
    v2::document(sources)
}

/// The same as a message of gnostic's `openapi.v2.Document`, which is what client-go asks for.
pub fn document_v2_protobuf(sources: &[PathSource]) -> Vec<u8> {
    gnostic::encode(&v2::document(sources))
}

/// The component that describes a kind.
fn component_of(api_version: &str, kind: &str) -> String {
    if let Some(found) = crate::facts::kind(api_version, kind) {
        return found.definition();
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let reversed: Vec<&str> = group.rsplit('.').filter(|part| !part.is_empty()).collect();
    [&reversed[..], &[version, kind]].concat().join(".")
}

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}

fn group_version_kind(api_version: &str, kind: &str) -> Value {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    json!({ "group": group, "kind": kind, "version": version })
}

#[cfg(test)]
mod tests;
