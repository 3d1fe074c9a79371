//! Which resources a cluster has.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kore_api::object::ResourceType;
use kore_api::registry::Registry;
use kore_api::server::Server;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Which resources a cluster has: what the namespace controller empties, and what the garbage collector follows. The
/// namespace controller asks whenever it empties one, the garbage collector when it is opened.
///
/// ```
/// use kore_api::kinds;
/// use kore_controller::Resources;
///
/// let resources = Resources::of(&kinds::builtin());
/// assert!(resources.list().iter().any(|resource| resource.plural == "pods"));
/// ```
#[derive(Clone)]
pub struct Resources(Arc<dyn Fn() -> Vec<ResourceType> + Send + Sync>);

impl Resources {
    /// Asks `list`, every time they are needed.
    pub fn new(list: impl Fn() -> Vec<ResourceType> + Send + Sync + 'static) -> Self {
        Resources(Arc::new(list))
    }

    /// The resources of a registry, each at one version.
    pub fn of(registry: &Registry) -> Self {
        let list = each_once(registry);
        Resources::new(move || list.clone())
    }

    /// The resources of a server in the same process, those defined meanwhile among them.
    pub fn served_by(server: &Server) -> Self {
        let server = server.clone();
        Resources::new(move || each_once(&server.registry()))
    }

    /// The kinds that kore's own components use.
    pub fn built_in() -> Self {
        Resources::new(|| {
            vec![
                ResourceType::of::<Pod>(),
                ResourceType::of::<ConfigMap>(),
                ResourceType::of::<Secret>(),
                ResourceType::of::<Service>(),
                ResourceType::of::<ServiceAccount>(),
                ResourceType::of::<Event>(),
                ResourceType::of::<EndpointSlice>(),
                ResourceType::of::<ReplicaSet>(),
                ResourceType::of::<Deployment>(),
                ResourceType::of::<Lease>(),
                ResourceType::of::<Node>(),
                ResourceType::of::<Namespace>(),
            ]
        })
    }

    /// The resources as they are now.
    pub fn list(&self) -> Vec<ResourceType> {
        (self.0)()
    }
}

/// Every version shows the same objects: one is enough, the stored one if it is served.
fn each_once(registry: &Registry) -> Vec<ResourceType> {
    let mut list: BTreeMap<(String, String), ResourceType> = BTreeMap::new();
    for info in registry.iter() {
        let (resource, stored) = (&*info.resource, info.stored());
        let key = (stored.group.to_string(), stored.plural.to_string());
        if resource == stored || !list.contains_key(&key) {
            list.insert(key, resource.clone());
        }
    }
    list.into_values().collect()
}

impl Default for Resources {
    fn default() -> Self {
        Resources::built_in()
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resources")
    }
}
