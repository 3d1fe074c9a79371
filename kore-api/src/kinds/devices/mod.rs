//! Devices that pods ask for: DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice.
//!
//! - `mod.rs`: DeviceClass and ResourceClaimTemplate, and what several of them say.
//! - `claim.rs`: ResourceClaim, and what a claim asks for.
//! - `allocation.rs`: what a claim has been given.
//! - `slice.rs`, `device.rs`: ResourceSlice: the devices there are.
//!
//! Expressions that select devices are not compiled.

mod allocation;
mod claim;
mod device;
mod slice;

pub(super) use claim::RESOURCE_CLAIM;
pub(super) use slice::RESOURCE_SLICE;

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaimTemplate};

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules};
use super::field::Field;
use super::shape::{PLAIN, Shape};
use super::{meta, names};
use crate::error::FieldError;
use crate::object::ResourceType;

const MAX_SELECTORS: usize = 32;
const MAX_CONFIGURATIONS: usize = 32;
const MAX_EXPRESSION_BYTES: usize = 10 * 1024;
const MAX_PARAMETER_BYTES: usize = 10 * 1024;
const MAX_DRIVER_BYTES: usize = 63;
const MAX_POOL_BYTES: usize = 253;
const MAX_IDENTIFIER_BYTES: usize = 32;

pub(super) static DEVICE_CLASS: Entry = Entry {
    has_generation: true,
    has_status: false,
    columns: &[NAME, AGE],
    rules: Rules { always: class, ..ANYTHING },
    ..Entry::of(ResourceType::of::<DeviceClass>)
};

fn class(class: &Field<'_, '_>) {
    let spec = class.get("spec");
    selectors(&spec.get("selectors"));
    let configurations = spec.get("config");
    if configurations.at_most(MAX_CONFIGURATIONS) {
        configurations.items().for_each(|one| configuration(&one));
    }
    let name = spec.get("extendedResourceName");
    let is_extended = |name: &str| {
        name.contains('/')
            && !name.contains("kubernetes.io/")
            && !name.starts_with("requests.")
            && names::qualified_name(&format!("requests.{name}")).is_empty()
    };
    if name.is_set() && !is_extended(name.text()) {
        name.invalid("must be a valid extended resource name");
    }
}

pub(super) static RESOURCE_CLAIM_TEMPLATE: Entry = Entry {
    has_status: false,
    columns: &[NAME, AGE],
    defaults: &TEMPLATE,
    rules: Rules {
        always: |template| {
            let spec = template.get("spec");
            let metadata = spec.get("metadata");
            meta::labels(&metadata.get("labels"));
            meta::annotations(&metadata.get("annotations"));
            claim::spec(&spec.get("spec"));
        },
        change: |new, old| {
            new.get("spec").immutable(&old.get("spec"));
        },
        ..ANYTHING
    },
    ..Entry::of(ResourceType::of::<ResourceClaimTemplate>)
};

static TEMPLATE: Shape = Shape { parts: &[("spec", &claim::DEFAULTS)], ..PLAIN };

/// Expressions by which devices are chosen.
fn selectors(selectors: &Field<'_, '_>) {
    if !selectors.at_most(MAX_SELECTORS) {
        return;
    }
    for selector in selectors.items() {
        let cel = selector.get("cel");
        if !cel.is_set() {
            cel.missing("");
            continue;
        }
        let expression = cel.get("expression");
        if expression.required() && expression.len() > MAX_EXPRESSION_BYTES {
            expression.report(FieldError::too_long(expression.path(), MAX_EXPRESSION_BYTES));
        }
    }
}

/// What a driver is told of a device.
fn configuration(configuration: &Field<'_, '_>) {
    let opaque = configuration.get("opaque");
    if !opaque.is_set() {
        opaque.missing("");
        return;
    }
    driver(&opaque.get("driver"));
    let parameters = opaque.get("parameters");
    if !parameters.is_set() {
        parameters.missing("");
    } else if !parameters.value().is_object() {
        let detail = "must be a valid JSON object";
        parameters.report(FieldError::invalid(parameters.path(), "<value omitted>", detail));
    } else if parameters.value().to_string().len() > MAX_PARAMETER_BYTES {
        parameters.report(FieldError::too_long(parameters.path(), MAX_PARAMETER_BYTES));
    }
}

/// A field that names a driver.
fn driver(name: &Field<'_, '_>) {
    if !name.required() {
        return;
    }
    if name.len() > MAX_DRIVER_BYTES {
        name.report(FieldError::too_long(name.path(), MAX_DRIVER_BYTES));
    }
    name.named(names::dns_subdomain);
}

/// A field that names a pool of devices: subdomains with slashes between.
fn pool(name: &Field<'_, '_>) {
    if !name.required() {
        return;
    }
    if name.len() > MAX_POOL_BYTES {
        name.report(FieldError::too_long(name.path(), MAX_POOL_BYTES));
    }
    for part in name.text().split('/') {
        for problem in names::dns_subdomain(part) {
            name.report(FieldError::invalid(name.path(), part, problem));
        }
    }
}

/// A field that names one thing among others: a device, a request.
fn label(name: &Field<'_, '_>) {
    name.named_as(name.text(), names::dns_label);
}

/// The name `text` of an attribute or a capacity: an identifier, with a domain before it or without.
fn attribute_name(field: &Field<'_, '_>, text: &str, full: bool) {
    let wrong = |text: &str, detail: &str| field.report(FieldError::invalid(field.path(), text, detail));
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    match domain {
        Some("") => wrong("", "the domain must not be empty"),
        Some(domain) => {
            for problem in names::dns_subdomain(domain) {
                wrong(domain, &problem);
            }
        }
        None if full => wrong(text, "a fully qualified name must be a domain and a name separated by a slash"),
        None => {}
    }
    if name.is_empty() && domain.is_some() {
        wrong("", "the name must not be empty");
        return;
    }
    if name.len() > MAX_IDENTIFIER_BYTES {
        field.report(FieldError::too_long(field.path(), MAX_IDENTIFIER_BYTES));
    }
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(is_start) || !name.chars().all(|c| is_start(c) || c.is_ascii_digit()) {
        wrong(
            name,
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters \
             or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
        );
    }
}

/// No two items may have the same key; each that has is reported as a whole.
fn unique<'v>(list: &Field<'v, '_>, key: impl Fn(&Field<'v, '_>) -> String) {
    let mut seen = BTreeSet::new();
    for item in list.items() {
        let key = key(&item);
        if !seen.insert(key.clone()) {
            item.report(FieldError::duplicate(item.path(), key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change};
    use serde_json::json;

    #[test]
    fn classes() {
        for (spec, expected) in [
            (
                json!({"selectors": [{"cel": {"expression": "true"}}], "extendedResourceName": "example.com/gpu"}),
                vec![],
            ),
            (
                json!({"selectors": [{}], "config": [{}], "extendedResourceName": "gpu"}),
                vec![
                    "spec.selectors[0].cel: Required value",
                    "spec.config[0].opaque: Required value",
                    "spec.extendedResourceName: Invalid value: \"gpu\": must be a valid extended resource name",
                ],
            ),
            (
                json!({"config": [{"opaque": {"driver": "D", "parameters": 5}}]}),
                vec![
                    "spec.config[0].opaque.driver: Invalid value: \"D\": ",
                    "spec.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
                ],
            ),
        ] {
            let found = errors(&DEVICE_CLASS, &json!({"spec": spec}));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)), "{found:?}");
        }
    }

    #[test]
    fn templates() {
        let template = |class: &str| {
            let mut template = json!({"spec": {"spec": {"devices": {"requests": [
                {"name": "gpu", "exactly": {"deviceClassName": class}}]}}}});
            TEMPLATE.fill(&mut template);
            template
        };
        let old = template("gpu.example.com");
        assert_eq!(old["spec"]["spec"]["devices"]["requests"][0]["exactly"]["allocationMode"], "ExactCount");
        assert_eq!(errors(&RESOURCE_CLAIM_TEMPLATE, &old), [""; 0]);
        let found = errors_of_change(&RESOURCE_CLAIM_TEMPLATE, &template("other"), &old);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("field is immutable"), "{found:?}");
    }
}
