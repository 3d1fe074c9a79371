//! Everything the generic code needs to know of one resource.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::conversion::{Conversion, Versions};
use super::{Convert, Generic, NameRule, Strategy};
use crate::object::{Kind, MalformedObject, Object, ResourceType};
use crate::schema::{self, KindSchema, Schema, SchemaProblem};

/// One resource: an entry of the [`super::Registry`].
#[derive(Clone)]
#[non_exhaustive]
pub struct ResourceInfo {
    /// Group, version, plural, kind and scope.
    pub resource: Arc<ResourceType>,
    /// The singular name, lower case.
    pub singular: String,
    /// Abbreviations (`po`, `deploy`).
    pub short_names: Vec<String>,
    /// Named sets of resources it is in (`all`).
    pub categories: Vec<String>,
    /// What names its objects may have.
    pub names: NameRule,
    /// Whether `metadata.generation` counts the changes of its objects' desired state.
    pub has_generation: bool,
    /// Whether an update without a `resourceVersion` replaces whatever there is.
    pub unconditional_update: bool,
    /// Whether an update of an object that does not exist makes it.
    pub create_on_update: bool,
    /// Whether `status` is written apart from the rest.
    pub has_status: bool,
    /// Whether a new object may come with its status, as nodes do; else what a client says of it is dropped.
    pub status_on_create: bool,
    /// For how long an object lives after it was last written, and a twentieth longer at most; then the store deletes it. `None`: until it is
    /// deleted. In a store without leases it stays.
    pub time_to_live: Option<Duration>,
    /// Where the `scale` subresource finds its numbers, if the resource has one.
    pub scale: Option<ScalePaths>,
    /// Further subresources that the server knows how to answer, for example `binding` and `log` of pods.
    pub subresources: Vec<&'static str>,
    /// Fields that field selectors may name besides `metadata.name` and `metadata.namespace`, as dotted paths.
    pub selectable_fields: Vec<Cow<'static, str>>,
    /// All columns of a table, in order, the name's among them. Empty: name and age, whose cells the server fills in itself.
    pub columns: Vec<Column>,
    /// What differs from kind to kind.
    pub strategy: Arc<dyn Strategy>,
    /// What everybody is told who uses this version, which will go one day; `None`: it stays.
    pub deprecation: Option<String>,
    /// The definition that the resource goes with.
    pub(crate) defined_by: Option<DefinedBy>,
    /// Its schema as it was stated, for OpenAPI documents.
    pub(crate) stated_schema: Option<Arc<Value>>,
    /// How its objects are stored, if the resource has other versions besides.
    pub(crate) versions: Option<Versions>,
    /// The shape of its objects, where the kind is not built in and states one.
    pub(crate) schema: Option<Arc<KindSchema>>,
    /// Whether an object can be read as the type the entry was made for. Of built-in kinds the server knows the shape.
    pub(crate) decodes: fn(&Value) -> Result<(), serde_json::Error>,
}

/// The CustomResourceDefinition of a resource.
#[derive(Clone, Debug)]
pub(crate) struct DefinedBy {
    /// Its key in the store: nothing is made once it is gone.
    pub(crate) key: Bytes,
    /// Whether its deletion has begun: nothing is made any more.
    pub(crate) is_terminating: bool,
}

/// Where a resource keeps what its `scale` subresource shows, as dotted paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// The wanted number, for example `spec.replicas`.
    pub spec_replicas: Cow<'static, str>,
    /// The present number, for example `status.replicas`.
    pub status_replicas: Cow<'static, str>,
    /// The selector: a `LabelSelector`, a map of labels, or a string in selector syntax.
    pub selector: Cow<'static, str>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The title.
    pub name: String,
    /// `string`, `integer`, `date`, `boolean` or `number`.
    pub kind: Cow<'static, str>,
    /// `name` for the column that names the object, else empty.
    pub format: Cow<'static, str>,
    /// What it shows.
    pub description: String,
    /// 0: always shown; 1: with `-o wide`.
    pub priority: i32,
}

impl ResourceInfo {
    /// An entry for the resource `K`, with the generic strategy, names that are DNS subdomains, generations, a `status`
    /// subresource and no columns but name and age. What cannot be read as `K` is refused.
    pub fn of<K: Kind>() -> Self {
        Self { decodes: |value| K::deserialize(value).map(drop), ..Self::new(ResourceType::of::<K>()) }
    }

    /// An entry for `resource`, with the generic strategy, names that are DNS subdomains, generations, a `status`
    /// subresource and no columns but name and age.
    pub fn new(resource: ResourceType) -> Self {
        Self {
            singular: resource.kind.to_lowercase(),
            resource: Arc::new(resource),
            short_names: Vec::new(),
            categories: Vec::new(),
            names: NameRule::default(),
            has_generation: true,
            unconditional_update: true,
            create_on_update: false,
            has_status: true,
            status_on_create: false,
            time_to_live: None,
            scale: None,
            subresources: Vec::new(),
            selectable_fields: Vec::new(),
            columns: Vec::new(),
            strategy: Arc::new(Generic),
            deprecation: None,
            defined_by: None,
            stated_schema: None,
            versions: None,
            schema: None,
            decodes: |_| Ok(()),
        }
    }

    /// With a structural OpenAPI v3 schema of its objects, as a CustomResourceDefinition has it, and all that follows from one: fields that
    /// it does not know are dropped (what the client is told is up to its `fieldValidation`), defaults are filled in, and objects are
    /// checked, by its rules in CEL (`x-kubernetes-validations`) too. Server-side apply merges and owns their lists and maps as it says:
    /// `x-kubernetes-list-type`, `-list-map-keys`, `-map-type`. Without one everything is kept, maps are owned key by key, and each
    /// list as one.
    ///
    /// ```
    /// use kore_api::object::{ResourceType, Scope};
    /// use kore_api::registry::ResourceInfo;
    /// use serde_json::json;
    ///
    /// let crates = ResourceType {
    ///     group: "example.com".into(),
    ///     version: "v1".into(),
    ///     plural: "crates".into(),
    ///     kind: "Crate".into(),
    ///     scope: Scope::Namespaced,
    /// };
    /// let schema = json!({"type": "object", "properties": {"tags": {
    ///     "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set",
    /// }}});
    /// let crates = ResourceInfo::new(crates).schema(&schema)?;
    /// # Ok::<(), kore_api::schema::SchemaProblem>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub fn schema(mut self, schema: &Value) -> Result<Self, SchemaProblem> {
        self.schema = Some(Arc::new(KindSchema::read(schema)?));
        self.stated_schema = Some(Arc::new(schema.clone()));
        Ok(self)
    }

    /// As one of several versions of a resource, whose objects are stored as those of `storage`; the entry of that version says so, too.
    ///
    /// ```
    /// use kore_api::object::{ResourceType, Scope};
    /// use kore_api::registry::{Convert, Registry, ResourceInfo};
    /// use serde_json::Value;
    ///
    /// /// `v1beta1` says `count` where `v1` says `replicas`.
    /// #[derive(Debug)]
    /// struct Renamed;
    ///
    /// impl Convert for Renamed {
    ///     fn convert(&self, mut object: Value, to: &str) -> Result<Value, String> {
    ///         let (from, into) = if to == "example.com/v1" { ("count", "replicas") } else { ("replicas", "count") };
    ///         if let Some(number) = object["spec"].as_object_mut().and_then(|spec| spec.remove(from)) {
    ///             object["spec"][into] = number;
    ///         }
    ///         Ok(object)
    ///     }
    /// }
    ///
    /// let version = |version: &'static str| ResourceType {
    ///     group: "example.com".into(),
    ///     version: version.into(),
    ///     plural: "crates".into(),
    ///     kind: "Crate".into(),
    ///     scope: Scope::Namespaced,
    /// };
    /// let info = |name| ResourceInfo::new(version(name)).stored_as(version("v1"), Renamed);
    /// let registry = Registry::new().with(info("v1")).with(info("v1beta1"));
    /// ```
    #[must_use]
    pub fn stored_as(mut self, storage: ResourceType, convert: impl Convert) -> Self {
        self.versions = Some(Versions::new(storage, Conversion::Function(Arc::new(convert))));
        self
    }

    /// As what its objects are stored: itself, unless it is one of several versions.
    pub fn stored(&self) -> &ResourceType {
        self.versions.as_ref().map_or(&self.resource, |versions| &versions.storage)
    }

    /// Fills in what the writer left out.
    pub(crate) fn fill(&self, object: &mut Value) {
        if let Some(schema) = &self.schema {
            schema.default(object);
        }
        self.strategy.default(object);
    }

    /// Brings an object that nobody sent into the form in which the server keeps it: what a schema does not know is left out, what it
    /// defaults is filled in.
    pub(crate) fn settle(&self, object: &mut Value) {
        match (&self.schema, Schema::of(&self.resource.api_version(), &self.resource.kind)) {
            (Some(schema), _) => {
                schema.prune(object);
                schema.default(object);
            }
            (None, Some(schema)) => {
                schema::normalize(&schema, object);
                self.strategy.default(object);
            }
            (None, None) => {}
        }
    }

    /// An object of the store as the kind is described at present.
    pub(crate) fn settle_stored(&self, object: Object) -> Result<Object, MalformedObject> {
        if self.schema.is_none() || object.api_version() != self.resource.api_version() {
            return Ok(object);
        }
        let before: Value = serde_json::from_slice(object.body())
            .map_err(|error| MalformedObject { field: "", problem: error.to_string() })?;
        let mut value = before.clone();
        self.settle(&mut value);
        if value == before {
            return Ok(object);
        }
        Object::with_managed_fields(value, object.managed_fields().cloned(), object.revision())
    }

    /// With these abbreviations.
    #[must_use]
    pub fn short_names(mut self, names: &[&str]) -> Self {
        self.short_names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// In these categories.
    #[must_use]
    pub fn categories(mut self, names: &[&str]) -> Self {
        self.categories = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// With a strategy of its own.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }
}

impl fmt::Debug for ResourceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceInfo({})", self.resource)
    }
}
