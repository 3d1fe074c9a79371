//! Ranges of addresses in CIDR notation.

use std::net::IpAddr;

use crate::kinds::field::Field;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    bits: u32,
}

impl Cidr {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    pub(super) fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether `other` is part of it, and not all of it.
    pub(super) fn has_part(self, other: Self) -> bool {
        self.is_ipv4() == other.is_ipv4() && self.bits < other.bits && self.prefix(self.bits) == other.prefix(self.bits)
    }

    /// The first `bits` bits of the address; the rest is zero.
    fn prefix(self, bits: u32) -> u128 {
        let (number, width) = match self.address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        // All bits gone: a shift by the whole width is none that a processor knows.
        number.checked_shr(width - bits).unwrap_or_default() << (width - bits).min(127)
    }

    /// As it is written when nothing is left to choose.
    fn canonical(self) -> String {
        format!("{}/{}", self.address, self.bits)
    }
}

const PROBLEM: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Must be a range.
pub(super) fn range(field: &Field<'_, '_>) -> Option<Cidr> {
    let found = Cidr::parse(field.text());
    if found.is_none() {
        field.invalid(PROBLEM);
    }
    found
}

/// Must be a range, as such are written, and begin where it begins.
pub(super) fn strict_range(field: &Field<'_, '_>) {
    let Some(found) = range(field) else { return };
    if found.prefix(found.bits) != found.prefix(if found.is_ipv4() { 32 } else { 128 }) {
        field.invalid("must not have bits set beyond the prefix length");
    } else if found.canonical() != field.text() {
        field.invalid(format!("must be in canonical form ({:?})", found.canonical()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::{Value, json};

    #[test]
    fn ranges() {
        let parse = |text: &str| Cidr::parse(text).unwrap();
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/-1"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
        for (whole, part, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("0.0.0.0/0", "10.1.0.0/16", true),
            ("::/0", "2001:db8::/32", true),
            ("10.0.0.0/8", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0/16", false),
            ("10.0.0.0/16", "10.0.0.0/8", false),
            ("0.0.0.0/0", "2001:db8::/32", false),
        ] {
            assert_eq!(parse(whole).has_part(parse(part)), expected, "{whole} {part}");
        }
        for (text, problems) in [
            ("10.0.0.0/8", 0),
            ("10.0.0.1/8", 1),
            ("2001:0db8::/32", 1),
            ("2001:db8::/32", 0),
            ("x", 1),
            ("0.0.0.0/0", 0),
        ] {
            let found = check(&json!(text), &Value::Null, |root, _| strict_range(root));
            assert_eq!(found.len(), problems, "{text}: {found:?}");
        }
    }
}
