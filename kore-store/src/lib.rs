//! A revisioned key-value store with watch, compare-and-swap and leases: what etcd is, as a library.
//!
//! Keys and values are bytes. Every transaction that writes takes the next revision; old revisions can be read and
//! watched until they are compacted. [`Store`] is the seam, and its documentation the contract.
//!
//! ```
//! use futures::StreamExt;
//! use kore_store::{Compare, MemoryStore, Op, Store, Txn, WatchRequest, Watched};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), kore_store::Error> {
//!     let store = MemoryStore::new();
//!     let mut watch = store.watch(WatchRequest::prefix("/leader/")).await?;
//!
//!     // Whoever creates the key first leads.
//!     let campaign = |name: &'static str| {
//!         Txn::new()
//!             .when(Compare::mod_revision("/leader/blue", 0))
//!             .then(Op::put("/leader/blue", name))
//!             .otherwise(Op::get("/leader/blue"))
//!     };
//!     let (first, second) = tokio::join!(store.txn(campaign("ada")), store.txn(campaign("bob")));
//!     let (first, second) = (first?, second?);
//!     assert!(first.succeeded && !second.succeeded);
//!     let leader = second.first_kv().expect("somebody leads");
//!     assert_eq!(&leader.value[..], b"ada");
//!
//!     // Everybody else hears of it.
//!     let Some(Ok(Watched::Batch(batch))) = watch.next().await else {
//!         panic!("the watch ended");
//!     };
//!     assert_eq!(batch.revision, first.revision);
//!     assert_eq!(&batch.events[0].kv.value[..], b"ada");
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! - [`Store`], [`Range`], [`Txn`], [`WatchRequest`], [`Lease`], [`Error`]: the seam and its vocabulary
//! - [`DurableStore`]: a store in a directory, which survives crashes
//! - [`MemoryStore`]: a store in memory
//! - [`Snapshot`], [`offline`]: backups, and looking at a data directory that nobody has open
//! - [`layer`]: what is wrapped around any store: latency warnings, faults, metrics (feature `prometheus-client`), your own
//! - `EtcdStore` (feature `etcd`): an etcd cluster as the store
//! - `conformance` (feature `conformance`): checks an implementation of [`Store`] against the contract
//! - `EtcdServer` (feature `etcd-server`): a store as an etcd, for every program that speaks to one
//! - [`Clock`], [`Entropy`]: time and chance, handed in to everything built on top

mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod cursor;
mod durable;
mod entropy;
mod error;
#[cfg(any(feature = "etcd", feature = "etcd-server"))]
mod etcd;
mod index;
mod key;
pub mod layer;
mod lease;
mod memory;
mod published;
mod range;
mod snapshot;
mod store;
mod txn;
mod waiters;
mod watch;

/// Looking at a data directory that nobody has open.
pub mod offline {
    pub use crate::durable::offline::{Checked, check, dump};
}

pub use clock::Clock;
pub use durable::{DurableStore, Options, Run};
pub use entropy::Entropy;
pub use error::{Error, Result};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdOptions, EtcdStore, Progress};
#[cfg(feature = "etcd-server")]
pub use etcd::{EtcdServer, EtcdServerOptions};
pub use key::{KeyRange, KeyValue};
pub use lease::{Lease, LeaseId};
pub use memory::MemoryStore;
pub use range::{Range, Ranged};
pub use snapshot::Snapshot;
pub use store::{Limits, Status, Store};
pub use txn::{Compare, Delete, Op, OpResponse, Put, Relation, Target, Txn, TxnResponse};
pub use watch::{Event, EventBatch, Watch, WatchRequest, WatchSource, Watched};

/// Counts the transactions that wrote. A new store is at 1; in a request, 0 stands for the current one.
pub type Revision = u64;
