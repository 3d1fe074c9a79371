//! IPAddress and ServiceCIDR.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use serde_json::Value;

use super::cidr::{Cidr, strict_range};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::row::{Row, list};
use crate::kinds::{meta, names};
use crate::object::ResourceType;
use crate::registry::NameRule;

pub(crate) static IP_ADDRESS: Entry = Entry {
    short_names: &["ip"],
    names: NameRule::PathSegment,
    has_status: false,
    columns: &[NAME, Title("ParentRef", "string", "The object whose address it is.", 0), AGE],
    rules: Rules {
        always: parent,
        create: is_named_as_an_address,
        change: |new, old| {
            let (spec, before) = (new.get("spec"), old.get("spec"));
            spec.get("parentRef").immutable(&before.get("parentRef"));
        },
        ..ANYTHING
    },
    cells: |row| vec![row.name(), shown_parent(row).into(), row.age()],
    ..Entry::of(ResourceType::of::<IPAddress>)
};

pub(crate) static SERVICE_CIDR: Entry = Entry {
    columns: &[NAME, Title("CIDRs", "string", "The ranges that addresses of Services come from.", 0), AGE],
    rules: Rules {
        always: ranges,
        change: |new, old| {
            let (spec, before) = (new.get("spec"), old.get("spec"));
            spec.get("cidrs").immutable(&before.get("cidrs"));
        },
        status: |cidr, _| meta::conditions(&cidr.get("status").get("conditions")),
        ..ANYTHING
    },
    cells: |row| {
        let ranges: Vec<&str> = row.items("/spec/cidrs").iter().filter_map(Value::as_str).collect();
        vec![row.name(), ranges.join(",").into(), row.age()]
    },
    ..Entry::of(ResourceType::of::<ServiceCIDR>)
};

fn is_named_as_an_address(object: &Field<'_, '_>) {
    let metadata = object.get("metadata");
    let name = metadata.get("name");
    match name.text().parse::<IpAddr>() {
        Ok(address) if address.to_string() != name.text() => {
            name.invalid(format!("must be in canonical form ({:?})", address.to_string()));
        }
        Ok(_) => {}
        Err(_) => drop(name.named_as(name.text(), names::ip)),
    }
}

fn parent(object: &Field<'_, '_>) {
    let spec = object.get("spec");
    let parent = spec.get("parentRef");
    if !parent.is_set() {
        parent.missing("");
        return;
    }
    parent.get("group").named(names::dns_subdomain);
    for field in ["resource", "name"] {
        if parent.get(field).required() {
            parent.get(field).named(names::path_segment);
        }
    }
    parent.get("namespace").named(names::path_segment);
}

/// One range a family.
fn ranges(object: &Field<'_, '_>) {
    let spec = object.get("spec");
    let ranges = spec.get("cidrs");
    let wrong = |detail: &str| ranges.report(FieldError::invalid(ranges.path(), spec.value().clone(), detail));
    let families: Vec<Option<bool>> =
        list(ranges.value()).iter().map(|one| one.as_str().and_then(Cidr::parse).map(Cidr::is_ipv4)).collect();
    match families[..] {
        [] => ranges.missing("at least one CIDR required"),
        [_] => ranges.items().for_each(|range| strict_range(&range)),
        [Some(one), Some(other)] if one != other => ranges.items().for_each(|range| strict_range(&range)),
        [_, _] => wrong("may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"),
        _ => wrong("may only hold up to 2 values"),
    }
}

fn shown_parent(row: &Row<'_>) -> String {
    let parent = row.at("/spec/parentRef");
    if !parent.is_object() {
        return "<none>".to_owned();
    }
    let text = |field: &str| parent[field].as_str().unwrap_or_default();
    let mut shown = text("resource").to_lowercase();
    if !text("group").is_empty() {
        shown = format!("{shown}.{}", text("group").to_lowercase());
    }
    if !text("namespace").is_empty() {
        shown = format!("{shown}/{}", text("namespace"));
    }
    format!("{shown}/{}", text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change};
    use serde_json::json;

    #[test]
    fn addresses() {
        let address = |name: &str| {
            json!({
                "metadata": {"name": name}, "spec": {"parentRef": {"resource": "services", "namespace": "a", "name": "web"}},
            })
        };
        assert_eq!(errors(&IP_ADDRESS, &address("10.0.0.1")), [""; 0]);
        assert_eq!(errors(&IP_ADDRESS, &address("2001:db8::1")), [""; 0]);
        assert_eq!(
            errors(&IP_ADDRESS, &address("2001:DB8::1")),
            ["metadata.name: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")"]
        );
        assert_eq!(errors(&IP_ADDRESS, &address("web")).len(), 1);
        assert_eq!(
            errors(&IP_ADDRESS, &json!({"metadata": {"name": "::1"}, "spec": {}})),
            ["spec.parentRef: Required value"]
        );
        assert_eq!(cells(&IP_ADDRESS, &address("10.0.0.1"))[1], "services/a/web");
        let moved = json!({"spec": {"parentRef": {"resource": "services", "name": "other"}}});
        assert_eq!(errors_of_change(&IP_ADDRESS, &moved, &address("10.0.0.1")).len(), 1);
    }

    #[test]
    fn ranges_of_services() {
        for (ranges, expected) in [
            (json!(["10.0.0.0/16"]), vec![]),
            (json!(["10.0.0.0/16", "2001:db8::/64"]), vec![]),
            (json!([]), vec!["spec.cidrs: Required value: at least one CIDR required"]),
            (
                json!(["10.0.0.1/16"]),
                vec!["spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length"],
            ),
            (
                json!(["10.0.0.0/16", "10.1.0.0/16"]),
                vec![
                    "spec.cidrs: Invalid value: {\"cidrs\":[\"10.0.0.0/16\",\"10.1.0.0/16\"]}: may specify no more than one IP for \
                     each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                ],
            ),
        ] {
            assert_eq!(errors(&SERVICE_CIDR, &json!({"spec": {"cidrs": ranges}})), expected, "{ranges}");
        }
        let old = json!({"spec": {"cidrs": ["10.0.0.0/16"]}});
        assert_eq!(errors_of_change(&SERVICE_CIDR, &json!({"spec": {"cidrs": ["10.1.0.0/16"]}}), &old).len(), 1);
    }
}
