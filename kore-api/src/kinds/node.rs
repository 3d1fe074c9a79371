//! Node.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title, flag};
use super::field::Field;
use super::quantity::Quantity;
use super::row::{Row, or, or_none};
use super::shape::{Object, PLAIN, Shape, is_absent, or_insert};
use super::{meta, names};
use crate::error::FieldError;
use crate::object::ResourceType;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(super) static NODE: Entry = Entry {
    short_names: &["no"],
    status_on_create: true,
    subresources: &["proxy"],
    selectable_fields: &["spec.unschedulable"],
    columns: &[
        NAME,
        Title("Status", "string", "Whether it can run pods.", 0),
        Title("Roles", "string", "What it is for, by its labels.", 0),
        AGE,
        Title("Version", "string", "The version of its agent.", 0),
        Title("Internal-IP", "string", "Its address inside the cluster.", 1),
        Title("External-IP", "string", "Its address outside the cluster.", 1),
        Title("OS-Image", "string", "Its operating system.", 1),
        Title("Kernel-Version", "string", "Its kernel.", 1),
        Title("Container-Runtime", "string", "What runs its containers.", 1),
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, change, status, ..ANYTHING },
    selectable: |node, field| match field {
        "spec.unschedulable" => flag(&node["spec"]["unschedulable"]),
        _ => None,
    },
    cells,
    ..Entry::of(ResourceType::of::<Node>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC), ("status", &STATUS)], ..PLAIN };
static SPEC: Shape = Shape { rule: Some(pod_networks), ..PLAIN };
static STATUS: Shape = Shape { rule: Some(allocatable), ..PLAIN };

/// A node that reserves nothing gives all it has.
fn allocatable(status: &mut Object) {
    if is_absent(status, "allocatable") && !is_absent(status, "capacity") {
        let capacity = status["capacity"].clone();
        status.insert("allocatable".to_owned(), capacity);
    }
}

/// The network of its pods stands in a field for one and a field for several; they say the same.
fn pod_networks(spec: &mut Object) {
    let first = spec.get("podCIDRs").and_then(|all| all.get(0)).cloned();
    match first {
        Some(first) => or_insert(spec, "podCIDR", first),
        None if !is_absent(spec, "podCIDR") => {
            let only = serde_json::json!([spec["podCIDR"]]);
            spec.insert("podCIDRs".to_owned(), only);
        }
        None => {}
    }
}

fn always(node: &Field<'_, '_>) {
    let spec = node.get("spec");
    let mut seen = BTreeSet::new();
    for taint in spec.get("taints").items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        meta::label_key(&key);
        value.named(names::label_value);
        effect.required_one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        if !seen.insert((key.text(), effect.text())) {
            taint.report(FieldError {
                detail: "taints must be unique by key and effect pair".to_owned(),
                ..FieldError::duplicate(taint.path(), taint.value().clone())
            });
        }
    }
    for cidr in spec.get("podCIDRs").items() {
        if !is_cidr(cidr.text()) {
            cidr.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        }
    }
}

fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let carried = |field: &str| (before.get(field).len() > 0) && spec.get(field).value() != before.get(field).value();
    if carried("podCIDRs") {
        spec.get("podCIDRs").forbidden("node updates may not change podCIDR except from \"\" to valid");
    }
    if carried("providerID") {
        spec.get("providerID").forbidden("node updates may not change providerID except from \"\" to valid");
    }
}

fn status(node: &Field<'_, '_>, _old: &Field<'_, '_>) {
    let status = node.get("status");
    for amounts in ["capacity", "allocatable"] {
        for (_, amount) in status.get(amounts).entries() {
            if Quantity::of(amount.value()).is_some_and(Quantity::is_negative) {
                amount.invalid("must be greater than or equal to 0");
            }
        }
    }
    let mut seen = BTreeSet::new();
    for address in status.get("addresses").items() {
        if !seen.insert((address.get("type").text(), address.get("address").text())) {
            address.duplicate();
        }
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let ready = row.items("/status/conditions").iter().find(|condition| condition["type"] == "Ready");
    let word = match ready {
        Some(ready) if ready["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if row.at("/spec/unschedulable") == true { ",SchedulingDisabled" } else { "" };
    let address = |kind: &str| {
        let found = row.items("/status/addresses").iter().find(|address| address["type"] == kind);
        or_none(found.and_then(|address| address["address"].as_str()).unwrap_or_default())
    };
    let info = |field: &str| or(row.text(&format!("/status/nodeInfo/{field}")), "<unknown>");
    vec![
        row.name(),
        format!("{word}{cordoned}").into(),
        or_none(roles(row.at("/metadata/labels"))),
        row.age(),
        row.text("/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn roles(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None if key == ROLE_LABEL => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change};
    use serde_json::json;

    #[test]
    fn a_node_as_a_row() {
        let node = json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge", "x": "y"}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian"},
            },
        });
        let row = cells(&Row { object: &node, now: jiff::Timestamp::UNIX_EPOCH });
        let shown: Vec<&str> = row.iter().map(|cell| cell.as_str().unwrap()).collect();
        assert_eq!(
            shown,
            [
                "n",
                "Ready,SchedulingDisabled",
                "edge,worker",
                "<unknown>",
                "v1.37.0",
                "10.0.0.1",
                "<none>",
                "Debian",
                "<unknown>",
                "<unknown>",
            ]
        );
    }

    #[test]
    fn what_a_node_has_is_what_it_gives() {
        let mut node = json!({"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "4"}}});
        NODE.defaults.fill(&mut node);
        assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "4"}));
    }

    #[test]
    fn taints_and_networks() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        assert_eq!(errors(&NODE, &json!({"spec": {"taints": [taint], "podCIDRs": ["10.0.0.0/24"]}})), [""; 0]);
        let found = errors(
            &NODE,
            &json!({"spec": {
                "taints": [taint, taint, {"key": "", "effect": "Sometimes"}, {"key": "b"}], "podCIDRs": ["10.0.0.0/33"],
            }}),
        );
        let fields: Vec<&str> = found.iter().map(|error| error.split(": ").next().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "spec.taints[1]",
                "spec.taints[2].key",
                "spec.taints[2].key",
                "spec.taints[2].effect",
                "spec.taints[3].effect",
                "spec.podCIDRs[0]",
            ]
        );
        let old = json!({"spec": {"podCIDRs": ["10.0.0.0/24"], "providerID": "a"}});
        assert_eq!(errors_of_change(&NODE, &json!({"spec": {}}), &old).len(), 2);
        assert_eq!(errors_of_change(&NODE, &old, &json!({"spec": {}})), [""; 0]);
    }
}
