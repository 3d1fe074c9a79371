//! A pod's quality of service class.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::quantity;

type Resources = BTreeMap<String, Quantity>;

/// `Guaranteed`: every container has limits for CPU and memory, equal to its requests. `BestEffort`: none has any of these.
/// `Burstable` otherwise.
pub(crate) fn class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else {
        return "BestEffort";
    };
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    if !containers().any(|container| {
        ["cpu", "memory"]
            .iter()
            .any(|resource| is_set(requests(container), resource) || is_set(limits(container), resource))
    }) {
        return "BestEffort";
    }
    let guaranteed = containers().all(|container| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = value(limits(container), resource);
            // A request that is not set is what the limit is.
            limit.is_some() && value(requests(container), resource).is_none_or(|r| Some(r) == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

fn requests(container: &Container) -> Option<&Resources> {
    container.resources.as_ref()?.requests.as_ref()
}

fn limits(container: &Container) -> Option<&Resources> {
    container.resources.as_ref()?.limits.as_ref()
}

fn value(resources: Option<&Resources>, name: &str) -> Option<i128> {
    let value = quantity::nanos(&resources?.get(name)?.0)?;
    (value > 0).then_some(value)
}

fn is_set(resources: Option<&Resources>, name: &str) -> bool {
    value(resources, name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let pod = |containers: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({"spec": {"containers": containers}})).unwrap()
        };
        let container = |resources| serde_json::json!({"name": "a", "resources": resources});
        let none = serde_json::json!({});
        let full = serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        let only_limits = serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let some = serde_json::json!({"requests": {"cpu": "1"}});
        let cases = [
            (vec![none.clone()], "BestEffort"),
            (vec![full.clone()], "Guaranteed"),
            (vec![only_limits, full.clone()], "Guaranteed"),
            (vec![some, full.clone()], "Burstable"),
            (vec![none, full], "Burstable"),
            (vec![], "BestEffort"),
        ];
        for (resources, class) in cases {
            let containers: Vec<_> = resources.into_iter().map(container).collect();
            let pod = pod(containers.into());
            assert_eq!(super::class(&pod), class, "{pod:?}");
        }
    }
}
