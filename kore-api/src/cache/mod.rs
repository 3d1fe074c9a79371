//! The watch cache: the server's copy of what is in the store, from which everything is read and watched.
//!
//! - [`Caches`] (`caches.rs`): the caches of all resources and how far they have followed the store.
//! - [`follow`] (`follow.rs`): the one loop that follows the store and feeds them.
//! - [`fill`] (`fill.rs`): what fills the cache of a resource that is defined later.
//! - [`ResourceCache`] (`resource.rs`): one resource: the objects, the window of recent changes, snapshots in it.
//! - [`Handoff`] (`handoff.rs`): where a writer leaves its object for the loop, which then need not decode it again.
//! - [`Filter`] (`filter.rs`): which objects a reader wants. [`Watcher`] (`watcher.rs`): one watch.
//! - `layout.rs`: how objects are laid out in the store.
//!
//! One loop follows all resources with one watch of the store, so that one number says how far every cache is. Nothing here
//! writes to the store or knows users, verbs or admission.

mod caches;
mod fill;
mod filter;
mod follow;
mod handoff;
pub(crate) mod layout;
mod resource;
mod watcher;

pub(crate) use caches::Caches;
pub(crate) use fill::fill;
pub(crate) use filter::Filter;
pub(crate) use follow::{Stop, follow};
pub(crate) use handoff::{Handoff, Pending};
pub(crate) use resource::{Entry, ResourceCache, Snapshot, Window, entries};
pub(crate) use watcher::{Start, Watcher};
