//! Tests of the parts together: a whole cluster in one process, from one seed.
//!
//! - `cluster.rs`: the parts, composed; `web.rs`: what runs in them
//! - `in_a_test.rs`: from nothing to an answered request, in less than two seconds
//! - `determinism.rs`: one seed, run twice, is one and the same run
//! - `unknown_fields.rs`: parts that are older than their server lose nothing
//! - `crashes.rs`: parts that are killed after any of their writes

mod cluster;
mod crashes;
mod determinism;
mod in_a_test;
mod unknown_fields;
mod web;
