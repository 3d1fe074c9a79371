//! Node selectors: what `nodeSelector` and node affinity demand of a node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operator {
    /// The label's value is one of the values.
    In,
    /// The label is absent, or its value is none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is an integer greater than the one value.
    Gt,
    /// The label is an integer less than the one value.
    Lt,
    /// An operator this version does not know: nothing matches.
    Unknown,
}

/// One requirement on a label, or on a field, of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Requirement {
    /// The label's key, or the field's path.
    pub key: String,
    /// How to compare.
    pub operator: Operator,
    /// What to compare with.
    pub values: Vec<String>,
}

impl Requirement {
    fn read(from: &NodeSelectorRequirement) -> Requirement {
        Requirement {
            key: from.key.clone(),
            operator: match from.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                "Gt" => Operator::Gt,
                "Lt" => Operator::Lt,
                _ => Operator::Unknown,
            },
            values: from.values.clone().unwrap_or_default(),
        }
    }

    /// Whether a label of that value, or its absence, meets the requirement.
    pub fn is_met_by(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.iter().any(|v| v == value)),
            Operator::NotIn => value.is_none_or(|value| self.values.iter().all(|v| v != value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => self.compares(value, |label, bound| label > bound),
            Operator::Lt => self.compares(value, |label, bound| label < bound),
            Operator::Unknown => false,
        }
    }

    fn compares(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let [bound] = self.values.as_slice() else {
            return false;
        };
        match (value.map(str::parse), bound.parse()) {
            (Some(Ok(label)), Ok(bound)) => holds(label, bound),
            _ => false,
        }
    }
}

/// One term: all of its requirements at once. A term that requires nothing matches no node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Term {
    /// Requirements on labels.
    pub labels: Vec<Requirement>,
    /// Requirements on fields; `metadata.name` is the only field there is.
    pub fields: Vec<Requirement>,
}

impl Term {
    pub(crate) fn read(from: &NodeSelectorTerm) -> Term {
        let all = |list: &Option<Vec<NodeSelectorRequirement>>| list.iter().flatten().map(Requirement::read).collect();
        Term { labels: all(&from.match_expressions), fields: all(&from.match_fields) }
    }

    /// Whether the term requires nothing, and so matches nothing.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether a node of that name, with those labels, meets the term.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let field = |key: &str| (key == "metadata.name").then_some(name);
        !self.is_empty()
            && self.labels.iter().all(|r| r.is_met_by(labels.get(&r.key).map(String::as_str)))
            && self.fields.iter().all(|r| r.is_met_by(field(&r.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_compare_as_upstream_does() {
        let requirement = |operator, values: &[&str]| Requirement {
            key: "k".into(),
            operator,
            values: values.iter().map(|v| v.to_string()).collect(),
        };
        for (operator, values, value, met) in [
            (Operator::In, &["a", "b"][..], Some("b"), true),
            (Operator::In, &["a", "b"], Some("c"), false),
            (Operator::In, &["a"], None, false),
            (Operator::NotIn, &["a"], Some("b"), true),
            (Operator::NotIn, &["a"], Some("a"), false),
            (Operator::NotIn, &["a"], None, true),
            (Operator::Exists, &[], Some(""), true),
            (Operator::Exists, &[], None, false),
            (Operator::DoesNotExist, &[], None, true),
            (Operator::DoesNotExist, &[], Some("a"), false),
            (Operator::Gt, &["10"], Some("11"), true),
            (Operator::Gt, &["10"], Some("10"), false),
            (Operator::Lt, &["10"], Some("9"), true),
            (Operator::Lt, &["10"], Some("nine"), false),
            (Operator::Lt, &["ten"], Some("9"), false),
            (Operator::Lt, &["10", "11"], Some("9"), false),
            (Operator::Gt, &["10"], None, false),
            (Operator::Unknown, &["a"], Some("a"), false),
        ] {
            let requirement = requirement(operator, values);
            assert_eq!(requirement.is_met_by(value), met, "{requirement:?} {value:?}");
        }
    }
}
