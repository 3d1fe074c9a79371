//! One immutable object at one revision, shared by everybody in the process.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use kore_store::Revision;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Kind, ObjectKey, UndecodableView, View};
use crate::schema::Schema;
use crate::{codec, managed};

/// An object as it was at one revision. Cloning shares it.
///
/// It holds a small header (key, uid, revision, labels, owner references) that selectors, owner look-ups and queues read
/// without decoding anything, and the canonical body: compact JSON with sorted keys, without `resourceVersion`
/// (which encoders splice in: the body is the same bytes before and after the store has chosen a revision) and without
/// `managedFields` (which are held apart, since most readers drop them).
///
/// ```
/// use kore_api::object::Object;
/// use serde_json::json;
///
/// let object = Object::from_value(
///     json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "data": {"k": "v"}}),
///     7,
/// )?;
/// assert_eq!(object.key().to_string(), "default/a");
/// assert_eq!(object.to_value()["metadata"]["resourceVersion"], "7");
/// # Ok::<(), kore_api::object::MalformedObject>(())
/// ```
#[derive(Clone)]
pub struct Object(Arc<Inner>);

struct Inner {
    key: ObjectKey,
    api_version: Box<str>,
    kind: Box<str>,
    uid: Box<str>,
    revision: Revision,
    generation: i64,
    labels: Box<[(Box<str>, Box<str>)]>,
    owner_references: Box<[OwnerReference]>,
    finalizers: Box<[Box<str>]>,
    deletion_timestamp: Option<Box<str>>,
    body: Bytes,
    /// Where in `body` the inside of `metadata` begins: what an encoder splices, it puts here.
    metadata_at: usize,
    /// Whether `metadata` has no field in the body: then nothing follows what is spliced, and no comma.
    metadata_empty: bool,
    managed_fields: Option<Bytes>,
    /// The typed view, for as long as somebody holds it.
    view: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
}

/// An owner of an object, as the object names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// The `apiVersion` of the owner.
    #[serde(default)]
    pub api_version: Box<str>,
    /// The kind of the owner.
    #[serde(default)]
    pub kind: Box<str>,
    /// The name of the owner; it is in the same namespace, or cluster-scoped.
    #[serde(default)]
    pub name: Box<str>,
    /// The uid of the owner.
    #[serde(default)]
    pub uid: Box<str>,
    /// Whether this owner is the managing controller; at most one is.
    #[serde(default)]
    pub controller: bool,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(default)]
    pub block_owner_deletion: bool,
}

/// A value that is no object: what is wrong with it, and where.
#[derive(Debug, thiserror::Error)]
#[error("not an object: {field}: {problem}")]
#[non_exhaustive]
pub struct MalformedObject {
    /// The path of the field at fault, for example `metadata.labels`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Object {
    /// The object that `value` describes, at `revision`. `metadata.resourceVersion` is dropped, `metadata.managedFields` is
    /// taken apart.
    ///
    /// # Errors
    /// When `value` has no `apiVersion`, `kind` or `metadata`, or a part of the header has the wrong type.
    pub fn from_value(value: Value, revision: Revision) -> Result<Self, MalformedObject> {
        let Value::Object(mut fields) = value else {
            return Err(MalformedObject { field: "", problem: "not a JSON object".into() });
        };
        let mut managed_fields = None;
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("resourceVersion");
            managed_fields = metadata.remove("managedFields").filter(|fields| !fields.is_null());
        }
        let body = codec::canonical(&Value::Object(fields));
        let managed_fields = managed_fields.map(|fields| codec::canonical(&fields));
        Self::from_parts(body, managed_fields, revision)
    }

    /// The object that `value` describes, with these managed fields in place of its own.
    ///
    /// # Errors
    /// As [`Object::from_value`].
    pub(crate) fn with_managed_fields(
        value: Value,
        managed_fields: Option<Bytes>,
        revision: Revision,
    ) -> Result<Self, MalformedObject> {
        let Value::Object(mut fields) = value else {
            return Err(MalformedObject { field: "", problem: "not a JSON object".into() });
        };
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
        }
        Self::from_parts(codec::canonical(&Value::Object(fields)), managed_fields, revision)
    }

    /// The object whose canonical body is `body`: compact JSON without `resourceVersion` and `managedFields`.
    ///
    /// # Errors
    /// As [`Object::from_value`], and when `body` is not JSON.
    pub fn from_parts(body: Bytes, managed_fields: Option<Bytes>, revision: Revision) -> Result<Self, MalformedObject> {
        let malformed =
            |field: &'static str| move |error: serde_json::Error| MalformedObject { field, problem: error.to_string() };
        let head: Head<'_> = serde_json::from_slice(&body).map_err(malformed(""))?;
        let inside = head.metadata.get();
        let meta: Meta = serde_json::from_str(inside).map_err(malformed("metadata"))?;
        let metadata_at = inside.as_ptr() as usize - body.as_ptr() as usize + 1;
        let metadata_empty = inside[1..].trim_start().starts_with('}');
        let inner = Inner {
            key: ObjectKey::namespaced(meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default()),
            api_version: head.api_version.into(),
            kind: head.kind.into(),
            uid: meta.uid.unwrap_or_default(),
            revision,
            generation: meta.generation.unwrap_or_default(),
            labels: meta.labels.map(Sorted::into_boxed).unwrap_or_default(),
            owner_references: meta.owner_references.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            deletion_timestamp: meta.deletion_timestamp,
            metadata_at,
            metadata_empty,
            managed_fields,
            view: Mutex::new(None),
            body,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The same object at another revision; the body is shared.
    #[must_use]
    pub fn at_revision(&self, revision: Revision) -> Self {
        let inner = &*self.0;
        Self(Arc::new(Inner {
            key: inner.key.clone(),
            api_version: inner.api_version.clone(),
            kind: inner.kind.clone(),
            uid: inner.uid.clone(),
            revision,
            generation: inner.generation,
            labels: inner.labels.clone(),
            owner_references: inner.owner_references.clone(),
            finalizers: inner.finalizers.clone(),
            deletion_timestamp: inner.deletion_timestamp.clone(),
            body: inner.body.clone(),
            metadata_at: inner.metadata_at,
            metadata_empty: inner.metadata_empty,
            managed_fields: inner.managed_fields.clone(),
            view: Mutex::new(None),
        }))
    }

    /// The same object at the revision that the store has given it; in place, if nobody else has it yet.
    pub(crate) fn into_revision(mut self, revision: Revision) -> Self {
        match Arc::get_mut(&mut self.0) {
            Some(inner) => {
                inner.revision = revision;
                self
            }
            None => self.at_revision(revision),
        }
    }

    /// Namespace and name.
    pub fn key(&self) -> &ObjectKey {
        &self.0.key
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.key.name
    }

    /// The namespace; `None` for a cluster-scoped object.
    pub fn namespace(&self) -> Option<&str> {
        Some(&*self.0.key.namespace).filter(|namespace| !namespace.is_empty())
    }

    /// The `apiVersion`.
    pub fn api_version(&self) -> &str {
        &self.0.api_version
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// The uid; empty until the server has created the object.
    pub fn uid(&self) -> &str {
        &self.0.uid
    }

    /// The store's revision at which the object came to be as it is: `resourceVersion` on the wire.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// `metadata.generation`, which counts changes of the desired state; 0 where the resource has none.
    pub fn generation(&self) -> i64 {
        self.0.generation
    }

    /// The labels, sorted by key.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.labels.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = &self.0.labels;
        labels.binary_search_by(|(other, _)| (**other).cmp(key)).ok().map(|at| &*labels[at].1)
    }

    /// The owners.
    pub fn owner_references(&self) -> &[OwnerReference] {
        &self.0.owner_references
    }

    /// The managing controller, if there is one.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.0.owner_references.iter().find(|owner| owner.controller)
    }

    /// The finalizers.
    pub fn finalizers(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.finalizers.iter().map(|finalizer| &**finalizer)
    }

    /// When a graceful deletion is to be over (RFC 3339); `None` while the object is not being deleted.
    pub fn deletion_timestamp(&self) -> Option<&str> {
        self.0.deletion_timestamp.as_deref()
    }

    /// Whether the object is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.0.deletion_timestamp.is_some()
    }

    /// The canonical body: compact JSON, without `resourceVersion` and `managedFields`.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The JSON of `metadata.managedFields`, if there are any.
    pub fn managed_fields(&self) -> Option<&Bytes> {
        self.0.managed_fields.as_ref()
    }

    /// What `manager` applied last (server-side apply), as far as it still owns it: the configuration to change and to apply again.
    /// `None` if it has applied nothing through this `subresource` (empty: the object itself), or the managed fields are not
    /// here or cannot be read. Of a kind that is not built in, what is applied to the items of a list is not found again.
    ///
    /// ```
    /// use kore_api::object::Object;
    /// use serde_json::json;
    ///
    /// let object = Object::from_value(json!({
    ///     "apiVersion": "v1", "kind": "ConfigMap",
    ///     "metadata": {"name": "a", "namespace": "b", "managedFields": [{
    ///         "manager": "me", "operation": "Apply", "apiVersion": "v1",
    ///         "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:mine": {}}},
    ///     }]},
    ///     "data": {"mine": "1", "other": "2"},
    /// }), 7)?;
    /// let applied = object.applied_by("me", "").unwrap();
    /// assert_eq!(applied["data"], json!({"mine": "1"}));
    /// assert_eq!(object.applied_by("you", ""), None);
    /// # Ok::<(), kore_api::object::MalformedObject>(())
    /// ```
    pub fn applied_by(&self, manager: &str, subresource: &str) -> Option<Value> {
        let schema = Schema::of(self.api_version(), self.kind());
        let body: Value = serde_json::from_slice(self.body()).ok()?;
        let mut applied = managed::applied_by(schema.as_ref(), self.managed_fields()?, &body, manager, subresource)?;
        if !applied.is_object() {
            applied = Value::Object(Map::new());
        }
        applied["apiVersion"] = self.api_version().into();
        applied["kind"] = self.kind().into();
        let metadata = metadata_mut(&mut applied).ok()?;
        metadata.insert("name".into(), self.name().into());
        if let Some(namespace) = self.namespace() {
            metadata.insert("namespace".into(), namespace.into());
        }
        Some(applied)
    }

    /// The whole object as a tree, `resourceVersion` and `managedFields` included. Decodes the body: not for hot paths.
    pub fn to_value(&self) -> Value {
        let mut value = self.to_unmanaged_value();
        if let Some(fields) = &self.0.managed_fields {
            let fields = serde_json::from_slice(fields).expect("encoded from a JSON tree");
            let metadata = value["metadata"].as_object_mut().expect("the header was read from it");
            metadata.insert("managedFields".into(), fields);
        }
        value
    }

    /// The object as a tree, `resourceVersion` included and `managedFields` not.
    pub(crate) fn to_unmanaged_value(&self) -> Value {
        let mut value: Value =
            serde_json::from_slice(&self.0.body).expect("the body was parsed when the object was made");
        if self.0.revision != 0 {
            let metadata = value["metadata"].as_object_mut().expect("the header was read from it");
            metadata.insert("resourceVersion".into(), self.0.revision.to_string().into());
        }
        value
    }

    /// Appends the whole object to `out` as JSON, as clients expect it, without decoding anything.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let inner = &*self.0;
        let (before, after) = inner.body.split_at(inner.metadata_at);
        out.extend_from_slice(before);
        let mut first = true;
        let mut separate = |out: &mut Vec<u8>| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
        };
        if let Some(fields) = &inner.managed_fields {
            separate(out);
            out.extend_from_slice(b"\"managedFields\":");
            out.extend_from_slice(fields);
        }
        if inner.revision != 0 {
            separate(out);
            out.extend_from_slice(b"\"resourceVersion\":\"");
            out.extend_from_slice(inner.revision.to_string().as_bytes());
            out.push(b'"');
        }
        if !inner.metadata_empty {
            separate(out);
        }
        out.extend_from_slice(after);
    }

    /// The typed view: decoded on the first call and shared for as long as anybody holds it.
    ///
    /// # Errors
    /// When the body is no `K`.
    pub fn view<K: Kind>(&self) -> Result<View<K>, UndecodableView> {
        let mut slot = self.0.view.lock().unwrap_or_else(PoisonError::into_inner);
        let held = slot.as_ref().and_then(Weak::upgrade).and_then(|view| view.downcast::<K>().ok());
        let typed = match held {
            Some(typed) => typed,
            None => {
                let mut typed: K = serde_json::from_slice(&self.0.body).map_err(|source| UndecodableView {
                    kind: K::KIND,
                    key: self.0.key.clone(),
                    source,
                })?;
                typed.metadata_mut().resource_version =
                    Some(self.0.revision).filter(|revision| *revision != 0).map(|revision| revision.to_string());
                let typed = Arc::new(typed);
                let weak: Weak<K> = Arc::downgrade(&typed);
                *slot = Some(weak);
                typed
            }
        };
        drop(slot);
        Ok(View::new(self.clone(), typed))
    }

    /// Whether both are the same allocation, not merely equal.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Equal when key, revision and content are.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
            || (self.0.key == other.0.key
                && self.0.revision == other.0.revision
                && self.0.body == other.0.body
                && self.0.managed_fields == other.0.managed_fields)
    }
}

impl Eq for Object {}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}@{}", self.0.kind, self.0.key, self.0.revision)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    api_version: std::borrow::Cow<'a, str>,
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
    uid: Option<Box<str>>,
    generation: Option<i64>,
    labels: Option<Sorted>,
    owner_references: Option<Box<[OwnerReference]>>,
    finalizers: Option<Box<[Box<str>]>>,
    deletion_timestamp: Option<Box<str>>,
}

/// Labels in the order in which they are searched.
#[derive(Deserialize)]
struct Sorted(std::collections::BTreeMap<Box<str>, Box<str>>);

impl Sorted {
    fn into_boxed(self) -> Box<[(Box<str>, Box<str>)]> {
        self.0.into_iter().collect()
    }
}

/// `metadata` of an object that is being made, created where it is missing.
///
/// # Errors
/// When `value` is no JSON object, or its `metadata` is none.
pub(crate) fn metadata_mut(value: &mut Value) -> Result<&mut Map<String, Value>, MalformedObject> {
    let malformed = |field| MalformedObject { field, problem: "not a JSON object".into() };
    let fields = value.as_object_mut().ok_or_else(|| malformed(""))?;
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().ok_or_else(|| malformed("metadata"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encoded(object: &Object) -> Value {
        let mut out = Vec::new();
        object.write_json(&mut out);
        serde_json::from_slice(&out).expect("what an encoder writes is JSON")
    }

    #[test]
    fn an_encoding_is_the_tree_with_revision_and_managed_fields_spliced_in() {
        let metadatas = [
            json!({}),
            json!({"name": "a"}),
            json!({"name": "a", "managedFields": [{"manager": "m"}], "resourceVersion": "3"}),
            json!({"managedFields": []}),
        ];
        for metadata in metadatas {
            for revision in [0, 42] {
                let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"metadata": {}}});
                let object = Object::from_value(value, revision).unwrap();
                assert_eq!(encoded(&object), object.to_value());
                let expected = (revision != 0).then(|| json!("42"));
                assert_eq!(object.to_value()["metadata"].get("resourceVersion"), expected.as_ref());
            }
        }
    }

    #[test]
    fn the_body_does_not_depend_on_the_revision() {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "resourceVersion": "9"}});
        let object = Object::from_value(value, 9).unwrap();
        assert_eq!(object.body(), &Bytes::from_static(br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#));
        assert_eq!(object.at_revision(10).body(), object.body());
    }

    #[test]
    fn the_header_is_read_from_the_body() {
        let object = Object::from_value(
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {
                "name": "rs", "namespace": "ns", "uid": "u", "generation": 2, "labels": {"b": "2", "a": "1"},
                "finalizers": ["f"], "deletionTimestamp": "2030-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "o", "controller": true}],
            }}),
            5,
        )
        .unwrap();
        assert_eq!(object.key(), &ObjectKey::namespaced("ns", "rs"));
        assert_eq!(object.labels().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((object.label("b"), object.label("c")), (Some("2"), None));
        assert_eq!(object.controller().map(|owner| &*owner.uid), Some("o"));
        assert_eq!(object.finalizers().collect::<Vec<_>>(), ["f"]);
        assert!(object.is_deleting());
        assert_eq!((object.generation(), object.revision(), object.uid()), (2, 5, "u"));
    }

    #[test]
    fn a_value_that_is_no_object_is_refused_with_the_field() {
        for (value, field) in [
            (json!([]), ""),
            (json!({"kind": "Pod", "metadata": {}}), ""),
            (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": 1}}}), "metadata"),
        ] {
            assert_eq!(Object::from_value(value, 1).unwrap_err().field, field);
        }
    }

    #[cfg(feature = "latest")]
    #[test]
    fn a_view_is_decoded_once_while_somebody_holds_it() {
        use k8s_openapi::api::core::v1::ConfigMap;
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let object = Object::from_value(value, 4).unwrap();
        let first = object.view::<ConfigMap>().unwrap();
        let second = object.view::<ConfigMap>().unwrap();
        assert!(std::ptr::eq(&*first, &*second));
        assert_eq!(first.metadata.resource_version.as_deref(), Some("4"));
        assert!(object.view::<k8s_openapi::api::core::v1::Pod>().is_err());
    }
}
