//! The rules of containers.

use std::collections::BTreeSet;

use super::volume::{self, Volumes};
use super::{env, probe, resources};
use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::names;

const MAX_ID: i64 = i32::MAX as i64;

/// What the rules of containers need to know of their pod.
pub(super) struct Containers<'a> {
    pub(super) volumes: &'a Volumes<'a>,
    pub(super) host_network: bool,
}

/// All containers of a pod: each by itself, then what no two may share.
pub(super) fn all(spec: &Field<'_, '_>, pod: &Containers<'_>) {
    let (inits, containers) = (spec.get("initContainers"), spec.get("containers"));
    let mut seen = BTreeSet::new();
    if containers.len() == 0 {
        containers.missing("");
    }
    for container in containers.items() {
        one(&container, pod);
        let name = container.get("name");
        if !name.text().is_empty() && !seen.insert(name.text()) {
            name.duplicate();
        }
        probes(&container);
        probe::lifecycle(&container.get("lifecycle"));
    }
    host_ports(&containers);
    for container in inits.items() {
        one(&container, pod);
        let name = container.get("name");
        if !name.text().is_empty() && !seen.insert(name.text()) {
            name.duplicate();
        }
        if container.get("restartPolicy").text() == "Always" {
            probes(&container);
            probe::lifecycle(&container.get("lifecycle"));
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                let field = container.get(field);
                if field.is_set() {
                    field.forbidden("may not be set for init containers without restartPolicy=Always");
                }
            }
        }
        // Init containers run one after the other: only within each can ports collide.
        let mut taken = BTreeSet::new();
        host_ports_of(&container, &mut taken);
    }
}

fn one(container: &Field<'_, '_>, pod: &Containers<'_>) {
    let name = container.get("name");
    if name.required() {
        name.named(names::dns_label);
    }
    container.get("image").required();
    container.get("terminationMessagePolicy").one_of(&["FallbackToLogsOnError", "File"]);
    ports(&container.get("ports"), pod.host_network);
    env::variables(&container.get("env"));
    env::sources(&container.get("envFrom"));
    volume::mounts(container, pod.volumes);
    container.get("imagePullPolicy").one_of(&["Always", "IfNotPresent", "Never"]);
    resources::requirements(&container.get("resources"));
    container.get("restartPolicy").one_of(&["Always", "Never", "OnFailure"]);
    let security = container.get("securityContext");
    security.get("runAsUser").within(0, MAX_ID);
    security.get("runAsGroup").within(0, MAX_ID);
    security.get("procMount").one_of(&["Default", "Unmasked"]);
    let escalation = security.get("allowPrivilegeEscalation");
    if escalation.value() == &serde_json::Value::Bool(false) && security.get("privileged").flag() {
        escalation_forbidden(&security);
    }
}

fn escalation_forbidden(security: &Field<'_, '_>) {
    security.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
}

fn probes(container: &Field<'_, '_>) {
    probe::liveness(&container.get("livenessProbe"));
    probe::readiness(&container.get("readinessProbe"));
    probe::liveness(&container.get("startupProbe"));
}

fn ports(ports: &Field<'_, '_>, host_network: bool) {
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let (name, number, host) = (port.get("name"), port.get("containerPort"), port.get("hostPort"));
        if !name.text().is_empty() && name.named(names::port_name) && !seen.insert(name.text()) {
            name.duplicate();
        }
        match number.int() {
            None | Some(0) => number.missing(""),
            Some(_) => {
                number.within(1, 65_535);
            }
        }
        let taken = host.int().unwrap_or_default();
        if taken != 0 {
            host.within(1, 65_535);
        }
        if host_network && taken != number.int().unwrap_or_default() {
            number.invalid("must match `hostPort` when `hostNetwork` is true");
        }
        port.get("protocol").required_one_of(&["SCTP", "TCP", "UDP"]);
    }
}

/// No two containers may take the same port of the node.
fn host_ports(containers: &Field<'_, '_>) {
    let mut taken = BTreeSet::new();
    for container in containers.items() {
        host_ports_of(&container, &mut taken);
    }
}

fn host_ports_of(container: &Field<'_, '_>, taken: &mut BTreeSet<String>) {
    for port in container.get("ports").items() {
        let host = port.get("hostPort");
        let number = host.int().unwrap_or_default();
        if number == 0 {
            continue;
        }
        let claim = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
        if taken.contains(&claim) {
            host.report(FieldError::duplicate(host.path(), claim));
        } else {
            taken.insert(claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::pod::POD;
    use crate::kinds::testing::errors;

    fn pod(spec: Value) -> Vec<String> {
        let mut pod = json!({"metadata": {"name": "a"}, "spec": spec});
        POD.defaults.fill(&mut pod);
        errors(&POD, &pod)
    }

    fn container(changes: Value) -> Vec<String> {
        let mut container = json!({"name": "c", "image": "a:1"});
        json_patch::merge(&mut container, &changes);
        pod(json!({"containers": [container]}))
    }

    #[test]
    fn what_a_container_may_not_say() {
        for (changes, expected) in [
            (json!({}), vec![]),
            (json!({"name": ""}), vec!["spec.containers[0].name: Required value"]),
            (json!({"image": null}), vec!["spec.containers[0].image: Required value"]),
            (
                json!({"imagePullPolicy": "Maybe"}),
                vec![
                    "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \
                     \"IfNotPresent\", \"Never\"",
                ],
            ),
            (
                json!({"ports": [{"containerPort": 70000}, {"hostPort": 1}]}),
                vec![
                    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                    "spec.containers[0].ports[1].containerPort: Required value",
                ],
            ),
            (
                json!({"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]}),
                vec!["spec.containers[0].ports[1].name: Duplicate value: \"a\""],
            ),
            (
                json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
                vec![
                    "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: \
                     cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
                ],
            ),
        ] {
            assert_eq!(container(changes.clone()), expected, "{changes}");
        }
    }

    #[test]
    fn what_containers_may_not_share() {
        let port = json!([{"containerPort": 80, "hostPort": 8080}]);
        let both = json!({
            "containers": [{"name": "a", "image": "i", "ports": port}, {"name": "a", "image": "i", "ports": port}],
            "initContainers": [{"name": "a", "image": "i", "ports": port, "livenessProbe": {"exec": {"command": ["x"]}}}],
        });
        assert_eq!(
            pod(both),
            [
                "spec.containers[1].name: Duplicate value: \"a\"",
                "spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//8080\"",
                "spec.initContainers[0].name: Duplicate value: \"a\"",
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ]
        );
        let network = json!({"hostNetwork": true, "containers": [{"name": "a", "image": "i", "ports": port}]});
        assert_eq!(
            pod(network),
            [
                "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true",
            ]
        );
    }
}
