//! A framework for controllers, and the Kubernetes controllers built on it.
//!
//! | module | holds |
//! |---|---|
//! | [`queue`] | the keys to reconcile: a pure value |
//! | [`Reconciler`], [`Controller`], [`Context`], [`Caches`] | what a controller is made of |
//! | [`deployment`], [`replicaset`] | the controllers, each usable by itself |
//!
//! Every controller is a pure `plan` (what there is, to what to write) and a thin reconcile that carries it out. No plan
//! knows a client, a clock or a task; nothing here talks to a store.

pub mod deployment;
pub mod endpointslice;
mod error;
pub mod garbagecollector;
pub mod namespace;
mod objects;
pub mod queue;
pub mod replicaset;
mod resources;
mod runtime;
pub mod serviceaccount;

pub use error::Error;
pub use resources::Resources;
pub use runtime::{Action, Caches, Context, Controller, Handle, Reconciler, Statistics};
