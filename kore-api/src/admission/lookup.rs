//! What a stage of admission may read meanwhile.

use std::fmt;

use crate::cache::{ResourceCache, entries};
use crate::error::Status;
use crate::object::{Object, ObjectKey, ResourceType};
use crate::server::core::Core;

/// Reads what the server has, for stages of admission: without a user, and so without asking an authoriser.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    core: &'a Core,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(core: &'a Core) -> Self {
        Self { core }
    }

    /// Whether the server has this resource.
    pub fn knows(&self, resource: &ResourceType) -> bool {
        self.core.cache_of(resource).is_some()
    }

    /// An object as the server last saw it: at once, and perhaps not the newest.
    pub fn cached(&self, resource: &ResourceType, key: &ObjectKey) -> Option<Object> {
        self.core.cache_of(resource)?.get(key).map(|entry| entry.object)
    }

    /// Letters and digits that no two names end in.
    pub(crate) fn suffix(&self, characters: usize) -> String {
        self.core.suffix(characters)
    }

    /// All objects of a resource in a namespace (empty: of all) as they are. None, if the server does not have the resource.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, resource: &ResourceType, namespace: &str) -> Result<Vec<Object>, Status> {
        let Some(cache) = self.core.cache_of(resource) else {
            return Ok(Vec::new());
        };
        self.core.catch_up().await?;
        Ok(in_namespace(&cache, namespace))
    }

    /// As [`Lookup::list`], as the server last saw them.
    pub(crate) fn cached_list(&self, resource: &ResourceType, namespace: &str) -> Vec<Object> {
        self.core.cache_of(resource).map(|cache| in_namespace(&cache, namespace)).unwrap_or_default()
    }

    /// An object as it is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, resource: &ResourceType, key: &ObjectKey) -> Result<Option<Object>, Status> {
        self.core.catch_up().await?;
        Ok(self.cached(resource, key))
    }
}

fn in_namespace(cache: &ResourceCache, namespace: &str) -> Vec<Object> {
    let (snapshot, _, _) = cache.snapshot();
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    entries(&snapshot, namespace, None).map(|entry| entry.object.clone()).collect()
}

impl fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}
