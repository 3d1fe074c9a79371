//! kore-store
