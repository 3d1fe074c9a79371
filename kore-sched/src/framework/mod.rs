//! The framework: what authors of scheduling policies implement and see.
//!
//! - `plugin`: [`Plugin`], what every policy is, and [`Depends`], what it declares
//! - `points`: the extension points of the scheduling cycle, one trait each, all synchronous
//! - `queueing`: the points of the queue: [`PreEnqueue`], [`QueueSort`], [`Enqueue`] with its events and hints
//! - `binding`: the points after the choice of a node, asynchronous: [`PreBind`], [`Bind`], [`PostBind`]
//! - `ctx`: [`Ctx`] and [`NodeRef`], the borrowed snapshot
//! - `verdict`: [`Verdict`] and [`Rejection`], how a plugin says no
//! - `profile`: [`Profile`], an ordered set of plugins under a scheduler name
//! - `erased`: how typed plugins become one list (nothing public)

mod binding;
mod ctx;
pub(crate) mod erased;
mod plugin;
mod points;
mod profile;
mod queueing;
mod verdict;

pub use binding::{Bind, BindAnswer, Binding, PostBind, PreBind};
pub use ctx::{Ctx, NodeRef};
pub use plugin::{Depends, Plugin};
pub use points::{
    Candidates, Filter, MAX_PERMIT_WAIT, Permission, Permit, PostFilter, PreFilter, PreScore, Recourse, Refusal,
    Reserve, Score, Scoring, normalize_to_largest,
};
pub use profile::{Points, Profile, ProfileError};
pub use queueing::{ClusterEvent, Enqueue, Hint, Interest, PreEnqueue, QueueSort, Queued};
pub use verdict::{Code, Rejection, Verdict};
