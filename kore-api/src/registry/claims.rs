//! Things of which no two objects may have the same: addresses, ports.

use std::fmt;
use std::net::Ipv4Addr;

use serde_json::Value;

/// The pool of the addresses of Services.
pub const SERVICE_ADDRESSES: &str = "service-addresses";
/// The pool of the ports that Services take on every node.
pub const NODE_PORTS: &str = "node-ports";

/// A value out of a pool that an object has, or wants to be given.
///
/// [`super::Strategy::claims`] says what an object claims. The server stores each claim as a key of its own in the
/// transaction that stores the object, on the condition that nobody has it, and deletes the key in the transaction that changes
/// or deletes the object. So no value is handed out twice, whoever writes at the same time and whatever restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Out of which pool, for example [`SERVICE_ADDRESSES`]. A server without such a pool ignores the claim.
    pub pool: &'static str,
    /// Where in the object the value stands, for example `spec.ports[0].nodePort`.
    pub field: String,
    /// The value, a string or a number; `Null`: the server shall choose one and write it to `field`.
    pub value: Value,
}

impl Claim {
    /// A claim.
    pub fn new(pool: &'static str, field: impl Into<String>, value: Value) -> Self {
        Self { pool, field: field.into(), value }
    }

    /// The field as a JSON pointer (RFC 6901).
    pub(crate) fn pointer(&self) -> String {
        format!("/{}", self.field.replace(['.', '['], "/").replace(']', ""))
    }

    /// The value as it stands in the store's keys.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The values that may be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    values: Values,
    first: u32,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Addresses { prefix_bits: u32 },
    Numbers,
}

/// A pool that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no IPv4 range of 4 to 16,777,216 addresses such as 127.96.0.0/16")]
#[non_exhaustive]
pub struct InvalidPool {
    /// The text that is no range.
    pub text: String,
}

impl Pool {
    /// The addresses of an IPv4 range in CIDR notation, without its first and last.
    ///
    /// # Errors
    /// When `cidr` is no such range, or one with fewer than 8 or more than 24 bits for hosts to tell apart.
    pub fn addresses(cidr: &str) -> Result<Self, InvalidPool> {
        let invalid = || InvalidPool { text: cidr.to_owned() };
        let (address, bits) = cidr.split_once('/').ok_or_else(invalid)?;
        let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
        let prefix_bits: u32 = bits.parse().map_err(|_| invalid())?;
        if !(8..=30).contains(&prefix_bits) {
            return Err(invalid());
        }
        let size = 1_u32 << (32 - prefix_bits);
        let first = (u32::from(address) & !(size - 1)) + 1;
        Ok(Self { values: Values::Addresses { prefix_bits }, first, count: size - 2 })
    }

    /// The numbers from `first` to `last`.
    pub fn numbers(first: u16, last: u16) -> Self {
        let count = u32::from(last.saturating_sub(first)) + 1;
        Self { values: Values::Numbers, first: first.into(), count }
    }

    /// How many values there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// What one value is called.
    pub fn noun(&self) -> &'static str {
        match self.values {
            Values::Addresses { .. } => "IP",
            // The only numbers that objects claim.
            Values::Numbers => "port",
        }
    }

    /// How many of the first values are only chosen when no other is left, so that people find their own choice free there.
    pub fn kept_for_people(&self) -> u32 {
        (self.count / 16).clamp(16, 256).min(self.count)
    }

    /// The value at `index`, which is below [`Pool::count`].
    pub fn value(&self, index: u32) -> Value {
        let number = self.first + index;
        match self.values {
            Values::Addresses { .. } => Ipv4Addr::from(number).to_string().into(),
            Values::Numbers => number.into(),
        }
    }

    /// Whether `value` is one of the pool's.
    pub fn contains(&self, value: &Value) -> bool {
        let number = match (self.values, value) {
            (Values::Addresses { .. }, Value::String(text)) => text.parse::<Ipv4Addr>().ok().map(u32::from),
            (Values::Numbers, value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        number.is_some_and(|number| number.checked_sub(self.first).is_some_and(|index| index < self.count))
    }
}

/// `127.96.0.0/16`, or `30000-32767`.
impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values {
            Values::Addresses { prefix_bits } => {
                write!(f, "{}/{prefix_bits}", Ipv4Addr::from(self.first - 1))
            }
            Values::Numbers => write!(f, "{}-{}", self.first, self.first + self.count - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pools() {
        let pool = Pool::addresses("127.96.0.0/16").unwrap();
        assert_eq!(pool.to_string(), "127.96.0.0/16");
        assert_eq!((pool.count(), pool.kept_for_people()), (65_534, 256));
        assert_eq!(pool.value(0), "127.96.0.1");
        assert_eq!(pool.value(pool.count() - 1), "127.96.255.254");
        for (value, inside) in [
            (json!("127.96.0.1"), true),
            (json!("127.96.0.0"), false),
            (json!("127.96.255.255"), false),
            (json!("10.0.0.1"), false),
            (json!("None"), false),
            (json!(5), false),
        ] {
            assert_eq!(pool.contains(&value), inside, "{value}");
        }
        let ports = Pool::numbers(30_000, 32_767);
        assert_eq!(ports.to_string(), "30000-32767");
        assert!(ports.contains(&json!(32_767)) && !ports.contains(&json!(32_768)));
        for cidr in ["", "10.0.0.0", "10.0.0.0/31", "10.0.0.0/7", "::/64"] {
            assert!(Pool::addresses(cidr).is_err(), "{cidr}");
        }
    }

    #[test]
    fn a_field_is_a_pointer() {
        let claim = Claim::new(NODE_PORTS, "spec.ports[10].nodePort", json!(30_080));
        assert_eq!((claim.pointer().as_str(), claim.text().as_str()), ("/spec/ports/10/nodePort", "30080"));
    }
}
