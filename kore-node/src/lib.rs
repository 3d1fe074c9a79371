//! The node agent and its container runtimes.

pub mod conformance;
mod log;
pub mod native;
pub mod runtime;
pub mod shim;
pub mod task;
