//! Label and field selectors.
//!
//! Syntax and meaning are those of the Kubernetes API: requirements joined by commas, all of which must hold.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::object::Object;

/// What the labels of an object must be. The default matches everything.
///
/// ```
/// use kore_api::selector::LabelSelector;
///
/// let selector: LabelSelector = "app=web,tier in (front,edge),!canary".parse()?;
/// assert!(selector.matches(|key| match key {
///     "app" => Some("web"),
///     "tier" => Some("edge"),
///     _ => None,
/// }));
/// # Ok::<(), kore_api::selector::InvalidSelector>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted.
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// A selector that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {problem} in {selector:?}")]
#[non_exhaustive]
pub struct InvalidSelector {
    /// The selector.
    pub selector: String,
    /// What is wrong with it.
    pub problem: String,
}

impl LabelSelector {
    /// A selector that only matches objects with all these labels.
    pub fn from_labels<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let equal =
            |(key, value): (K, V)| Requirement { key: key.into(), operator: Operator::In, values: vec![value.into()] };
        Self { requirements: labels.into_iter().map(equal).collect() }
    }

    /// The selector that a `LabelSelector` of the API describes; an empty one matches everything.
    ///
    /// # Errors
    /// When an expression has an unknown operator, or values where it takes none or none where it needs some.
    pub fn from_api(selector: &meta::LabelSelector) -> Result<Self, InvalidSelector> {
        let labels = selector.match_labels.iter().flatten();
        let mut requirements = Self::from_labels(labels.map(|(key, value)| (key.clone(), value.clone()))).requirements;
        for expression in selector.match_expressions.iter().flatten() {
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort();
            let operator = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In,
                ("NotIn", false) => Operator::NotIn,
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                (operator, empty) => {
                    let has = if empty { "no values" } else { "values" };
                    let problem = format!("operator {operator:?} with {has}");
                    return Err(InvalidSelector { selector: expression.key.clone(), problem });
                }
            };
            requirements.push(Requirement { key: expression.key.clone(), operator, values });
        }
        Ok(Self { requirements })
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels that are looked up with `label` match.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// Whether the object's labels match.
    pub fn matches_object(&self, object: &Object) -> bool {
        self.matches(|key| object.label(key))
    }

    /// Whether these labels match.
    pub fn matches_labels(&self, labels: Option<&std::collections::BTreeMap<String, String>>) -> bool {
        self.matches(|key| labels.and_then(|labels| labels.get(key)).map(String::as_str))
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.binary_search_by(|other| other.as_str().cmp(value)).is_ok();
        let compared = |value: &str| Some(value.parse::<i64>().ok()?.cmp(&self.values.first()?.parse().ok()?));
        match (self.operator, value) {
            (Operator::In, Some(value)) => listed(value),
            (Operator::NotIn, Some(value)) => !listed(value),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::NotIn, None) => true,
            (Operator::GreaterThan, Some(value)) => compared(value).is_some_and(std::cmp::Ordering::is_gt),
            (Operator::LessThan, Some(value)) => compared(value).is_some_and(std::cmp::Ordering::is_lt),
            (Operator::In | Operator::GreaterThan | Operator::LessThan, None) => false,
        }
    }
}

impl std::str::FromStr for LabelSelector {
    type Err = InvalidSelector;

    fn from_str(selector: &str) -> Result<Self, InvalidSelector> {
        let invalid = |problem: String| InvalidSelector { selector: selector.to_owned(), problem };
        let parts = split_outside_parentheses(selector);
        let requirements = parts
            .filter(|part| !part.trim().is_empty())
            .map(|part| parse_requirement(part.trim()).map_err(invalid))
            .collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }
}

/// The parts between commas that are not in parentheses.
fn split_outside_parentheses(selector: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    selector.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn parse_requirement(text: &str) -> Result<Requirement, String> {
    let made = |key: &str, operator, mut values: Vec<String>| {
        let key = key.trim();
        if !is_qualified_name(key) {
            return Err(format!("{key:?} is not a label key"));
        }
        if let Some(value) = values.iter().find(|value| !is_label_value(value)) {
            return Err(format!("{value:?} is not a label value"));
        }
        values.sort();
        Ok(Requirement { key: key.to_owned(), operator, values })
    };
    if let Some(key) = text.strip_prefix('!') {
        return made(key, Operator::DoesNotExist, Vec::new());
    }
    for (sign, operator) in [("!=", Operator::NotIn), ("==", Operator::In), ("=", Operator::In)] {
        if let Some((key, value)) = text.split_once(sign) {
            return made(key, operator, vec![value.trim().to_owned()]);
        }
    }
    for (sign, operator) in [('>', Operator::GreaterThan), ('<', Operator::LessThan)] {
        if let Some((key, value)) = text.split_once(sign) {
            let value = value.trim();
            value.parse::<i64>().map_err(|_| format!("{value:?} is not an integer"))?;
            return made(key, operator, vec![value.to_owned()]);
        }
    }
    let Some((key, _)) = text.split_once(|c: char| c.is_whitespace() || c == '(') else {
        return made(text, Operator::Exists, Vec::new());
    };
    let rest = text[key.len()..].trim_start();
    let (operator, list) = match rest.strip_prefix("notin") {
        Some(list) => (Operator::NotIn, list),
        None => (Operator::In, rest.strip_prefix("in").ok_or_else(|| format!("no operator in {text:?}"))?),
    };
    let list = list.trim().strip_prefix('(').and_then(|list| list.strip_suffix(')'));
    let list = list.ok_or_else(|| format!("no parentheses around the values in {text:?}"))?;
    made(key, operator, list.split(',').map(|value| value.trim().to_owned()).collect())
}

/// Whether `key` is a label key: an optional DNS prefix and a slash, then at most 63 letters, digits, `-`, `_` and `.`.
pub fn is_qualified_name(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some(_) => return false,
        None => key,
    };
    !name.is_empty() && is_label_value(name)
}

/// Whether `value` is a label value: empty, or at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a
/// letter or digit.
pub fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ends_alphanumeric = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && ends_alphanumeric(bytes.first())
        && ends_alphanumeric(bytes.last())
}

/// Whether `name` is a DNS subdomain (RFC 1123): at most 253 bytes of labels joined by dots.
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| is_dns_label_of(label, 253))
}

/// Whether `name` is a DNS label (RFC 1123): at most 63 lower-case letters, digits and `-`, none of these at the ends.
pub fn is_dns_label(name: &str) -> bool {
    is_dns_label_of(name, 63)
}

fn is_dns_label_of(label: &str, longest: usize) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= longest
        && bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
        && alphanumeric(bytes[0])
        && alphanumeric(bytes[bytes.len() - 1])
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let values = values.join(",");
            match operator {
                Operator::In if !values.contains(',') => write!(f, "{key}={values}"),
                Operator::NotIn if !values.contains(',') => write!(f, "{key}!={values}"),
                Operator::In => write!(f, "{key} in ({values})"),
                Operator::NotIn => write!(f, "{key} notin ({values})"),
                Operator::Exists => f.write_str(key),
                Operator::DoesNotExist => write!(f, "!{key}"),
                Operator::GreaterThan => write!(f, "{key}>{values}"),
                Operator::LessThan => write!(f, "{key}<{values}"),
            }?;
        }
        Ok(())
    }
}

/// What fields of an object must be. The default matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// Dotted path, whether it must be equal, and the value.
    requirements: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The paths it names.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|(field, ..)| field.as_str())
    }

    /// The value that `field` must have, if it must have one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|(path, equal, _)| *equal && path == field).map(|(.., value)| value.as_str())
    }

    /// Whether fields that are looked up with `field` match; a field that is not there is empty.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|(path, equal, value)| (field(path).unwrap_or_default() == value) == *equal)
    }
}

impl std::str::FromStr for FieldSelector {
    type Err = InvalidSelector;

    fn from_str(selector: &str) -> Result<Self, InvalidSelector> {
        let mut requirements = Vec::new();
        for part in split_unescaped(selector).into_iter().filter(|part| !part.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, true, value)
            } else {
                let problem = format!("no operator in {part:?}");
                return Err(InvalidSelector { selector: selector.to_owned(), problem });
            };
            requirements.push((path.trim().to_owned(), equal, unescape(value.trim())));
        }
        Ok(Self { requirements })
    }
}

/// The parts between commas that no backslash precedes.
fn split_unescaped(selector: &str) -> Vec<&str> {
    let mut escaped = false;
    let split = selector.split(|c| {
        let here = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        here
    });
    split.collect()
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors() {
        let labels = [("app", "web"), ("tier", "edge"), ("n", "5"), ("a.b/c", "")];
        let label = |key: &str| labels.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
        for (selector, matches) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (web, db)", true),
            ("app in (db),tier=edge", false),
            ("app notin (db,cache)", true),
            ("other notin (db)", true),
            ("app", true),
            ("!app", false),
            ("!other,app", true),
            ("other", false),
            ("n>4,n<6", true),
            ("n>5", false),
            ("a.b/c=", true),
            ("app in(web)", true),
        ] {
            let parsed: LabelSelector = selector.parse().unwrap();
            assert_eq!(parsed.matches(label), matches, "{selector}");
            let printed: LabelSelector = parsed.to_string().parse().unwrap();
            assert_eq!(printed, parsed, "{selector}");
        }
        for selector in ["app in web", "=web", "app in (web", "a b", "n>x", "-a=b", "a=b c", "A/B/c"] {
            assert!(selector.parse::<LabelSelector>().is_err(), "{selector}");
        }
    }

    #[test]
    fn field_selectors() {
        let field = |path: &str| match path {
            "spec.nodeName" => Some("n1"),
            "message" => Some("a,b"),
            _ => None,
        };
        for (selector, matches) in [
            ("", true),
            ("spec.nodeName=n1", true),
            ("spec.nodeName==n1,status.phase=", true),
            ("spec.nodeName!=n1", false),
            ("status.phase!=Running", true),
            (r"message=a\,b", true),
        ] {
            assert_eq!(selector.parse::<FieldSelector>().unwrap().matches(field), matches, "{selector}");
        }
        assert!("spec.nodeName".parse::<FieldSelector>().is_err());
    }
}
