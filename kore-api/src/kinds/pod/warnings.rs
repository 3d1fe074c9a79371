//! What a writer of a pod or a template should be told although it is allowed.

use std::collections::BTreeMap;

use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::quantity::Quantity;

/// Of a whole pod.
pub(super) fn pod(pod: &Field<'_, '_>) -> Vec<String> {
    let mut warnings = hostname(pod);
    spec(&pod.get("spec"), &mut warnings);
    warnings
}

/// Of a template in another kind, whose pods get names from its own.
pub(crate) fn template(owner: &Field<'_, '_>) -> Vec<String> {
    template_at(owner, &owner.get("spec").get("template"))
}

/// Of a template that stands anywhere in another kind.
pub(crate) fn template_at(owner: &Field<'_, '_>, template: &Field<'_, '_>) -> Vec<String> {
    let mut warnings = hostname(owner);
    spec(&template.get("spec"), &mut warnings);
    warnings
}

/// A pod's name is its host name.
fn hostname(object: &Field<'_, '_>) -> Vec<String> {
    let metadata = object.get("metadata");
    let name = metadata.get("name");
    let problems = names::dns_label(name.text());
    if name.text().is_empty() || problems.is_empty() {
        return Vec::new();
    }
    let problems = problems.join(" ");
    vec![format!(
        "{name}: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{problems}]"
    )]
}

fn spec(spec: &Field<'_, '_>, warnings: &mut Vec<String>) {
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        warnings.push(format!("{grace}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    let mut secrets = BTreeMap::new();
    for secret in spec.get("imagePullSecrets").items() {
        let name = secret.get("name");
        if name.text().is_empty() {
            warnings.push(format!("{name}: invalid empty name \"\""));
        } else if let Some(first) = secrets.insert(name.text(), secret.path()) {
            warnings.push(format!("{name}: duplicate name {:?}, first seen at {first}", name.text()));
        }
    }
    for list in ["initContainers", "containers"] {
        for one in spec.get(list).items() {
            container(&one, warnings);
        }
    }
}

fn container(container: &Field<'_, '_>, warnings: &mut Vec<String>) {
    let mut variables = BTreeMap::new();
    for variable in container.get("env").items() {
        let (name, value) = (variable.get("name"), variable.get("value"));
        let refers_to_itself = value.text().contains(&format!("$({})", name.text()));
        if variables.insert(name.text(), ()).is_some() && !refers_to_itself {
            warnings.push(format!(
                "{variable}: hides previous definition of {:?}, which may be dropped when using apply",
                name.text()
            ));
        }
    }
    let mut ports: BTreeMap<String, String> = BTreeMap::new();
    for port in container.get("ports").items() {
        let number = |field: &str| port.get(field).int().unwrap_or_default();
        let key = format!(
            "{}/{}/{}/{}",
            number("containerPort"),
            port.get("protocol").text(),
            port.get("hostIP").text(),
            number("hostPort")
        );
        match ports.get(&key) {
            Some(first) => warnings.push(format!("{port}: duplicate port definition with {first}")),
            None => {
                ports.insert(key, port.path());
            }
        }
    }
    let resources = container.get("resources");
    for side in ["limits", "requests"] {
        for (name, amount) in resources.get(side).entries() {
            let whole = Quantity::of(amount.value()).is_none_or(Quantity::is_whole);
            if matches!(name, "memory" | "ephemeral-storage") && !whole {
                warnings.push(format!(
                    "{amount}: fractional byte value {:?} is invalid, must be an integer",
                    amount.text()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::pod::POD;
    use crate::registry::Transition;
    use serde_json::json;

    #[test]
    fn what_is_allowed_but_odd_is_said() {
        let pod = json!({
            "metadata": {"name": "a.b"},
            "spec": {
                "terminationGracePeriodSeconds": -1,
                "containers": [{
                    "env": [{"name": "A"}, {"name": "A", "value": "x"}, {"name": "A", "value": "$(A)y"}],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"},
                        {"containerPort": 80, "protocol": "UDP"}],
                    "resources": {"limits": {"memory": "500m", "cpu": "500m"}},
                }],
            },
        });
        let said = POD.info().strategy.warnings(&Transition { new: &pod, old: None, subresource: "" });
        assert!(said[0].starts_with("metadata.name: this is used in the Pod's hostname"), "{said:?}");
        assert_eq!(
            said[1..],
            [
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"500m\" is invalid, must be an integer",
            ]
        );
    }
}
