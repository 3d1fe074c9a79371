//! Which resources a server has, as data.
//!
//! - [`Registry`] (`mod.rs`): the resources of one server, found by group, version and plural.
//! - [`ResourceInfo`] (`info.rs`): everything the generic code needs to know of one resource: names, subresources, selectable
//!   fields, columns, and its [`Strategy`].
//! - [`NameRule`] (`names.rs`): what names objects may have; [`Claim`], [`Pool`] (`claims.rs`): what no two objects may share.
//! - [`Convert`] (`conversion.rs`): how objects of one version become those of another.
//! - [`Strategy`] (`strategy.rs`): defaulting, validation and what else differs from kind to kind, as pure functions of the object.
//!
//! Built-in kinds, kinds compiled in by an application and custom resources made at run time are entries of the same form
//! and go through the same code. Nothing here does I/O.

mod claims;
pub(crate) mod conversion;
mod info;
mod names;
mod strategy;

pub use claims::{Claim, InvalidPool, NODE_PORTS, Pool, SERVICE_ADDRESSES};
pub use conversion::Convert;
pub(crate) use info::DefinedBy;
pub use info::{Column, ResourceInfo, ScalePaths};
pub use names::NameRule;
pub use strategy::{Generic, Strategy, Transition};

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::object::ResourceType;

/// The resources of one server.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// By group, version, plural.
    resources: BTreeMap<(String, String, String), Arc<ResourceInfo>>,
    /// The same by plural, for requests.
    by_plural: FxHashMap<String, Vec<Arc<ResourceInfo>>>,
}

impl Registry {
    /// No resources.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more resource, in place of one of the same group, version and plural.
    #[must_use]
    pub fn with(self, info: ResourceInfo) -> Self {
        self.with_shared(Arc::new(info))
    }

    /// As [`Registry::with`].
    pub(crate) fn with_shared(mut self, info: Arc<ResourceInfo>) -> Self {
        let resource = &info.resource;
        let key = (resource.group.to_string(), resource.version.to_string(), resource.plural.to_string());
        let named = self.by_plural.entry(key.2.clone()).or_default();
        named.retain(|other| other.resource.group != key.0 || other.resource.version != key.1);
        named.push(info.clone());
        self.resources.insert(key, info);
        self
    }

    /// The resource of these names.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<ResourceInfo>> {
        let named = self.by_plural.get(plural)?;
        named.iter().find(|info| info.resource.group == group && info.resource.version == version)
    }

    /// The entry for `resource`.
    pub fn find(&self, resource: &ResourceType) -> Option<&Arc<ResourceInfo>> {
        self.get(&resource.group, &resource.version, &resource.plural)
    }

    /// All resources, ordered by group, version and plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ResourceInfo>> {
        self.resources.values()
    }
}
