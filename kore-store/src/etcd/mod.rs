//! etcd's v3 protocol.
//!
//! - `wire`: its messages
//! - `client` (feature `etcd`): `EtcdStore`, an etcd cluster as a store
//! - `server` (feature `etcd-server`): `EtcdServer`, a store as an etcd

#[cfg(feature = "etcd")]
mod client;
#[cfg(feature = "etcd-server")]
mod server;
#[allow(dead_code, reason = "each of the two sides uses its half")]
mod wire;

#[cfg(feature = "etcd")]
pub use client::{EtcdOptions, EtcdStore, Progress};
#[cfg(feature = "etcd-server")]
pub use server::{EtcdServer, EtcdServerOptions};
