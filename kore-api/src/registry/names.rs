//! What names objects of a resource may have.

use crate::selector::{is_dns_label, is_dns_subdomain};

/// What names objects of a resource may have. The messages are those that upstream gives for each rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameRule {
    /// Lower-case letters, digits, `-` and `.`, at most 253 bytes (RFC 1123 subdomain). What most resources use.
    #[default]
    Subdomain,
    /// Lower-case letters, digits and `-`, at most 63 bytes (RFC 1123 label): namespaces.
    Label,
    /// As a label, beginning with a letter (RFC 1035): services.
    LetterLabel,
    /// Whatever can be a segment of a path: roles and their bindings.
    PathSegment,
}

impl NameRule {
    /// What is wrong with `name`; `None`: nothing.
    pub fn problem(self, name: &str) -> Option<&'static str> {
        let (fits, problem) = match self {
            Self::Subdomain if name.len() > 253 => (false, "must be no more than 253 bytes"),
            Self::Label | Self::LetterLabel if name.len() > 63 => (false, "must be no more than 63 bytes"),
            Self::Subdomain => (
                is_dns_subdomain(name),
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                 must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
            Self::Label => (
                is_dns_label(name),
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ),
            Self::LetterLabel => (
                is_dns_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase()),
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
                 character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
                 validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ),
            Self::PathSegment if matches!(name, "." | "..") => (false, "may not be '.' or '..'"),
            Self::PathSegment => (!name.contains(['/', '%']), "may not contain '/' or '%'"),
        };
        (!fits).then_some(problem)
    }

    /// What is wrong with `prefix` as the beginning of a generated name.
    pub fn prefix_problem(self, prefix: &str) -> Option<&'static str> {
        // The generated part ends the name in a letter or digit: a separator before it is fine.
        match prefix.strip_suffix('-') {
            Some(stem) => self.problem(&format!("{stem}a")),
            None => self.problem(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for (rule, good, bad) in [
            (NameRule::Subdomain, vec!["a", "a.b-c", "0", &long], vec!["", "A", "a_b", "-a", "a..b"]),
            (NameRule::Label, vec!["a", "0a"], vec!["a.b", "Foo", "a-", &long]),
            (NameRule::LetterLabel, vec!["a-0"], vec!["0a", "a.b"]),
            (NameRule::PathSegment, vec!["system:node", "A b"], vec!["..", "a/b", "50%"]),
        ] {
            for name in good {
                assert_eq!(rule.problem(name), None, "{name}");
            }
            for name in bad {
                assert!(rule.problem(name).is_some(), "{name}");
            }
        }
        assert_eq!(NameRule::Subdomain.prefix_problem("web-"), None);
        assert!(NameRule::Subdomain.prefix_problem("Web-").is_some());
    }
}
