//! A framework for controllers, and the Kubernetes controllers built on it.
//!
//! | module | holds |
//! |---|---|
//! | [`Reconciler`], [`Controller`], [`Context`], [`Caches`] | what a controller is made of |
//! | [`queue`] | the keys to reconcile: a pure value |
//! | [`Controllers`] | the controllers of a control plane, composed by name |
//! | [`deployment`], [`replicaset`] | workloads |
//! | [`endpointslice`] | what stands behind services |
//! | [`namespace`], [`garbagecollector`], [`podgc`] | what goes, and what goes with it |
//! | [`nodelifecycle`], [`tainteviction`] | nodes that fail |
//! | [`serviceaccount`] | default accounts |
//!
//! Every controller is a pure `plan` (what there is, to what to write) and a thin reconcile that carries it out. No plan
//! knows a client, a clock or a task; nothing here talks to a store; controllers know each other only through the API.

mod controllers;
pub mod deployment;
pub mod endpointslice;
mod error;
pub mod garbagecollector;
pub mod namespace;
pub mod nodelifecycle;
mod objects;
pub mod podgc;
pub mod queue;
pub mod replicaset;
mod resources;
mod runtime;
pub mod serviceaccount;
pub mod tainteviction;

pub use controllers::{Controllers, ControllersHandle};
pub use error::Error;
pub use resources::Resources;
pub use runtime::{Action, Caches, Context, Controller, Handle, Reconciler, Statistics};
