//! kore-api: the API server, the object model and the client, as a library.
//!
//! | module | holds |
//! |---|---|
//! | [`object`] | what is stored, watched and handed around |
//! | [`error`] | what goes wrong, in the API's own terms |
//! | [`request`] | one request, however it travels |
//! | [`auth`], [`admission`] | who may, and what happens to a write |
//! | [`registry`] | which resources a server has, as data |
//! | [`kinds`] | the resources that are built in |
//! | [`codec`], [`patch`] | encodings and patches |
//! | [`schema`] | the shape of kinds: checking, normal form, grafting typed edits |
//! | [`openapi`] | OpenAPI v3 documents |
//! | [`mod@http`] | the API over HTTP, as one `tower::Service` |
//! | [`tls`], [`kubeconfig`], [`remote`] | certificates, where a server is, and the way to it over the network |
//! | [`server`] | answers requests: the verbs, admission, the watch cache |
//! | [`client`] | typed and dynamic access, informers, events |
//! | `simulation` (feature) | whole clusters from a seed: faults, crash points, oracles |

pub mod admission;
pub mod auth;
mod cache;
pub mod client;
pub mod codec;
pub mod error;
mod facts;
pub mod http;
pub mod kinds;
pub mod kubeconfig;
pub mod object;
pub mod openapi;
pub mod patch;
mod progress;
pub mod registry;
pub mod remote;
pub mod request;
pub mod schema;
pub mod selector;
pub mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod tls;

pub use kore_store::{Clock, Entropy, Revision};
