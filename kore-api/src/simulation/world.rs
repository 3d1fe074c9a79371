//! What a cluster looks like after each change of a log.

use std::collections::BTreeMap;
use std::fmt;

use super::{Entry, EventKind};
use crate::object::{Kind, Object, ObjectKey, ResourceType, View};

/// How many changes before a broken invariant are shown.
const BEFORE: usize = 10;

/// All objects as they were after one change of an [`EventLog`](super::EventLog).
#[derive(Clone, Debug, Default)]
pub struct World {
    objects: BTreeMap<ResourceType, BTreeMap<ObjectKey, Object>>,
}

/// An invariant that did not hold. Displays as what led there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Broken {
    pub(super) problem: String,
    /// The change after which it did not hold, last, and those before.
    pub(super) before: Vec<String>,
}

impl World {
    /// The objects of one resource, by namespace and name.
    pub fn objects<'w>(&'w self, resource: &ResourceType) -> impl Iterator<Item = &'w Object> + use<'w> {
        self.objects.get(resource).into_iter().flat_map(BTreeMap::values)
    }

    /// The objects of kind `K`, by namespace and name. Panics if one does not decode: no server has stored such an object.
    pub fn views<K: Kind>(&self) -> impl Iterator<Item = View<K>> {
        self.objects(&ResourceType::of::<K>()).map(|object| object.view().expect("what was stored is of its kind"))
    }

    pub(super) fn replay(
        entries: &[Entry],
        oracle: &mut dyn FnMut(&World, &Entry) -> Result<(), String>,
    ) -> Result<(), Broken> {
        let mut world = World::default();
        for (at, entry) in entries.iter().enumerate() {
            world.take(entry);
            oracle(&world, entry).map_err(|problem| Broken {
                problem,
                before: entries[at.saturating_sub(BEFORE)..=at].iter().map(Entry::to_string).collect(),
            })?;
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry) {
        let objects = self.objects.entry((*entry.resource).clone()).or_default();
        let key = entry.object.key();
        match entry.kind {
            EventKind::Added | EventKind::Modified => objects.insert(key.clone(), entry.object.clone()),
            EventKind::Deleted => objects.remove(key),
        };
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.problem)?;
        for line in &self.before {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}
