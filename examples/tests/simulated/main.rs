//! Tests of the parts together: a whole cluster in one process, from one seed.
//!
//! - `cluster.rs`: the parts, composed; `web.rs`: what runs in them (`../in_a_test.rs` uses both, too)
//! - `determinism.rs`: one seed, run twice, is one and the same run
//! - `unknown_fields.rs`: parts that are older than their server lose nothing
//! - `crashes.rs`: parts that are killed after any of their writes

#[allow(dead_code, reason = "`in_a_test.rs` uses the rest")]
mod cluster;
mod crashes;
mod determinism;
mod unknown_fields;
#[allow(dead_code, reason = "`in_a_test.rs` uses the rest")]
mod web;
