//! Which groups, versions and resources there are: in the plain form and in the aggregated one (KEP-3352).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use http::request::Parts;
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::Body;
use super::accept::prefers_aggregated_discovery;
use super::resource::subresource_verbs;
use super::respond::json;
use super::reviews::is_review;
use super::routes::no_such_resource;
use crate::error::Status;
use crate::registry::{Registry, ResourceInfo};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// What can be done with a resource.
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Groups, their versions by priority, and the resources of each.
struct Groups<'a>(BTreeMap<&'a str, Vec<(&'a str, Vec<&'a ResourceInfo>)>>);

impl<'a> Groups<'a> {
    fn of(registry: &'a Registry, reviews: &'a Registry) -> Self {
        let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<&ResourceInfo>>> = BTreeMap::new();
        for info in registry.iter().chain(reviews.iter()) {
            let versions = groups.entry(&info.resource.group).or_default();
            versions.entry(&info.resource.version).or_default().push(info);
        }
        let sorted = groups.into_iter().map(|(group, versions)| {
            let mut versions: Vec<_> = versions.into_iter().collect();
            versions.sort_by_key(|(version, _)| Reverse(priority(version)));
            (group, versions)
        });
        Self(sorted.collect())
    }

    fn group(&self, group: &str) -> Result<&[(&'a str, Vec<&'a ResourceInfo>)], Status> {
        self.0.get(group).map(Vec::as_slice).ok_or_else(no_such_resource)
    }

    fn version(&self, group: &str, version: &str) -> Result<&[&'a ResourceInfo], Status> {
        let versions = self.group(group)?;
        let found = versions.iter().find(|(other, _)| *other == version);
        found.map(|(_, resources)| resources.as_slice()).ok_or_else(no_such_resource)
    }
}

/// `v2` before `v1` before `v2beta1` before `v1alpha1` before names of another form.
fn priority(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, stage) = rest.split_at(digits);
        let major = major.parse().ok()?;
        if stage.is_empty() {
            return Some((3, major, 0));
        }
        let (rank, minor) = match stage.strip_prefix("beta") {
            Some(minor) => (2, minor),
            None => (1, stage.strip_prefix("alpha")?),
        };
        Some((rank, major, minor.parse().ok()?))
    };
    parse().unwrap_or((0, 0, 0))
}

/// `/api…` and `/apis…` above the resources.
pub(super) fn answer(
    registry: &Registry,
    reviews: &Registry,
    segments: &[&str],
    head: &Parts,
) -> Result<Response<Body>, Status> {
    let groups = Groups::of(registry, reviews);
    let aggregated = prefers_aggregated_discovery(&head.headers);
    let value = match *segments {
        [root @ ("api" | "apis")] if aggregated => {
            let mut response = json(&aggregated_list(&groups, root == "api"));
            response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
            response.headers_mut().insert(http::header::VARY, HeaderValue::from_static("Accept"));
            return Ok(response);
        }
        ["api"] => {
            let versions: Vec<&str> =
                groups.group("").unwrap_or_default().iter().map(|(version, _)| *version).collect();
            json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": []})
        }
        ["apis"] => {
            let named = groups.0.iter().filter(|(group, _)| !group.is_empty());
            let groups: Vec<Value> = named.map(|(group, versions)| group_value(group, versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", group] if !group.is_empty() => {
            let mut value = group_value(group, groups.group(group)?);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        ["api", version] => resource_list("", version, groups.version("", version)?),
        ["apis", group, version] if !group.is_empty() => resource_list(group, version, groups.version(group, version)?),
        _ => return Err(no_such_resource()),
    };
    Ok(json(&value))
}

/// `/`: what there is.
pub(super) fn paths(registry: &Registry, reviews: &Registry) -> Value {
    let mut paths = Vec::new();
    for (group, versions) in Groups::of(registry, reviews).0 {
        let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        paths.extend(versions.iter().map(|(version, _)| format!("{root}/{version}")));
        paths.push(root);
    }
    paths
        .extend(["/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(String::from));
    paths.sort();
    json!({"paths": paths})
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_value(group: &str, versions: &[(&str, Vec<&ResourceInfo>)]) -> Value {
    let version = |version: &str| json!({"groupVersion": group_version(group, version), "version": version});
    let all: Vec<Value> = versions.iter().map(|(name, _)| version(name)).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

/// The kind that a part of a resource's objects has on the wire, where it is not the resource's own.
pub(super) fn subresource_kind(part: &str) -> Option<(&'static str, &'static str, &'static str)> {
    match part {
        "scale" => Some(("autoscaling", "v1", "Scale")),
        "binding" => Some(("", "v1", "Binding")),
        "eviction" => Some(("policy", "v1", "Eviction")),
        "token" => Some(("authentication.k8s.io", "v1", "TokenRequest")),
        _ => None,
    }
}

/// The parts of a resource's objects, by name.
pub(super) fn subresources(info: &ResourceInfo) -> Vec<&str> {
    let generic = [("status", info.has_status), ("scale", info.scale.is_some())];
    let generic = generic.into_iter().filter(|(_, there)| *there).map(|(part, _)| part);
    let mut all: Vec<&str> = generic.chain(info.subresources.iter().copied()).collect();
    all.sort_unstable();
    all
}

pub(super) fn part_verbs(info: &ResourceInfo, part: &str) -> Vec<&'static str> {
    subresource_verbs(info, part).unwrap_or_default().iter().map(|verb| verb.as_str()).collect()
}

/// What can be done with a resource as a whole.
pub(super) fn resource_verbs(info: &ResourceInfo) -> &'static [&'static str] {
    if is_review(&info.resource) { &["create"] } else { &VERBS }
}

fn resource_list(group: &str, version: &str, resources: &[&ResourceInfo]) -> Value {
    let mut listed = Vec::new();
    for info in resources {
        let resource = &info.resource;
        let mut value = json!({
            "name": resource.plural,
            "singularName": info.singular,
            "namespaced": resource.is_namespaced(),
            "kind": resource.kind,
            "verbs": resource_verbs(info),
        });
        if !info.short_names.is_empty() {
            value["shortNames"] = json!(info.short_names);
        }
        if !info.categories.is_empty() {
            value["categories"] = json!(info.categories);
        }
        listed.push(value);
        for part in subresources(info) {
            let mut value = json!({
                "name": format!("{}/{part}", resource.plural),
                "singularName": "",
                "namespaced": resource.is_namespaced(),
                "kind": resource.kind,
                "verbs": part_verbs(info, part),
            });
            if let Some((group, version, kind)) = subresource_kind(part) {
                value["kind"] = kind.into();
                value["group"] = group.into();
                value["version"] = version.into();
            }
            listed.push(value);
        }
    }
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": listed,
    })
}

fn aggregated_list(groups: &Groups<'_>, core: bool) -> Value {
    let shown = groups.0.iter().filter(|(group, _)| group.is_empty() == core);
    let items: Vec<Value> = shown
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<Value> = resources.iter().map(|info| aggregated_resource(info)).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_resource(info: &ResourceInfo) -> Value {
    let resource = &info.resource;
    let own = (&*resource.group, &*resource.version, &*resource.kind);
    let kind = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let parts: Vec<Value> = subresources(info)
        .into_iter()
        .map(|part| {
            json!({
                "subresource": part,
                "responseKind": kind(subresource_kind(part).unwrap_or(own)),
                "verbs": part_verbs(info, part),
            })
        })
        .collect();
    let mut value = json!({
        "resource": resource.plural,
        "responseKind": kind(own),
        "scope": if resource.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": info.singular,
        "verbs": resource_verbs(info),
    });
    for (field, names) in [("shortNames", &info.short_names), ("categories", &info.categories)] {
        if !names.is_empty() {
            value[field] = json!(names);
        }
    }
    if !parts.is_empty() {
        value["subresources"] = parts.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_by_priority() {
        let mut versions = ["v1alpha1", "v2beta1", "foo", "v1", "v1beta2", "v10", "v2", "v1beta10"];
        versions.sort_by_key(|version| Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta10", "v1beta2", "v1alpha1", "foo"]);
    }
}
