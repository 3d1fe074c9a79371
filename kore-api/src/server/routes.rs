//! Which resources there are at present, each with what is looked up once for it.

use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxHashMap;

use super::core::no_such_resource;
use crate::cache::{Caches, ResourceCache, layout};
use crate::error::Status;
use crate::managed::Place;
use crate::object::ResourceType;
use crate::registry::{Registry, ResourceInfo};
use crate::schema::Schema;

/// A resource at one of its versions.
pub(crate) struct Route {
    pub(super) info: Arc<ResourceInfo>,
    pub(super) cache: Arc<ResourceCache>,
    /// What its keys in the store begin with.
    pub(super) prefix: String,
    /// `None`: it is not built in.
    pub(super) schema: Option<Schema>,
}

impl Route {
    pub(super) fn new(info: Arc<ResourceInfo>, cache: Arc<ResourceCache>) -> Self {
        let resource = &info.resource;
        Self {
            cache,
            prefix: layout::resource_prefix(info.stored()),
            schema: Schema::of(&resource.api_version(), &resource.kind),
            info,
        }
    }

    pub(super) fn resource(&self) -> &Arc<ResourceType> {
        &self.info.resource
    }

    /// The type of its objects, as ownership sees it.
    pub(super) fn place(&self) -> Place<'_> {
        match &self.info.schema {
            Some(schema) => Place::Custom(&schema.root),
            None => Place::of(self.schema.as_ref()),
        }
    }
}

/// The resources at one point in time.
pub(crate) struct Routes {
    pub(super) registry: Arc<Registry>,
    by_plural: FxHashMap<Box<str>, Vec<Arc<Route>>>,
}

impl Routes {
    fn new(registry: Registry, routes: impl Iterator<Item = Arc<Route>>) -> Self {
        let mut by_plural: FxHashMap<Box<str>, Vec<Arc<Route>>> = FxHashMap::default();
        for route in routes {
            by_plural.entry((&*route.resource().plural).into()).or_default().push(route);
        }
        Self { registry: Arc::new(registry), by_plural }
    }

    /// The entry of a resource.
    pub(super) fn find(&self, resource: &ResourceType) -> Result<&Arc<Route>, Status> {
        self.get(&resource.group, &resource.version, &resource.plural).ok_or_else(no_such_resource)
    }

    /// Each resource once, whatever its versions.
    pub(super) fn stored(&self) -> impl Iterator<Item = &Arc<Route>> {
        let mut seen = std::collections::BTreeSet::new();
        self.by_plural.values().flatten().filter(move |route| seen.insert(Arc::as_ptr(&route.cache)))
    }

    pub(super) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Route>> {
        let is_it = |route: &&Arc<Route>| {
            let resource = route.resource();
            resource.group == group && resource.version == version
        };
        self.by_plural.get(plural)?.iter().find(is_it)
    }
}

/// The resources as they change: those that the server was opened with, and those that have been defined since.
pub(crate) struct Table {
    fixed: Registry,
    fixed_routes: Vec<Arc<Route>>,
    now: RwLock<Arc<Routes>>,
}

impl Table {
    /// The resources of `fixed`, and their caches.
    pub(super) fn new(fixed: Registry, caches: &Caches) -> Self {
        let routes = fixed.iter().map(|info| {
            let stored = fixed.find(info.stored()).unwrap_or(info);
            Arc::new(Route::new(info.clone(), caches.of(stored)))
        });
        let fixed_routes: Vec<Arc<Route>> = routes.collect();
        let now = Routes::new(fixed.clone(), fixed_routes.iter().cloned());
        Self { fixed, fixed_routes, now: RwLock::new(Arc::new(now)) }
    }

    /// The resources at present.
    pub(super) fn now(&self) -> Arc<Routes> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server was opened with this one, at whatever version.
    pub(super) fn is_fixed(&self, group: &str, plural: &str) -> bool {
        self.fixed.iter().any(|info| info.resource.group == group && info.resource.plural == plural)
    }

    /// Has these resources besides those that the server was opened with, in place of what was defined before.
    pub(super) fn define(&self, defined: Vec<Arc<Route>>) {
        let registry = defined.iter().fold(self.fixed.clone(), |all, route| all.with_shared(route.info.clone()));
        let now = Routes::new(registry, self.fixed_routes.iter().cloned().chain(defined));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
    }
}
