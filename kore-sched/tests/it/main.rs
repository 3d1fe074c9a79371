//! What must hold of the scheduler, by its public API.
//!
//! - `fit`, `scores`, `affinity`: upstream's cases of the plugins, as rows
//! - `queue`: what happens to pods over time
//! - `points`: the extension points that no default plugin uses
//! - `driver`: against a server in the same process
//! - `reference`: random clusters against a second, naive implementation

mod affinity;
mod driver;
mod fit;
mod points;
mod queue;
mod reference;
mod scores;
