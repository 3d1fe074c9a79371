//! kore-api: the API server, the object model and the client, as a library.
//!
//! | module | holds |
//! |---|---|
//! | [`object`] | what is stored, watched and handed around |
//! | [`error`] | what goes wrong, in the API's own terms |
//! | [`request`] | one request, however it travels |
//! | [`auth`], [`admission`] | who may, and what happens to a write |
//! | [`registry`] | which resources a server has, as data |
//! | [`codec`], [`patch`] | encodings and patches |
//! | [`client`] | typed and dynamic access, informers, events |

pub mod admission;
pub mod auth;
pub mod client;
pub mod codec;
pub mod error;
mod facts;
pub mod object;
pub mod patch;
pub mod registry;
pub mod request;
pub mod schema;
pub mod selector;

pub use kore_store::{Clock, Entropy, Revision};
