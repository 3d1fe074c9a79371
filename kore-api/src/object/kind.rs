//! Which resource a Rust type, or a name on the wire, stands for.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whether objects of a resource live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One set of names for the cluster (nodes, namespaces).
    Cluster,
    /// One set of names a namespace (pods, services).
    Namespaced,
}

/// A Rust type that is the typed view of one resource at one version.
///
/// Every `k8s-openapi` resource type is a `Kind` already. A team's own kind implements it by stating its names:
///
/// ```
/// use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
/// use kore_api::object::{Kind, Scope};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Default, Serialize, Deserialize)]
/// struct Backup {
///     metadata: ObjectMeta,
///     #[serde(default)]
///     schedule: String,
/// }
///
/// impl Kind for Backup {
///     const GROUP: &'static str = "example.com";
///     const VERSION: &'static str = "v1";
///     const KIND: &'static str = "Backup";
///     const PLURAL: &'static str = "backups";
///     const SCOPE: Scope = Scope::Namespaced;
///     fn metadata(&self) -> &ObjectMeta {
///         &self.metadata
///     }
///     fn metadata_mut(&mut self) -> &mut ObjectMeta {
///         &mut self.metadata
///     }
/// }
/// ```
///
/// `apiVersion` and `kind` need not be fields: the client writes them from the constants.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kind of object",
    note = "types of `k8s-openapi` are kinds when one of its version features is selected (kore-api's feature `latest`); \
            implement `kore_api::object::Kind` for a type of your own"
)]
pub trait Kind: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The API group; empty for the core group.
    const GROUP: &'static str;
    /// The version within the group, for example `v1`.
    const VERSION: &'static str;
    /// The kind, for example `Deployment`.
    const KIND: &'static str;
    /// The resource name in paths, for example `deployments`.
    const PLURAL: &'static str;
    /// Whether its objects live in a namespace.
    const SCOPE: Scope;

    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// The object's metadata, to change.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
}

/// What `k8s-openapi` states about scope as a type, as a value.
trait ScopeOf {
    const SCOPE: Scope;
}
impl ScopeOf for ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}
impl ScopeOf for NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}

impl<K> Kind for K
where
    K: k8s_openapi::Resource<Scope: ScopeOf> + k8s_openapi::Metadata<Ty = ObjectMeta>,
    K: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    const GROUP: &'static str = <K as k8s_openapi::Resource>::GROUP;
    const VERSION: &'static str = <K as k8s_openapi::Resource>::VERSION;
    const KIND: &'static str = <K as k8s_openapi::Resource>::KIND;
    const PLURAL: &'static str = <K as k8s_openapi::Resource>::URL_PATH_SEGMENT;
    const SCOPE: Scope = <<K as k8s_openapi::Resource>::Scope as ScopeOf>::SCOPE;

    fn metadata(&self) -> &ObjectMeta {
        k8s_openapi::Metadata::metadata(self)
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        k8s_openapi::Metadata::metadata_mut(self)
    }
}

/// One resource at one version: the names by which it is known on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceType {
    /// The API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The version within the group.
    pub version: Cow<'static, str>,
    /// The resource name in paths: lower case, plural.
    pub plural: Cow<'static, str>,
    /// The kind.
    pub kind: Cow<'static, str>,
    /// Whether its objects live in a namespace.
    pub scope: Scope,
}

impl ResourceType {
    /// The resource that `K` is the view of.
    ///
    /// ```
    /// # #[cfg(feature = "latest")] {
    /// use k8s_openapi::api::apps::v1::Deployment;
    /// let deployments = kore_api::object::ResourceType::of::<Deployment>();
    /// assert_eq!(deployments.api_version(), "apps/v1");
    /// assert_eq!(deployments.plural, "deployments");
    /// # }
    /// ```
    pub const fn of<K: Kind>() -> Self {
        Self {
            group: Cow::Borrowed(K::GROUP),
            version: Cow::Borrowed(K::VERSION),
            plural: Cow::Borrowed(K::PLURAL),
            kind: Cow::Borrowed(K::KIND),
            scope: K::SCOPE,
        }
    }

    /// The `apiVersion` of its objects: `v1` in the core group, `group/version` elsewhere.
    pub fn api_version(&self) -> Cow<'static, str> {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version).into() }
    }

    /// Whether its objects live in a namespace.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

/// As the field writes it: `deployments.apps`, `pods`.
impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}
