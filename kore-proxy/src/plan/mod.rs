//! The pure core: services and endpoint slices in, a typed delta out.
//!
//! - [`ServiceMap`] (`map.rs`): what is known, and which part of it has changed.
//! - `resolve.rs`: one service and its endpoints become frontends and entries.
//! - [`Frontend`], [`Entry`], [`Delta`], [`Snapshot`] (`delta.rs`): what backends are told.
//!
//! No clock, no I/O, no task. The cost of a change is that of the service it belongs to, however many others there are.

mod delta;
mod map;
mod resolve;

pub use delta::{Delta, Entry, Frontend, Operation, Protocol, Snapshot, SourceRange, Target, WhenEmpty};
pub use map::ServiceMap;

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where the proxy runs, as far as it decides which endpoints are near.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// The names of the nodes that the proxy stands for, one but for several nodes in one process: endpoints on them are local.
    pub nodes: BTreeSet<String>,
    /// The node's zone, for hints.
    pub zone: Option<String>,
    /// The addresses on which node ports are served.
    pub node_addresses: Vec<IpAddr>,
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! What tests of several rooms build.

    use std::net::{Ipv4Addr, SocketAddr};

    use super::{Entry, Target};

    /// An entry with targets on these ports.
    pub(crate) fn entry(ports: &[u16]) -> Entry {
        let target = |port: &u16| Target { address: SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), local: true };
        crate::conformance::entry(ports.iter().map(target).collect())
    }
}

#[cfg(test)]
mod tests;
