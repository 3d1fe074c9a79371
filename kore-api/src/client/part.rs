//! Objects that are made from a part of another one.

use serde_json::Value;

use super::api::encode;
use crate::error::Error;
use crate::object::{Kind, View};
use crate::schema::{Schema, graft};

/// `object` in full, where its field `to` was made from the field `from` of `source`: a Pod's `spec` from a ReplicaSet's
/// `spec.template.spec`. Fields of that part which the types do not know are carried along, at every depth, as
/// [`Api::replace`](super::Api::replace) keeps them: what becomes of the part is the difference between the two typed values
/// applied to what `source` was read from. Paths name fields by their JSON names, with dots between them.
///
/// ```
/// use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
/// use kore_api::client::carry_part;
/// use kore_api::object::Object;
/// use serde_json::json;
///
/// let set = Object::from_value(
///     json!({
///         "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
///         "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "c", "newer": 1}]}}},
///     }),
///     1,
/// )?;
/// let set = set.view::<ReplicaSet>()?;
/// let mut pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c"}]}}))?;
/// pod.metadata.generate_name = Some("web-".into());
///
/// let pod = carry_part(&set, "spec.template.spec", &pod, "spec")?;
/// assert_eq!(pod["spec"]["containers"], json!([{"name": "c", "newer": 1}]));
/// assert_eq!(pod["metadata"]["generateName"], "web-");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When a typed value cannot be written as JSON.
pub fn carry_part<S: Kind, K: Kind>(source: &View<S>, from: &str, object: &K, to: &str) -> Result<Value, Error> {
    let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
    let (from_at, to_at) = (pointer(from), pointer(to));
    let mut whole = encode(object)?;
    let (full, known) = (source.object().to_unmanaged_value(), encode(&**source)?);
    let part = whole.pointer_mut(&to_at);
    if let (Some(full), Some(known), Some(part)) = (full.pointer(&from_at), known.pointer(&from_at), part) {
        let schema = Schema::of(source.object().api_version(), source.object().kind());
        let schema = schema.and_then(|schema| schema.walk(&from.split('.').collect::<Vec<_>>()));
        *part = graft(schema.as_ref(), full, known, part);
    }
    Ok(whole)
}
