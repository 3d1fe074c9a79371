//! Whole clusters from a seed: faults on the way, crashes after any write, and a record of everything that happened.
//!
//! - [`Faults`] (`faults.rs`, `watch.rs`, `store.rs`): requests and answers that are lost or late, watches that break, between a client and its
//!   server or between a server and its store.
//! - [`CrashPoint`] (`crash.rs`): ends a component right after its n-th write.
//! - [`EventLog`], [`World`] (`log.rs`, `difference.rs`, `world.rs`): every change of every resource in order; two runs compared, and invariants
//!   checked at every change.
//! - [`Newer`] (`newer/`): a server that knows more fields than its clients, and holds them to keeping those.
//!
//! All of it goes around a [`Client`](crate::client::Client) or a [`Store`](kore_store::Store), and components are whatever futures their
//! `open` returns: nothing here knows one. Time comes from tokio, whose clock a test pauses, and chance from a seed.

mod crash;
mod difference;
mod faults;
mod log;
mod newer;
mod store;
mod watch;
mod world;

pub use crash::CrashPoint;
pub use difference::Difference;
pub use faults::{Faults, Injected};
pub use log::{Entry, EventKind, EventLog};
pub use newer::{Newer, Violation};
pub use store::FaultyStore;
pub use world::{Broken, World};
