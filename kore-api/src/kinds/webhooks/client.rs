//! How a webhook is reached: by a URL, or through a Service.

use http::Uri;

use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::shape::Literal::Number;
use crate::kinds::shape::{PLAIN, Shape};

pub(crate) static CONFIG: Shape = Shape { parts: &[("service", &SERVICE)], ..PLAIN };
pub(crate) static SERVICE: Shape = Shape { set: &[("port", Number(443))], ..PLAIN };

const FORM: &str = "; desired format: https://host[/path]";

/// A `clientConfig`.
pub(crate) fn config(config: &Field<'_, '_>) {
    let (url, service) = (config.get("url"), config.get("service"));
    match (url.is_set(), service.is_set()) {
        (true, false) => address(&url),
        (false, true) => a_service(&service),
        _ => config.missing("exactly one of url or service is required"),
    }
}

fn address(url: &Field<'_, '_>) {
    let text = url.text();
    let wrong = |value: &str, detail: String| url.report(FieldError::invalid(url.path(), value, detail));
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let Ok(uri) = rest.parse::<Uri>() else {
        url.missing(format!("url must be a valid URL: parse {text:?}: invalid URI for request{FORM}"));
        return;
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    if scheme != "https" {
        wrong(scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if uri.host().unwrap_or_default().is_empty() {
        wrong("", format!("host must be specified{FORM}"));
    }
    if let Some((user, _)) = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')) {
        wrong(user, "user information is not permitted in the URL".to_owned());
    }
    if !fragment.is_empty() {
        wrong(fragment, "fragments are not permitted in the URL".to_owned());
    }
    if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
        wrong(query, "query parameters are not permitted in the URL".to_owned());
    }
}

fn a_service(service: &Field<'_, '_>) {
    for (field, missing) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if service.get(field).text().is_empty() {
            service.get(field).missing(missing);
        }
    }
    let port = service.get("port");
    if port.int().is_some_and(|port| !(1..=65_535).contains(&port)) {
        port.invalid("port is not valid: must be between 1 and 65535, inclusive");
    }
    let path = service.get("path");
    let text = path.text();
    match text {
        "" | "/" => return,
        "//" => {
            path.invalid("segment[0] may not be empty");
            return;
        }
        _ if !text.starts_with('/') => path.invalid("must start with a '/'"),
        _ => {}
    }
    let steps = text.get(1..).unwrap_or_default();
    for (index, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            path.invalid(format!("segment[{index}] may not be empty"));
            continue;
        }
        for problem in names::dns_subdomain(step) {
            path.invalid(format!("segment[{index}]: {problem}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::{Value, json};

    #[test]
    fn what_a_client_configuration_may_not_say() {
        let service = |changes: Value| json!({"service": crate::kinds::testing::with(&json!({"name": "a", "namespace": "b"}), &changes)});
        for (value, expected) in [
            (json!({"url": "https://example.com/check"}), vec![]),
            (service(json!({"path": "/a/b/", "port": 443})), vec![]),
            (json!({}), vec!["c: Required value: exactly one of url or service is required"]),
            (
                json!({"url": "http://user@example.com?a=b"}),
                vec![
                    "c.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                    "c.url: Invalid value: \"user\": user information is not permitted in the URL",
                    "c.url: Invalid value: \"a=b\": query parameters are not permitted in the URL",
                ],
            ),
            (
                service(json!({"name": null, "port": 0})),
                vec![
                    "c.service.name: Required value: service name is required",
                    "c.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                service(json!({"path": "/a//b"})),
                vec!["c.service.path: Invalid value: \"/a//b\": segment[1] may not be empty"],
            ),
        ] {
            let object = json!({"c": value});
            let found = check(&object, &Value::Null, |root, _| config(&root.get("c")));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{object}");
        }
    }
}
