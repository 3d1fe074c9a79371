//! The class of a pod by what it asks for and what it is allowed (`status.qosClass`).

use serde_json::Value;

use crate::kinds::quantity::Quantity;
use crate::kinds::row::list;

/// `Guaranteed`: every container is limited in CPU and memory, and asks for just that. `BestEffort`: none asks for or is
/// limited in either. `Burstable`: all others. Resources of the pod as a whole count instead of its containers'.
pub(crate) fn class(spec: &Value) -> &'static str {
    let whole = [&spec["resources"]];
    let parts = ["containers", "initContainers"]
        .map(|field| list(&spec[field]).iter().map(|container| &container["resources"]));
    let each: Vec<&Value> = if whole[0].as_object().is_some_and(|whole| !whole.is_empty()) {
        whole.to_vec()
    } else {
        parts.into_iter().flatten().collect()
    };
    let amount = |resources: &Value, side: &str, resource: &str| {
        Quantity::of(&resources[side][resource]).filter(|amount| *amount != Quantity::default())
    };
    let mut anything = false;
    let mut guaranteed = true;
    for resources in each {
        for resource in ["cpu", "memory"] {
            let limit = amount(resources, "limits", resource);
            let request = amount(resources, "requests", resource);
            anything |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (anything, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        for (resources, expected) in [
            (vec![json!({})], "BestEffort"),
            (vec![json!({"requests": {"cpu": "0"}})], "BestEffort"),
            (vec![json!({"requests": {"cpu": "1"}})], "Burstable"),
            (vec![json!({"limits": {"example.com/gpu": 1}})], "BestEffort"),
            (vec![json!({"limits": both, "requests": both})], "Guaranteed"),
            (vec![json!({"limits": both, "requests": {"cpu": "1000m", "memory": "1024Mi"}})], "Guaranteed"),
            (vec![json!({"limits": both, "requests": {"cpu": "500m", "memory": "1Gi"}})], "Burstable"),
            (vec![json!({"limits": both}), json!({})], "Burstable"),
        ] {
            let containers: Vec<Value> = resources.iter().map(|resources| json!({"resources": resources})).collect();
            assert_eq!(class(&json!({"containers": containers})), expected, "{resources:?}");
        }
        let pod = json!({"resources": {"limits": both, "requests": both}, "containers": [{}]});
        assert_eq!(class(&pod), "Guaranteed");
    }
}
