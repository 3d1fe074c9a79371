//! kore-proxy: the service proxy.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | the pure core: services and endpoint slices in, a typed [`plan::Delta`] out |
//! | [`backend`] | [`Backend`]: who applies deltas, and what it promises |
//! | [`userspace`] | [`UserSpace`]: TCP on service addresses that any process may bind (a slice of 127/8) |
//! | [`driver`] | [`Proxy`]: follows the API and feeds a backend |
//! | [`conformance`] | the suite that every backend passes |
//!
//! The core decides everything: which endpoints are eligible under policy, topology and termination, and what happens when
//! there are none. Backends only apply deltas, and know no Kubernetes.
//!
//! A proxy for a whole cluster, in the API server's own process:
//!
//! ```no_run
//! use kore_api::client::Client;
//! use kore_proxy::{Config, Proxy, UserSpace};
//!
//! /// Proxies until it is dropped.
//! async fn proxy(client: Client) {
//!     let (backend, forward) = UserSpace::new();
//!     let (_proxy, follow) = Proxy::open(client, backend, Config::default().node("node-1"));
//!     futures::join!(forward, follow);
//! }
//! ```

pub mod backend;
pub mod conformance;
pub mod driver;
pub mod plan;
pub mod userspace;

pub use backend::{Backend, BackendError};
pub use driver::{Config, Proxy};
pub use userspace::UserSpace;
