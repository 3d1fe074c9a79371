//! What must hold, and what else is written, when a write reaches the store.

use kore_store::Compare;
use serde_json::Value;

use crate::cache::layout;
use crate::object::{Object, ResourceType};

/// The terms of one write.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// What must hold.
    pub(super) guards: Vec<Compare>,
    /// What is written with it, in the same transaction: which resource's, what there is, and what it becomes.
    pub(super) besides: Vec<(ResourceType, Object, Value)>,
}

impl Terms {
    /// These and others.
    pub(super) fn extend(&mut self, others: Self) {
        self.guards.extend(others.guards);
        self.besides.extend(others.besides);
    }

    /// Only while this object is as it is here.
    pub(super) fn only_while(&mut self, resource: &ResourceType, object: &Object) {
        let key = layout::object_key(&layout::resource_prefix(resource), object.key());
        self.guards.push(Compare::mod_revision(key, object.revision()));
    }

    /// This object becomes another one at the same time, if it is as it is here.
    pub(super) fn also_write(&mut self, resource: &ResourceType, old: &Object, new: Value) {
        self.besides.push((resource.clone(), old.clone(), new));
    }
}
