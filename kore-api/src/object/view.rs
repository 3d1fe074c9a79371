//! A typed view of an object.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Kind, Object, ObjectKey};

/// An object together with its typed view: dereferences to `K`, and remembers the whole object it was read from.
///
/// The whole object matters to writers: [`crate::client::Api::replace`] sends the difference between two typed values
/// applied to it, so that fields which `K` does not know are kept. Cloning shares both.
pub struct View<K> {
    object: Object,
    typed: Arc<K>,
}

impl<K: Kind> View<K> {
    pub(crate) fn new(object: Object, typed: Arc<K>) -> Self {
        Self { object, typed }
    }

    /// The object this is a view of.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Namespace and name.
    pub fn key(&self) -> &ObjectKey {
        self.object.key()
    }

    /// A typed copy to change.
    pub fn to_owned(&self) -> K {
        (*self.typed).clone()
    }

    /// The shared typed value.
    pub fn into_typed(self) -> Arc<K> {
        self.typed
    }
}

impl<K> Clone for View<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), typed: self.typed.clone() }
    }
}

impl<K> Deref for View<K> {
    type Target = K;
    fn deref(&self) -> &K {
        &self.typed
    }
}

impl<K: fmt::Debug> fmt::Debug for View<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.typed.fmt(f)
    }
}

/// An object whose body is not what a kind's typed view expects.
#[derive(Debug, thiserror::Error)]
#[error("{key} does not decode as {kind}: {source}")]
#[non_exhaustive]
pub struct UndecodableView {
    /// The kind that was asked for.
    pub kind: &'static str,
    /// The object's key.
    pub key: ObjectKey,
    /// What the decoder says.
    pub source: serde_json::Error,
}
