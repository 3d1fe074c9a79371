//! The API over HTTP, as one [`tower::Service`].
//!
//! - [`ApiService`] (`service.rs`): the service: the layers of [`layer`], and the routes behind them.
//! - [`Core`] (`core.rs`): what stands behind it.
//! - [`layer`]: panics, authentication, limits, each a `tower` layer.
//! - `path.rs`, `query.rs`, `accept.rs`: what a request says. `routes.rs`, `resource.rs`: who answers it.
//! - `respond.rs`, `body.rs`, `table.rs`, `watch.rs`: how the answer is written.
//! - `gzip.rs`: large answers, compressed for clients that take it.
//! - `discovery.rs`, `openapi.rs`, `health.rs`: what the server says about itself. `reviews.rs`: what about the user.
//! - [`Listener`] (`listener/`): TCP, TLS, connections; serves any service.
//!
//! Nothing here reads or writes a store, decides what an object means, or knows a kind by name.

mod accept;
mod body;
mod core;
mod discovery;
mod gzip;
mod health;
pub mod layer;
mod listener;
mod openapi;
mod path;
mod query;
mod resource;
mod respond;
mod reviews;
mod routes;
mod service;
mod table;
mod watch;

pub use body::Body;
pub use core::Core;
pub use listener::{BindError, ConnectionLimits, Listener, Serve};
pub use path::{ResourcePath, Target};
pub use query::Query;
pub(crate) use query::delete_options;
pub use service::{ApiService, Limits};
use watch::Closing;

/// Subresources whose answers may take as long as they like.
const LONG_RUNNING: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

#[cfg(test)]
pub(crate) mod tests;
