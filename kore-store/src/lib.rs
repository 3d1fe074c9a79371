//! kore-store
mod clock;
mod entropy;
pub use clock::Clock;
pub use entropy::Entropy;
/// A revision.
pub type Revision = u64;
