//! What names, keys and numbers of the API must look like, and what is said of those that do not.
//!
//! A rule takes a text and returns what is wrong with it: nothing, one thing or several. The wording is what clients of the
//! API know.

use super::field::Field;
use crate::error::FieldError;
use crate::registry::NameRule;
use crate::selector;

const LABEL_BYTES: usize = 63;
const SUBDOMAIN_BYTES: usize = 253;
const PORT_NAME_BYTES: usize = 15;

/// A DNS label: container names, volume names.
pub(crate) fn dns_label(text: &str) -> Vec<String> {
    by(NameRule::Label, text)
}

/// A DNS subdomain: most names.
pub(crate) fn dns_subdomain(text: &str) -> Vec<String> {
    by(NameRule::Subdomain, text)
}

fn by(rule: NameRule, text: &str) -> Vec<String> {
    rule.problem(text).map(str::to_owned).into_iter().collect()
}

/// A DNS label that begins with a letter: names of Services.
pub(crate) fn letter_label(text: &str) -> Vec<String> {
    by(NameRule::LetterLabel, text)
}

/// All names below a DNS subdomain: `*.example.com`.
pub(crate) fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut problems = at_most(text, SUBDOMAIN_BYTES);
    if !text.strip_prefix("*.").is_some_and(|name| dns_subdomain(name).is_empty()) {
        problems.push(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower \
             case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used \
             for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    problems
}

/// What can be a segment of a path: kinds, and names of anything.
pub(crate) fn path_segment(text: &str) -> Vec<String> {
    by(NameRule::PathSegment, text)
}

/// A name with an optional DNS subdomain and `/` before it: label keys, resource names, finalizers, condition types.
pub(crate) fn qualified_name(text: &str) -> Vec<String> {
    const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                        character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut problems = Vec::new();
    let (prefix, name) = match text.split_once('/') {
        None => (None, text),
        Some((prefix, name)) if !name.contains('/') => (Some(prefix), name),
        Some(_) => {
            let example = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {NAME} {example}")];
        }
    };
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            problems.extend(dns_subdomain(prefix).into_iter().map(|problem| format!("prefix part {problem}")))
        }
        None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_BYTES {
        problems.push(format!("name part must be no more than {LABEL_BYTES} bytes"));
    }
    if !edges(name, |c| c.is_ascii_alphanumeric(), word) {
        problems.push(format!("name part {NAME}"));
    }
    problems
}

/// The value of a label; may be empty.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let mut problems = at_most(text, LABEL_BYTES);
    if problems.is_empty() && !selector::is_label_value(text) {
        problems.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and \
             end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    problems
}

/// A key of a ConfigMap or Secret: usable as a file name.
pub(crate) fn config_key(text: &str) -> Vec<String> {
    let mut problems = at_most(text, SUBDOMAIN_BYTES);
    if text.is_empty() || !text.bytes().all(word) {
        problems.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
             'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    match text {
        "." => problems.push("must not be '.'".to_owned()),
        ".." => problems.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => problems.push("must not start with '..'".to_owned()),
        _ => {}
    }
    problems
}

/// The name of an environment variable.
pub(crate) fn env_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// The name of a port (RFC 6335).
pub(crate) fn port_name(text: &str) -> Vec<String> {
    let mut problems = at_most(text, PORT_NAME_BYTES);
    if !text.bytes().all(|c| lower_alphanumeric(c) || c == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|c| c.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

/// The name of an HTTP header.
pub(crate) fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Vec::new();
    }
    vec![
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is \
         '[-A-Za-z0-9]+')"
            .to_owned(),
    ]
}

/// A domain, a slash and a path: controllers of IngressClasses and of Jobs.
pub(crate) fn domain_prefixed_path(field: &Field<'_, '_>) {
    if !field.required() {
        return;
    }
    let (host, path) = match field.text().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => (host, path),
        _ => {
            field.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")");
            return;
        }
    };
    for problem in dns_subdomain(host) {
        field.report(FieldError::invalid(field.path(), host, problem));
    }
    if !path.bytes().all(|c| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c)) {
        let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        field.report(FieldError::invalid(field.path(), path, detail));
    }
}

/// An address, of either family.
pub(crate) fn ip(text: &str) -> Vec<String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

/// Whether `text` is digits and a percent sign.
pub(crate) fn is_percent(text: &str) -> bool {
    text.strip_suffix('%').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()))
}

fn at_most(text: &str, bytes: usize) -> Vec<String> {
    if text.len() > bytes { vec![format!("must be no more than {bytes} bytes")] } else { Vec::new() }
}

fn lower_alphanumeric(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')
}

/// Not empty, of `inner` characters, with `edge` characters at both ends.
fn edges(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    edge(*first) && edge(*last) && bytes.iter().all(|c| inner(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_and_refused() {
        type Rule = fn(&str) -> Vec<String>;
        let long = "a".repeat(64);
        let rows: &[(Rule, &[&str], &[&str])] = &[
            (dns_label, &["a", "a-b", "0a"], &["", "A", "-a", "a-", "a.b", "a_b", &long]),
            (dns_subdomain, &["a.b", "a-b.c", &long], &["", ".a", "a..b", "A.b", "a_b"]),
            (wildcard_subdomain, &["*.a", "*.a.b"], &["", "*", "a.*", "*.*.a", "*.A"]),
            (letter_label, &["a", "a-0"], &["", "0a", "a.b"]),
            (path_segment, &["a", "A b:c"], &["..", "a/b", "a%"]),
            (qualified_name, &["a", "A.b_c-d", "example.com/a"], &["", "/a", "a/", "a/b/c", "a b", "E.com/a", &long]),
            (label_value, &["", "a", "A_b.c-d"], &["-", "a-", "a b", &long]),
            (config_key, &["a", ".profile", "KEY_name.x-y"], &["", ".", "..", "..a", "a/b", "a b"]),
            (env_name, &["A", "a.b-c", "1 2"], &["", "a=b", "ä"]),
            (port_name, &["http", "a-1", "1a"], &["", "HTTP", "1", "-a", "a--b", "abcdefghijklmnop"]),
            (http_header, &["X-A", "a1"], &["", "a b", "a:"]),
            (ip, &["10.0.0.1", "::1"], &["", "10.0.0", "a"]),
        ];
        for (rule, good, bad) in rows {
            for text in *good {
                assert_eq!(rule(text), Vec::<String>::new(), "{text:?}");
            }
            for text in *bad {
                assert!(!rule(text).is_empty(), "{text:?}");
            }
        }
    }
}
