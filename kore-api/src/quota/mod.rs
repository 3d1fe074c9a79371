//! Quotas: how much a namespace uses of what a ResourceQuota limits.
//!
//! - `mod.rs`: [`Quota`], one as it is read; [`Amounts`].
//! - `usage.rs`: what one object uses.
//! - `pod.rs`: what a pod uses, and which scopes it is in.
//!
//! Everything here is pure. The server (`server/quota.rs`) charges each write in the write's own transaction.

mod pod;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::quantity::{canonical, nano_value};

pub(crate) use pod::{resources as pod_resources, unstated};
pub(crate) use usage::usage;

const NANO: i128 = 1_000_000_000;

/// Amounts in billionths, by the name that quotas call them.
pub(crate) type Amounts = BTreeMap<String, i128>;

/// An object that is counted: of which resource, and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'a> {
    pub(crate) group: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) object: &'a Value,
}

impl Counted<'_> {
    fn is(self, plural: &str) -> bool {
        self.group.is_empty() && self.plural == plural
    }
}

/// A ResourceQuota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota<'a>(pub(crate) &'a Value);

/// A write that is too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// More than there may be: what was asked for, what is used, what there may be.
    Limits(String, String, String),
    /// It is not known how much of these is used.
    Unknown(String),
}

impl<'a> Quota<'a> {
    pub(crate) fn name(self) -> &'a str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn hard(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.0["spec"]["hard"].as_object().into_iter().flatten()
    }

    /// Whether it limits this at all.
    pub(crate) fn limits(self, name: &str) -> bool {
        self.0["spec"]["hard"].get(name).is_some()
    }

    /// The names of what it limits.
    pub(crate) fn limited(self) -> impl Iterator<Item = &'a str> {
        self.hard().map(|(name, _)| name.as_str())
    }

    /// Whether it counts this object: all its scopes have to fit.
    pub(crate) fn counts(self, counted: Counted<'_>) -> bool {
        let spec = &self.0["spec"];
        let mut scopes = spec["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut by_selector = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        scopes.all(|scope| pod::is_in(counted, scope, &Value::Null))
            && by_selector.all(|one| pod::is_in(counted, one["scopeName"].as_str().unwrap_or_default(), one))
    }

    /// The status when `change` is added to what is used. Of what grows, no more may be used than there may be.
    ///
    /// # Errors
    /// What would be too much.
    pub(crate) fn charged(self, change: &Amounts) -> Result<Value, Exceeded> {
        let mut status = self.0["status"].clone();
        let mut unknown: Vec<&str> = Vec::new();
        let (mut asked, mut used_of, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (name, hard) in self.hard() {
            let Some(change) = change.get(name).filter(|change| **change != 0) else {
                continue;
            };
            let Some(used) = amount(&self.0["status"]["used"][name]) else {
                if *change > 0 {
                    unknown.push(name);
                }
                continue;
            };
            let (max, sum) = (amount(hard).unwrap_or_default(), (used + change).max(0));
            if *change > 0 && sum > max {
                asked.push(format!("{name}={}", text(*change, hard)));
                used_of.push(format!("{name}={}", text(used, hard)));
                limited.push(format!("{name}={}", text(max, hard)));
            }
            status["used"][name] = text(sum, hard).into();
        }
        if !unknown.is_empty() {
            return Err(Exceeded::Unknown(unknown.join(",")));
        }
        match limited.is_empty() {
            true => Ok(status),
            false => Err(Exceeded::Limits(asked.join(","), used_of.join(","), limited.join(","))),
        }
    }

    /// The status when all these objects use what they use.
    pub(crate) fn counted<'o>(self, objects: impl Iterator<Item = Counted<'o>>) -> Value {
        let mut sum = Amounts::new();
        for counted in objects.filter(|counted| self.counts(*counted)) {
            for (name, amount) in usage(counted) {
                *sum.entry(name).or_default() += amount;
            }
        }
        let used = self
            .hard()
            .map(|(name, hard)| (name.clone(), text(sum.get(name).copied().unwrap_or_default(), hard).into()));
        let used: Map<String, Value> = used.collect();
        let mut status = self.0["status"].as_object().cloned().unwrap_or_default();
        status.insert("hard".to_owned(), self.0["spec"].get("hard").cloned().unwrap_or_else(|| Map::new().into()));
        status.insert("used".to_owned(), used.into());
        status.into()
    }
}

/// What is used more, or less, after a change.
pub(crate) fn difference(before: &Amounts, after: &Amounts) -> Amounts {
    let mut change = after.clone();
    for (name, amount) in before {
        *change.entry(name.clone()).or_default() -= amount;
    }
    change.retain(|_, amount| *amount != 0);
    change
}

/// A quantity in billionths.
pub(crate) fn amount(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => nano_value(text).ok(),
        Value::Number(number) => nano_value(&number.to_string()).ok(),
        _ => None,
    }
}

/// An amount as a quantity: in powers of two where the limit is.
pub(crate) fn text(nanos: i128, like: &Value) -> String {
    let is_binary = like.as_str().is_some_and(|like| like.ends_with('i'));
    let written = match (nanos % NANO, is_binary) {
        (0, true) if nanos / NANO % 1024 == 0 => format!("{}Ki", nanos / NANO / 1024),
        (0, _) => (nanos / NANO).to_string(),
        _ => format!("{nanos}n"),
    };
    canonical(&written).unwrap_or(written)
}
