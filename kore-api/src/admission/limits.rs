//! How much each thing in a namespace may have.

use std::collections::BTreeSet;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::LimitRange;
use serde_json::{Map, Value};

use super::{Admission, Write};
use crate::error::Status;
use crate::object::ResourceType;
use crate::quota::{Amounts, amount, pod_resources};
use crate::request::Verb;

const RANGES: ResourceType = ResourceType::of::<LimitRange>();
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const LISTS: [&str; 2] = ["initContainers", "containers"];

/// Holds new pods, and PersistentVolumeClaims, to the LimitRanges of their namespace: what containers leave out is filled in, what is too
/// much, too little or out of proportion is refused. Upstream's admission plugin of the same name.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitRanger;

#[async_trait]
impl Admission for LimitRanger {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        if !write.is_new_pod() {
            return Ok(());
        }
        for range in write.lookup.list(&RANGES, write.namespace).await? {
            fill(&mut write.object, &range.to_value()["spec"]["limits"]);
        }
        Ok(())
    }

    async fn validate(&self, write: &Write<'_>) -> Result<(), Status> {
        let is_claim = write.resource.group.is_empty()
            && write.resource.plural == "persistentvolumeclaims"
            && write.subresource.is_empty()
            && matches!(write.verb, Verb::Create | Verb::Update);
        if !is_claim && !write.is_new_pod() {
            return Ok(());
        }
        let mut problems = Vec::new();
        for range in write.lookup.list(&RANGES, write.namespace).await? {
            let range = range.to_value();
            for limit in range["spec"]["limits"].as_array().into_iter().flatten() {
                match is_claim {
                    true => of_claim(&write.object, limit, &mut problems),
                    false => of_pod(&write.object["spec"], limit, &mut problems),
                }
            }
        }
        let problem = match &problems[..] {
            [] => return Ok(()),
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        Err(Status::forbidden(write.resource, write.name, problem))
    }
}

/// Fills in what containers leave out, and notes it.
fn fill(pod: &mut Value, limits: &Value) {
    let mut notes = Vec::new();
    for limit in limits.as_array().into_iter().flatten().filter(|limit| limit["type"] == "Container") {
        for list in LISTS {
            for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let name = container["name"].as_str().unwrap_or_default().to_owned();
                let of = if list == "containers" { "container" } else { "init container" };
                for (field, default, word) in
                    [("requests", "defaultRequest", "request"), ("limits", "default", "limit")]
                {
                    let filled = fill_one(container, field, &limit[default]);
                    if !filled.is_empty() {
                        notes.push(format!("{} {word} for {of} {name}", filled.join(", ")));
                    }
                }
            }
        }
    }
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut).filter(|_| !notes.is_empty()) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ANNOTATION.to_owned(), format!("LimitRanger plugin set: {}", notes.join("; ")).into());
        }
    }
}

fn fill_one(container: &mut Value, field: &str, defaults: &Value) -> Vec<String> {
    let mut filled = Vec::new();
    let Some(defaults) = defaults.as_object().filter(|defaults| !defaults.is_empty()) else {
        return filled;
    };
    let Some(container) = container.as_object_mut() else {
        return filled;
    };
    let resources = container.entry("resources").or_insert_with(|| Value::Object(Map::new()));
    let Some(resources) = resources.as_object_mut() else {
        return filled;
    };
    let amounts = resources.entry(field).or_insert_with(|| Value::Object(Map::new()));
    for (name, default) in defaults {
        if let Some(amounts) = amounts.as_object_mut().filter(|amounts| !amounts.contains_key(name)) {
            amounts.insert(name.clone(), default.clone());
            filled.push(name.clone());
        }
    }
    filled
}

fn of_pod(spec: &Value, limit: &Value, problems: &mut Vec<String>) {
    match limit["type"].as_str() {
        Some("Container") => {
            for container in LISTS.iter().flat_map(|list| spec[*list].as_array().into_iter().flatten()) {
                let resources = |field: &str| read(&container["resources"][field]);
                within(limit, "Container", &resources("requests"), &resources("limits"), problems);
            }
        }
        Some("Pod") => {
            within(limit, "Pod", &pod_resources(spec, "requests"), &pod_resources(spec, "limits"), problems);
        }
        _ => {}
    }
}

fn of_claim(claim: &Value, limit: &Value, problems: &mut Vec<String>) {
    if limit["type"] != "PersistentVolumeClaim" {
        return;
    }
    let asked = read(&claim["spec"]["resources"]["requests"]);
    // A claim has no limits: what it asks for is what it gets.
    let only = |field: &str| limit.get(field).cloned().unwrap_or_default();
    least("PersistentVolumeClaim", &only("min"), &asked, &Amounts::new(), problems);
    for (name, max) in only("max").as_object().into_iter().flatten() {
        let at_most = format!("maximum {name} usage per PersistentVolumeClaim is {}", shown(max));
        match asked.get(name) {
            None => problems.push(format!("{at_most}. No request is specified")),
            Some(asked) if Some(*asked) > amount(max) => {
                let asked = &claim["spec"]["resources"]["requests"][name];
                problems.push(format!("{at_most}, but request is {}", shown(asked)));
            }
            Some(_) => {}
        }
    }
}

fn read(amounts: &Value) -> Amounts {
    let amounts = amounts.as_object().into_iter().flatten();
    amounts.filter_map(|(name, value)| Some((name.clone(), amount(value)?))).collect()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An amount in words, as a quantity of the form of another one.
fn written(nanos: i128, like: &Value) -> String {
    crate::quota::text(nanos, like)
}

fn least(kind: &str, min: &Value, requests: &Amounts, limits: &Amounts, problems: &mut Vec<String>) {
    for (name, min) in min.as_object().into_iter().flatten() {
        let at_least = format!("minimum {name} usage per {kind} is {}", shown(min));
        let bound = amount(min);
        match (requests.get(name), limits.get(name)) {
            (None, _) => problems.push(format!("{at_least}.  No request is specified")),
            (Some(request), _) if Some(*request) < bound => {
                problems.push(format!("{at_least}, but request is {}", written(*request, min)));
            }
            (_, Some(limit)) if Some(*limit) < bound => {
                problems.push(format!("{at_least}, but limit is {}", written(*limit, min)));
            }
            _ => {}
        }
    }
}

fn within(limit: &Value, kind: &str, requests: &Amounts, limits: &Amounts, problems: &mut Vec<String>) {
    least(kind, &limit["min"], requests, limits, problems);
    for (name, max) in limit["max"].as_object().into_iter().flatten() {
        let at_most = format!("maximum {name} usage per {kind} is {}", shown(max));
        let bound = amount(max);
        match (limits.get(name), requests.get(name)) {
            (None, _) => problems.push(format!("{at_most}.  No limit is specified")),
            (Some(limit), _) if Some(*limit) > bound => {
                problems.push(format!("{at_most}, but limit is {}", written(*limit, max)));
            }
            (_, Some(request)) if Some(*request) > bound => {
                problems.push(format!("{at_most}, but request is {}", written(*request, max)));
            }
            _ => {}
        }
    }
    let ratios: BTreeSet<&String> = limit["maxLimitRequestRatio"].as_object().into_iter().flat_map(Map::keys).collect();
    for name in ratios {
        let max = &limit["maxLimitRequestRatio"][name];
        let at_most = format!("{name} max limit to request ratio per {kind} is {}", shown(max));
        let of = |amounts: &Amounts| amounts.get(name).copied().filter(|amount| *amount > 0);
        match (of(requests), of(limits)) {
            (None, _) => problems.push(format!("{at_most}, but no request is specified or request is 0")),
            (_, None) => problems.push(format!("{at_most}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let (ratio, bound) = (limit as f64 / request as f64, amount(max).unwrap_or_default() as f64 / 1e9);
                if ratio > bound {
                    problems.push(format!("{at_most}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}
