//! kore-api
