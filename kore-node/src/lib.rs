//! kore-node
