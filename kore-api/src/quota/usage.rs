//! What one object uses.

use serde_json::Value;

use super::{Amounts, Counted, NANO, amount, pod};

/// What is counted in pieces by its plural, as it was before everything could be (`count/…`).
const BY_PLURAL: [&str; 6] =
    ["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// What an object uses, by the names that quotas call it.
pub(crate) fn usage(counted: Counted<'_>) -> Amounts {
    let mut used = Amounts::new();
    // Events go by themselves.
    if counted.is("events") {
        return used;
    }
    let suffix = if counted.group.is_empty() { String::new() } else { format!(".{}", counted.group) };
    used.insert(format!("count/{}{suffix}", counted.plural), NANO);
    if counted.group.is_empty() && BY_PLURAL.contains(&counted.plural) {
        used.insert(counted.plural.to_owned(), NANO);
    }
    match (counted.group, counted.plural) {
        ("", "pods") => pod::usage(counted.object, &mut used),
        ("", "services") => service(&counted.object["spec"], &mut used),
        ("", "persistentvolumeclaims") => claim(counted.object, &mut used),
        _ => {}
    }
    used
}

fn service(spec: &Value, used: &mut Amounts) {
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_balanced = spec["type"] == "LoadBalancer";
    let on_nodes = match spec["type"].as_str() {
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => {
            ports.iter().filter(|port| port["nodePort"].as_i64().is_some_and(|port| port != 0)).count()
        }
        Some("NodePort" | "LoadBalancer") => ports.len(),
        _ => 0,
    };
    used.insert("services.nodeports".to_owned(), on_nodes as i128 * NANO);
    used.insert("services.loadbalancers".to_owned(), i128::from(is_balanced) * NANO);
}

fn claim(claim: &Value, used: &mut Amounts) {
    let asked = amount(&claim["spec"]["resources"]["requests"]["storage"]);
    // What has been given may be more than what is asked for.
    let given = amount(&claim["status"]["allocatedResources"]["storage"]);
    let storage = asked.max(given).unwrap_or_default();
    used.insert("requests.storage".to_owned(), storage);
    let class = claim["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty());
    let by_annotation = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    if let Some(class) = by_annotation.or(class) {
        let of_class = |name: &str| format!("{class}.storageclass.storage.k8s.io/{name}");
        used.insert(of_class("requests.storage"), storage);
        used.insert(of_class("persistentvolumeclaims"), NANO);
    }
}
