//! The node agent and its container runtimes.

pub mod agent;
pub mod conformance;
mod env;
mod error;
mod log;
mod machine;
pub mod native;
mod qos;
mod quantity;
pub mod runtime;
pub mod server;
pub mod shim;
pub mod task;
mod volumes;

pub use error::Error;
