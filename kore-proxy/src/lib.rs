//! kore-proxy
