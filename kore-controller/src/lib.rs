//! kore-controller
