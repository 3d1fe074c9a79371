//! What a pod uses, and which scopes it is in.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Amounts, Counted, NANO, Quota, amount};
use crate::kinds::qos_class;

/// What both ways of naming a request and a limit are about.
const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Adds what a pod uses: nothing once it has ended.
pub(super) fn usage(pod: &Value, used: &mut Amounts) {
    if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return;
    }
    used.insert("pods".to_owned(), NANO);
    let spec = &pod["spec"];
    for (name, amount) in resources(spec, "requests") {
        used.insert(format!("requests.{name}"), amount);
        if STANDARD.contains(&name.as_str()) || name.starts_with("hugepages-") {
            used.insert(name, amount);
        }
    }
    for (name, amount) in resources(spec, "limits").into_iter().filter(|(name, _)| STANDARD.contains(&name.as_str())) {
        used.insert(format!("limits.{name}"), amount);
    }
}

/// What a pod asks for, or is limited to: containers run together, those that prepare it one after the other, beside those of them that go
/// on running.
pub(crate) fn resources(spec: &Value, field: &str) -> Amounts {
    let list = |name: &str| spec[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut together: BTreeMap<String, i128> = BTreeMap::new();
    for container in list("containers") {
        add(&mut together, &container["resources"][field]);
    }
    let (mut running, mut most): (BTreeMap<String, i128>, BTreeMap<String, i128>) = Default::default();
    for container in list("initContainers") {
        let own = &container["resources"][field];
        let now = if container["restartPolicy"] == "Always" {
            add(&mut together, own);
            add(&mut running, own);
            running.clone()
        } else {
            let mut now = running.clone();
            add(&mut now, own);
            now
        };
        for (name, amount) in now {
            let most = most.entry(name).or_default();
            *most = amount.max(*most);
        }
    }
    for (name, amount) in most {
        let sum = together.entry(name).or_default();
        *sum = amount.max(*sum);
    }
    // What is said of the pod as a whole counts instead.
    for (name, value) in spec["resources"][field].as_object().into_iter().flatten() {
        together.extend(amount(value).map(|amount| (name.clone(), amount)));
    }
    for (name, value) in spec["overhead"].as_object().into_iter().flatten() {
        let Some(amount) = amount(value) else { continue };
        match together.get_mut(name) {
            Some(sum) => *sum += amount,
            // No limit stays none.
            None if field == "requests" => drop(together.insert(name.clone(), amount)),
            None => {}
        }
    }
    together
}

fn add(sum: &mut BTreeMap<String, i128>, amounts: &Value) {
    for (name, value) in amounts.as_object().into_iter().flatten() {
        if let Some(amount) = amount(value) {
            *sum.entry(name.clone()).or_default() += amount;
        }
    }
}

/// What a new pod has to state of each container since the quota limits it, and does not: `cpu for: a,b`.
pub(crate) fn unstated(quota: Quota<'_>, pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut missing = Vec::new();
    for name in quota.limited() {
        let (field, resource) = match name.split_once('.') {
            Some((field @ ("requests" | "limits"), resource)) => (field, resource),
            _ => ("requests", name),
        };
        if !matches!(resource, "cpu" | "memory") || !spec["resources"][field][resource].is_null() {
            continue;
        }
        let lists =
            ["containers", "initContainers"].map(|list| spec[list].as_array().map(Vec::as_slice).unwrap_or_default());
        let without = |container: &&Value| container["resources"][field][resource].is_null();
        let mut names: Vec<&str> =
            lists.into_iter().flatten().filter(without).filter_map(|container| container["name"].as_str()).collect();
        names.sort_unstable();
        if !names.is_empty() {
            missing.push(format!("{name} for: {}", names.join(",")));
        }
    }
    missing
}

/// Whether an object is in a scope; `requirement`: what a selector says besides.
pub(super) fn is_in(counted: Counted<'_>, scope: &str, requirement: &Value) -> bool {
    if scope == "VolumeAttributesClass" && counted.is("persistentvolumeclaims") {
        let class = counted.object["spec"]["volumeAttributesClassName"].as_str().unwrap_or_default();
        return named(class, requirement);
    }
    if !counted.is("pods") {
        return false;
    }
    let spec = &counted.object["spec"];
    let is_best_effort = || qos_class(spec) == "BestEffort";
    let ends = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => is_best_effort(),
        "NotBestEffort" => !is_best_effort(),
        "PriorityClass" => named(spec["priorityClassName"].as_str().unwrap_or_default(), requirement),
        "CrossNamespacePodAffinity" => reaches_out(&spec["affinity"]),
        _ => false,
    }
}

/// Whether a class is one of those selected.
fn named(class: &str, requirement: &Value) -> bool {
    let values = || requirement["values"].as_array().into_iter().flatten().any(|value| value == class);
    match requirement["operator"].as_str() {
        None | Some("Exists") => !class.is_empty(),
        Some("DoesNotExist") => class.is_empty(),
        Some("In") => values(),
        Some("NotIn") => !values(),
        Some(_) => false,
    }
}

/// Whether a pod's wishes are about pods of other namespaces.
fn reaches_out(affinity: &Value) -> bool {
    let kinds = ["podAffinity", "podAntiAffinity"].map(|kind| &affinity[kind]);
    let required = kinds
        .into_iter()
        .flat_map(|kind| kind["requiredDuringSchedulingIgnoredDuringExecution"].as_array().into_iter().flatten());
    let preferred = kinds.into_iter().flat_map(|kind| {
        let terms = kind["preferredDuringSchedulingIgnoredDuringExecution"].as_array().into_iter().flatten();
        terms.map(|term| &term["podAffinityTerm"])
    });
    let names = |term: &Value| term["namespaces"].as_array().is_some_and(|names| !names.is_empty());
    required.chain(preferred).any(|term| names(term) || !term["namespaceSelector"].is_null())
}
