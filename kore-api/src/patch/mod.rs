//! Patches: a change to an object, in one of the four syntaxes of the API.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`PatchKind`], [`apply`] |
//! | `error.rs` | [`PatchError`] |
//! | `json.rs` | RFC 6902 |
//! | `merge.rs` | RFC 7386 |
//! | `strategic.rs` | strategic merge: maps and directives |
//! | `list.rs` | strategic merge of lists |
//! | `structural.rs` | the merge of an applied configuration, by the lists' own keys |
//!
//! Everything here is a pure function of target and patch. Defaulting, validation and the ownership of fields come after,
//! in the server.
//!
//! ```
//! use kore_api::patch::{self, PatchKind};
//! use kore_api::schema::Schema;
//! use serde_json::json;
//!
//! let pod = json!({"spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}]}});
//! let change = json!({"spec": {"containers": [{"name": "web", "image": "web:2"}]}});
//! let patched = patch::apply(PatchKind::Strategic, Schema::of("v1", "Pod").as_ref(), &pod, &change).unwrap();
//! assert_eq!(patched["spec"]["containers"], json!([{"name": "web", "image": "web:2"}, {"name": "log", "image": "log:1"}]));
//! ```

mod error;
mod json;
mod list;
mod merge;
mod strategic;

use serde_json::Value;

pub use error::PatchError;

use crate::managed;
use crate::schema::Schema;

/// The syntax of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatchKind {
    /// RFC 6902, `application/json-patch+json`: a list of at most 10,000 operations.
    Json,
    /// RFC 7386, `application/merge-patch+json`: objects merge, `null` removes, everything else replaces.
    Merge,
    /// `application/strategic-merge-patch+json`: lists merge by the keys of the kind's shape; built-in kinds only.
    Strategic,
    /// `application/apply-patch+yaml`: an applied configuration, merged by the lists' own types.
    Apply,
}

impl PatchKind {
    /// The syntax of a `Content-Type`; parameters are ignored. `None` if it is none of ours.
    pub fn from_content_type(content_type: &str) -> Option<PatchKind> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic, PatchKind::Apply]
            .into_iter()
            .find(|kind| essence.eq_ignore_ascii_case(kind.content_type()))
    }

    /// The `Content-Type` of a patch in this syntax.
    pub fn content_type(self) -> &'static str {
        match self {
            PatchKind::Json => "application/json-patch+json",
            PatchKind::Merge => "application/merge-patch+json",
            PatchKind::Strategic => "application/strategic-merge-patch+json",
            PatchKind::Apply => "application/apply-patch+yaml",
        }
    }
}

/// The target with the patch made to it.
///
/// `schema` is the shape of the target. A strategic merge needs it; an applied configuration without it takes every list as
/// atomic; the others do not look at it.
///
/// With [`PatchKind::Apply`] fields are set, never removed: that a field is dropped because its only owner no longer states
/// it, and that a conflict is refused, is decided where managers are known.
///
/// # Errors
/// [`PatchError`], which says whether the patch is malformed (400), too large (413) or does not fit the target (422).
pub fn apply(kind: PatchKind, schema: Option<&Schema>, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    match kind {
        PatchKind::Json => json::apply(target, patch),
        PatchKind::Merge => merge::apply(target, patch),
        PatchKind::Strategic => strategic::apply(schema.ok_or(PatchError::NoSchema)?, target, patch),
        PatchKind::Apply => managed::merge(managed::Place::of(schema), target, patch)
            .map_err(|problem| PatchError::Malformed { message: problem.to_string() }),
    }
}

/// Whether a patch says anything about `metadata.managedFields`: then it is made to an object that has them.
pub(crate) fn touches_managed_fields(kind: PatchKind, patch: &Value) -> bool {
    match kind {
        PatchKind::Json => patch.as_array().into_iter().flatten().any(|operation| {
            ["path", "from"].iter().any(|place| {
                operation[*place].as_str().is_some_and(|path| {
                    path.is_empty() || path == "/metadata" || path.starts_with("/metadata/managedFields")
                })
            })
        }),
        _ => patch.get("metadata").is_some_and(|metadata| metadata.get("managedFields").is_some()),
    }
}
