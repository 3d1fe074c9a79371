//! What runs a reconciler: a pure queue, and the driver around it.
//!
//! - [`Reconciler`], [`Action`] (`reconciler.rs`): the trait that users implement
//! - [`Caches`] (`caches.rs`): the informers that controllers share
//! - [`Context`] (`context.rs`): through which a reconcile writes, so that the next one sees what it wrote
//! - [`Controller`] (`controller.rs`): which kinds are watched, and whose keys their changes concern
//! - `worker`: one reconcile of one object
//! - [`Handle`], [`Statistics`] (`driver.rs`): the loop; it alone knows tasks and time

mod caches;
mod context;
mod controller;
pub(crate) mod driver;
mod reconciler;
mod worker;

pub use caches::Caches;
pub use context::Context;
pub use controller::Controller;
pub use driver::{Handle, Statistics};
pub use reconciler::{Action, Reconciler};
