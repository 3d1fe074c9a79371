//! `EtcdStore` against real etcds: `cargo test -p kore-store --features etcd,conformance --test etcd -- --ignored`.
//!
//! - `harness`: starts and stops them
//! - `conforms`: the crate's own suite
//! - `progress`: what requested progress says, and what is made of it
//! - `calls`: what the suite does not reach: limits, snapshots, other people's keys
//! - `access`: TLS, users, endpoints that are dead
//! - `failures`: members that die or are cut off under load

mod access;
mod conforms;
mod harness;
mod progress;
