//! Which address of the configured range belongs to which sandbox.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{IpAddr, Ipv4Addr},
};

use crate::runtime::{Error, Result, SandboxId};

/// A range of addresses and who holds which. The owner of a range rebuilds it from what it has on disk.
#[derive(Debug)]
pub(crate) struct Addresses {
    range: String,
    first: u32,
    last: u32,
    /// Where the search goes on: an address given back is the last to be given out again.
    next: u32,
    held: BTreeMap<u32, SandboxId>,
}

impl Addresses {
    /// Takes a range such as `127.64.0.0/16` inside 127.0.0.0/8; the first and last address are left out.
    pub(crate) fn new(range: &str) -> Result<Addresses> {
        let invalid = |why: &str| Error::Invalid(format!("pod addresses {range:?}: {why}"));
        let (base, bits) = range.split_once('/').ok_or_else(|| invalid("not of the form 127.64.0.0/16"))?;
        let base: Ipv4Addr = base.parse().map_err(|_| invalid("not an IPv4 address"))?;
        let bits: u32 = bits.parse().map_err(|_| invalid("not a prefix length"))?;
        if !base.is_loopback() || !(8..=30).contains(&bits) {
            return Err(invalid("native pods take addresses inside 127.0.0.0/8, from a /8 to a /30"));
        }
        let size = 1u32 << (32 - bits);
        if !base.to_bits().is_multiple_of(size) {
            return Err(invalid("the address is not the first of its range"));
        }
        let (first, last) = (base.to_bits() + 1, base.to_bits() + (size - 2));
        Ok(Addresses { range: range.to_owned(), first, last, next: first, held: BTreeMap::new() })
    }

    /// The range, as configured: the node's `podCIDR`.
    pub(crate) fn range(&self) -> &str {
        &self.range
    }

    /// An address nobody holds.
    pub(crate) fn allocate(&mut self, sandbox: &SandboxId) -> Result<IpAddr> {
        for _ in self.first..=self.last {
            let address = self.next;
            self.next = if address == self.last { self.first } else { address + 1 };
            if let Entry::Vacant(free) = self.held.entry(address) {
                free.insert(sandbox.clone());
                return Ok(Ipv4Addr::from_bits(address).into());
            }
        }
        Err(Error::Transient(format!("no free pod address in {}", self.range)))
    }

    /// Notes that a sandbox holds an address from before.
    pub(crate) fn hold(&mut self, address: IpAddr, sandbox: &SandboxId) {
        if let IpAddr::V4(address) = address {
            let address = address.to_bits();
            if (self.first..=self.last).contains(&address) {
                self.held.insert(address, sandbox.clone());
                self.next = if address == self.last { self.first } else { self.next.max(address + 1) };
            }
        }
    }

    /// Gives an address back, if this sandbox holds it.
    pub(crate) fn release(&mut self, address: IpAddr, sandbox: &SandboxId) {
        if let IpAddr::V4(address) = address
            && self.held.get(&address.to_bits()) == Some(sandbox)
        {
            self.held.remove(&address.to_bits());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_by_one_sandbox_at_a_time_and_reused_last() {
        let mut addresses = Addresses::new("127.64.0.0/29").unwrap();
        let ids: Vec<SandboxId> = (0..7).map(|n| SandboxId::new(n.to_string())).collect();
        let given: Vec<IpAddr> = ids[..6].iter().map(|id| addresses.allocate(id).unwrap()).collect();
        let mut unique = given.clone();
        unique.dedup();
        assert_eq!(unique.len(), 6);
        assert!(addresses.allocate(&ids[6]).is_err());
        addresses.release(given[4], &ids[0]);
        assert!(addresses.allocate(&ids[6]).is_err(), "only its holder gives an address back");
        addresses.release(given[4], &ids[4]);
        addresses.release(given[1], &ids[1]);
        assert_eq!(addresses.allocate(&ids[6]).unwrap(), given[1]);
    }

    #[test]
    fn a_held_address_is_not_given_out() {
        let mut addresses = Addresses::new("127.64.0.0/30").unwrap();
        addresses.hold("127.64.0.2".parse().unwrap(), &SandboxId::new("old"));
        assert_eq!(addresses.allocate(&SandboxId::new("new")).unwrap().to_string(), "127.64.0.1");
    }

    #[test]
    fn ranges_are_checked() {
        for range in ["10.0.0.0/16", "127.64.0.0", "127.64.0.1/16", "127.64.0.0/31", "nonsense/8", "127.0.0.0/x"] {
            let error = Addresses::new(range).unwrap_err().to_string();
            assert!(error.contains(range), "{error}");
        }
    }
}
