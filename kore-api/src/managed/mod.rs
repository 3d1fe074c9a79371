//! Who owns which field: managed fields, and server-side apply.
//!
//! | file | holds |
//! |---|---|
//! | `element.rs`, `set.rs` | paths, and sets of them |
//! | `fields_v1.rs`, `entry.rs` | sets, and who owns them since when, on the wire |
//! | `place.rs` | a type as ownership sees it: what is owned as one, and what part by part |
//! | `fields_of.rs`, `compare.rs`, `merge.rs`, `remove.rs`, `check.rs`, `reconcile.rs` | values against types |
//! | `first.rs` | the fields of a new object, the short way |
//! | `owners.rs` | the rules: what an update takes, what an apply sets, removes and must not touch |
//! | `conflict.rs` | what a client is told that would change what others own |
//! | `cap.rs`, `tracker.rs` | what the server asks: one writer of one object |
//!
//! Pure: no clock, no I/O. Semantics are those of upstream's structured merge and diff (KEP-555); `cases/` holds its
//! tests as tables.

mod cap;
mod check;
mod compare;
mod conflict;
mod element;
mod entry;
mod fields_of;
mod fields_v1;
mod first;
mod merge;
mod owners;
mod place;
mod problem;
mod reconcile;
mod remove;
mod set;
#[cfg(test)]
mod tests;
mod tracker;

pub(crate) use conflict::conflict_status;
pub(crate) use element::Element;
pub(crate) use entry::same_owners;
pub(crate) use merge::merge;
pub(crate) use owners::{Filter, Versions};
pub(crate) use place::{Place, Scalar};
pub(crate) use problem::Problem;
pub(crate) use set::{FieldSet, Pattern};
pub(crate) use tracker::{Refusal, Tracker, applied_by, check_config};
