//! What backends are told.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kore_api::object::ObjectKey;

/// A transport protocol of a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// What clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// The address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl Frontend {
    /// Address and port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.socket(), self.protocol)
    }
}

/// Where connections to one frontend go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The service this is for.
    pub service: ObjectKey,
    /// The name of its port; empty where it has only one.
    pub port_name: String,
    /// The eligible endpoints, ordered by address, without duplicates.
    pub targets: Arc<[Target]>,
    /// What happens to a connection when `targets` is empty.
    pub when_empty: WhenEmpty,
    /// A client that comes back within this time gets the same target; each use begins it anew.
    pub affinity: Option<Duration>,
    /// Only clients in these ranges may connect; empty: all may.
    pub sources: Arc<[SourceRange]>,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether it is on the proxy's own node.
    pub local: bool,
}

/// What happens to a connection for which there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WhenEmpty {
    /// It is refused: there is no endpoint anywhere.
    Reject,
    /// It is left without an answer: there are endpoints, but policy keeps this node from using them.
    Drop,
}

/// A range of addresses in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceRange {
    address: IpAddr,
    prefix_bits: u8,
}

impl SourceRange {
    /// Whether `address` is in the range. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared = |ours: u128, theirs: u128, width: u8| {
            let shift = u32::from(width - self.prefix_bits);
            self.prefix_bits == 0 || ours >> shift == theirs >> shift
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => shared(ours.to_bits().into(), theirs.to_bits().into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => shared(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

impl std::str::FromStr for SourceRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a range of addresses like 192.0.2.0/24");
        let (address, bits) = text.trim().split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix_bits: u8 = bits.parse().map_err(|_| invalid())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if prefix_bits > width { Err(invalid()) } else { Ok(Self { address, prefix_bits }) }
    }
}

/// One step of a [`Delta`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Connections to the frontend go by this entry from now on. Open ones stay as they are.
    Upsert(Frontend, Arc<Entry>),
    /// Nobody serves the frontend any longer. Open connections stay as they are.
    Remove(Frontend),
}

/// The difference between two states of the service map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The number of the state this leads to; one delta leads from each state to the next.
    pub revision: u64,
    /// What to do, ordered by frontend, at most one a frontend.
    pub operations: Vec<Operation>,
    /// UDP flows to these targets lead nowhere now and are to be forgotten, after the operations.
    pub stale_udp: Vec<(Frontend, SocketAddr)>,
}

impl Delta {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.stale_udp.is_empty()
    }
}

/// A whole state of the service map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of the state.
    pub revision: u64,
    /// Every frontend that is served.
    pub entries: BTreeMap<Frontend, Arc<Entry>>,
}

impl Snapshot {
    /// The state after `delta`.
    pub fn apply(&mut self, delta: &Delta) {
        self.revision = delta.revision;
        for operation in &delta.operations {
            match operation {
                Operation::Upsert(frontend, entry) => self.entries.insert(*frontend, entry.clone()),
                Operation::Remove(frontend) => self.entries.remove(frontend),
            };
        }
    }
}
