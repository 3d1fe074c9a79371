//! The pod template of an object in full: with the fields, too, that the typed views do not know.

use kore_api::object::{Kind, View};
use serde_json::Value;

/// An object with a pod template at `spec.template`.
pub(crate) trait Templated {
    /// The template as it is stored; null if there is none.
    fn template(&self) -> Value;
}

impl<K: Kind> Templated for View<K> {
    fn template(&self) -> Value {
        self.object().to_value()["spec"]["template"].take()
    }
}

/// The typed objects of table tests, which have no other fields.
#[cfg(test)]
impl<K: Kind> Templated for &K {
    fn template(&self) -> Value {
        serde_json::to_value(self).expect("objects are JSON")["spec"]["template"].take()
    }
}
