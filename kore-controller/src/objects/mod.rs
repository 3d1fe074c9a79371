//! What several controllers ask of objects: pure functions over the typed views, no client.
//!
//! - `claim`: who controls an object, and whether it is to be adopted or released
//! - `pods`: active, ready, available
//! - `template`: the pod template of an object, in full
//! - `versions`: fields that are optional in one Kubernetes API version and required in another
//! - `testing`: builders of objects for the table tests

pub(crate) mod claim;
pub(crate) mod pods;
pub(crate) mod template;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod versions;
