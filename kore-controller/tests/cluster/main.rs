//! Controllers against the real API server, in one process, under a paused clock and a seed.
//!
//! - `world`: a store that can crash, and a control plane over it that can be started again and again
//! - `agent`: what scheduler and node agent do, in a few lines, as a reconciler
//! - `runtime`: the contract of the framework
//! - `workloads`: deployments and the services in front of them
//! - `crash`: a crash after every single write
//! - `collection`: owners, namespaces
//! - `nodes`: nodes that fall silent

mod agent;
mod collection;
mod crash;
mod nodes;
mod runtime;
mod workloads;
mod world;
