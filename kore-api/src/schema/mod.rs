//! The shape of objects: walking it, checking values against it, and merging typed edits into it.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`Schema`]: a place in the shape of a kind |
//! | `check.rs` | [`check()`]: unknown fields and wrong types, in upstream's words |
//! | `custom/` | the shape of kinds that are not built in |
//! | `error.rs` | [`SchemaError`] |
//! | `normal.rs` | [`normalize`]: the form in which a built-in object is stored |
//! | `graft.rs` | [`graft()`]: a typed edit that keeps what the type does not know |
//! | `quantity.rs` | [`quantity::canonical`]: `0.5` is `500m` |
//!
//! Everything here is pure and works on `serde_json::Value`. Defaulting and validation are not here: they are behaviour of
//! kinds, not shape.
//!
//! ```
//! use kore_api::schema::{self, Schema};
//! use serde_json::json;
//!
//! let deployment = Schema::of("apps/v1", "Deployment").unwrap();
//! let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "3", "replica": 3}});
//! let found: Vec<String> = schema::check(&deployment, &body).iter().map(ToString::to_string).collect();
//! assert_eq!(found, [
//!     "unknown field \"spec.replica\"",
//!     "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
//! ]);
//! ```

mod check;
mod custom;
mod error;
mod graft;
mod normal;
pub mod quantity;
#[cfg(test)]
pub(crate) mod sample;

pub use check::check;
pub use custom::SchemaProblem;
pub use error::{Problem, SchemaError, bad_request};
pub use graft::graft;
pub use normal::normalize;

use crate::facts::{self, Field, ListKind, MapKind, Shape, Type};
use crate::managed::Place;

pub(crate) use check::schema_props;
pub(crate) use custom::{Custom, CustomForm, CustomList, KindSchema, structural};
pub(crate) use normal::{add_always_there, canonical_time, canonicalize, double, is_absence, time_text, zero};

/// A place in the shape of a kind: its root, or any field, list item or map value below.
///
/// A `Schema` is a reference into a table that lives as long as the program; cloning it costs nothing.
#[derive(Clone, Debug)]
pub struct Schema {
    node: Node,
    /// The field that led here, which says how its list or map merges. `None` at a root and inside collections.
    field: Option<&'static Field>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    Object(&'static Type),
    Shape(&'static Shape),
}

/// What a value at a place looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// An object with the fields of [`Schema::fields`].
    Object,
    /// An object with free keys, whose values are [`Schema::element`].
    Map,
    /// A list of [`Schema::element`].
    List,
    /// A string.
    String,
    /// Bytes, as base64 in JSON.
    Bytes,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Double,
    /// RFC 3339 with whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// A quantity such as `500m`.
    Quantity,
    /// A 32-bit integer or a string.
    IntOrString,
    /// Anything: an object of another kind, a set of owned fields, or plain JSON.
    Any,
}

/// How the items of a list belong to their owners (`x-kubernetes-list-type`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListType<'a> {
    /// Replaced as a whole; also what is not stated.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects told apart by the values of these fields.
    Map(&'a [&'static str]),
}

impl Schema {
    /// The shape of a built-in kind: `Schema::of("apps/v1", "Deployment")`.
    pub fn of(api_version: &str, kind: &str) -> Option<Schema> {
        facts::kind(api_version, kind).map(Schema::root)
    }

    /// The shape of a definition by its OpenAPI name, e.g. `io.k8s.api.core.v1.PodSpec`.
    pub fn definition(name: &str) -> Option<Schema> {
        let (package, name) = name.rsplit_once('.')?;
        facts::named(package, name).map(Schema::root)
    }

    pub(crate) fn root(found: &'static Type) -> Schema {
        Schema { node: Node::Object(found), field: None }
    }

    pub(crate) fn node(&self) -> Node {
        self.node
    }

    /// The place as ownership sees it.
    pub(crate) fn place(&self) -> Place<'static> {
        Place::Table(self.node, self.field)
    }

    fn at(shape: &'static Shape, field: Option<&'static Field>) -> Schema {
        let node = match shape {
            Shape::Object(reference) => Node::Object(reference.get()),
            shape => Node::Shape(shape),
        };
        Schema { node, field }
    }

    /// What a value here looks like.
    pub fn form(&self) -> Form {
        match self.node {
            Node::Object(_) => Form::Object,
            Node::Shape(shape) => match shape {
                Shape::Object(_) => Form::Object,
                Shape::Map(_) => Form::Map,
                Shape::List(_) => Form::List,
                Shape::String => Form::String,
                Shape::Bytes => Form::Bytes,
                Shape::Bool => Form::Bool,
                Shape::Int32 => Form::Int32,
                Shape::Int64 => Form::Int64,
                Shape::Double => Form::Double,
                Shape::Time => Form::Time,
                Shape::MicroTime => Form::MicroTime,
                Shape::Quantity => Form::Quantity,
                Shape::IntOrString => Form::IntOrString,
                Shape::Raw | Shape::FieldsV1 | Shape::Json => Form::Any,
            },
        }
    }

    /// The place of a field of an object, or of any key of a map. `None` if the shape has no such field.
    pub fn field(&self, name: &str) -> Option<Schema> {
        match self.node {
            Node::Object(found) => found.field(name).map(|field| Schema::at(&field.shape, Some(field))),
            Node::Shape(Shape::Map(inner)) => Some(Schema::at(inner, None)),
            Node::Shape(_) => None,
        }
    }

    /// The place of the items of a list or the values of a map.
    pub fn element(&self) -> Option<Schema> {
        match self.node {
            Node::Shape(Shape::List(inner) | Shape::Map(inner)) => Some(Schema::at(inner, None)),
            _ => None,
        }
    }

    /// The place behind a path of fields: `schema.walk(&["spec", "template", "spec"])`. Lists are entered by any segment.
    pub fn walk(&self, path: &[&str]) -> Option<Schema> {
        path.iter().try_fold(self.clone(), |place, segment| match place.form() {
            Form::List => place.element(),
            _ => place.field(segment),
        })
    }

    /// The fields of an object, sorted by name; empty for everything else.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Schema)> + use<> {
        let fields: &'static [Field] = match self.node {
            Node::Object(found) => &found.fields,
            Node::Shape(_) => &[],
        };
        fields.iter().map(|field| (field.name, Schema::at(&field.shape, Some(field))))
    }

    /// Whether the field that led here is required.
    pub fn is_required(&self) -> bool {
        self.field.is_some_and(|field| field.required)
    }

    /// How the list here belongs to its owners.
    pub fn list_type(&self) -> ListType<'static> {
        match self.field.map(|field| (field.list, &field.list_keys)) {
            Some((ListKind::Map, keys)) => ListType::Map(keys),
            Some((ListKind::Set, _)) => ListType::Set,
            _ => ListType::Atomic,
        }
    }

    /// Whether the object or map here is replaced as a whole (`x-kubernetes-map-type: atomic`).
    pub fn is_atomic_map(&self) -> bool {
        let stated = self.field.map_or(MapKind::Unstated, |field| field.map);
        match (stated, self.node) {
            (MapKind::Unstated, Node::Object(found)) => found.map == MapKind::Atomic,
            (stated, _) => stated == MapKind::Atomic,
        }
    }

    /// The merge key of the list here in a strategic merge patch.
    pub fn merge_key(&self) -> Option<&'static str> {
        self.field.and_then(|field| field.merge_key)
    }

    /// Whether a strategic merge patch merges the list here instead of replacing it.
    pub fn merges(&self) -> bool {
        self.field.is_some_and(|field| field.merge)
    }

    /// Whether a strategic merge patch replaces the object or map here instead of merging it.
    pub fn replaces(&self) -> bool {
        self.field.is_some_and(|field| field.replace)
    }

    /// Whether a strategic merge patch made for this place carries `$retainKeys`.
    pub fn retains_keys(&self) -> bool {
        self.field.is_some_and(|field| field.retain_keys)
    }

    /// The name of the OpenAPI definition of the object here.
    pub fn definition_name(&self) -> Option<String> {
        match self.node {
            Node::Object(found) => Some(found.definition()),
            Node::Shape(_) => None,
        }
    }

    /// The fields that tell items of the list here apart: its list keys, else its merge key.
    pub(crate) fn item_keys(&self) -> Vec<&'static str> {
        match self.list_type() {
            ListType::Map(keys) => keys.to_vec(),
            _ => self.merge_key().into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_reaches_every_attribute() {
        let pod = Schema::of("v1", "Pod").expect("Pod");
        let containers = pod.walk(&["spec", "containers"]).expect("containers");
        assert_eq!(containers.form(), Form::List);
        assert!(containers.is_required() && containers.merges());
        assert_eq!(containers.list_type(), ListType::Map(&["name"]));
        assert_eq!(containers.merge_key(), Some("name"));
        let ports = containers.element().and_then(|item| item.field("ports")).expect("ports");
        assert_eq!(ports.list_type(), ListType::Map(&["containerPort", "protocol"]));
        assert_eq!(ports.merge_key(), Some("containerPort"));
        assert!(pod.walk(&["spec", "nodeSelector"]).expect("nodeSelector").is_atomic_map());
        assert!(!pod.walk(&["metadata", "labels"]).expect("labels").is_atomic_map());
        assert_eq!(pod.walk(&["metadata", "labels", "any"]).expect("any").form(), Form::String);
        assert_eq!(pod.walk(&["metadata", "finalizers"]).expect("finalizers").list_type(), ListType::Set);
        assert!(pod.walk(&["spec", "nothing"]).is_none());
        let volumes = pod.walk(&["spec", "volumes"]).expect("volumes");
        assert!(volumes.merges() && volumes.retains_keys());
    }

    #[test]
    fn an_atomic_type_can_be_granular_in_a_field() {
        let volume = Schema::definition("io.k8s.api.core.v1.PersistentVolumeSpec").expect("PersistentVolumeSpec");
        assert!(!volume.field("claimRef").expect("claimRef").is_atomic_map());
        assert!(Schema::definition("io.k8s.api.core.v1.ObjectReference").expect("ObjectReference").is_atomic_map());
    }
}
