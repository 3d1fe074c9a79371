//! The rules of a pod's spec as a whole, and of pod templates.

use std::collections::BTreeSet;

use super::container::Containers;
use super::{container, placement, resources, volume};
use crate::kinds::field::Field;
use crate::kinds::{meta, names};

/// Ids of users and groups.
const MAX_ID: i64 = i32::MAX as i64;
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// A whole pod.
pub(super) fn pod(pod: &Field<'_, '_>) {
    let spec = pod.get("spec");
    spec_rules(&spec, &[]);
    for list in ["initContainers", "containers"] {
        for container in spec.get(list).items() {
            let image = container.get("image");
            if image.text().trim() != image.text() {
                image.invalid("must not have leading or trailing whitespace");
            }
        }
    }
    let node = spec.get("nodeName");
    if spec.get("schedulingGates").len() > 0 && !node.text().is_empty() {
        node.forbidden("cannot be set until all schedulingGates have been cleared");
    }
}

/// A pod template, as in a Deployment.
pub(crate) fn template(template: &Field<'_, '_>) {
    template_with(template, &[]);
}

/// A pod template whose pods get further volumes, of these names: that of a StatefulSet.
pub(crate) fn template_with<'v>(template: &Field<'v, '_>, volumes: &[&'v str]) {
    let metadata = template.get("metadata");
    // Upstream reports these without the `metadata` between.
    meta::labels(&template.get("labels").showing(&metadata.get("labels")));
    meta::annotations(&template.get("annotations").showing(&metadata.get("annotations")));
    let spec = template.get("spec");
    spec_rules(&spec, volumes);
    let debugging = spec.get("ephemeralContainers");
    if debugging.len() > 0 {
        debugging.forbidden("ephemeral containers not allowed in pod template");
    }
}

fn spec_rules<'v>(spec: &Field<'v, '_>, more: &[&'v str]) {
    let mut volumes = volume::volumes(&spec.get("volumes"));
    volumes.extend(more.iter().map(|name| (*name, true)));
    let host_network = spec.get("hostNetwork").flag();
    container::all(spec, &Containers { volumes: &volumes, host_network });
    spec.get("restartPolicy").required_one_of(&["Always", "OnFailure", "Never"]);
    dns(spec);
    meta::labels(&spec.get("nodeSelector"));
    security(&spec.get("securityContext"));
    placement::affinity(&spec.get("affinity"));
    placement::tolerations(&spec.get("tolerations"));
    placement::spread(&spec.get("topologySpreadConstraints"));
    spec.get("serviceAccountName").named(names::dns_subdomain);
    spec.get("nodeName").named(names::dns_subdomain);
    spec.get("activeDeadlineSeconds").within(1, MAX_ID);
    spec.get("hostname").named(names::dns_label);
    spec.get("subdomain").named(names::dns_label);
    spec.get("priorityClassName").named(names::dns_subdomain);
    spec.get("runtimeClassName").named(names::dns_subdomain);
    spec.get("preemptionPolicy").one_of(&["Never", "PreemptLowerPriority"]);
    spec.get("os").get("name").one_of(&["linux", "windows"]);
    resources::amounts(&spec.get("overhead"));
    if spec.get("resources").is_set() {
        resources::requirements(&spec.get("resources"));
    }
    for gate in spec.get("readinessGates").items() {
        meta::label_key(&gate.get("conditionType"));
    }
    let mut gates = BTreeSet::new();
    for gate in spec.get("schedulingGates").items() {
        meta::label_key(&gate.get("name"));
        if !gates.insert(gate.get("name").text()) {
            gate.get("name").duplicate();
        }
    }
    for alias in spec.get("hostAliases").items() {
        let address = alias.get("ip");
        if address.text().is_empty() {
            address.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
        address.named(names::ip);
        for name in alias.get("hostnames").items() {
            name.named(names::dns_subdomain);
        }
    }
}

fn dns(spec: &Field<'_, '_>) {
    let (policy, config) = (spec.get("dnsPolicy"), spec.get("dnsConfig"));
    policy.required_one_of(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]);
    let servers = config.get("nameservers");
    if policy.text() == "None" {
        if !config.is_set() {
            config.missing("must provide `dnsConfig` when `dnsPolicy` is None");
        } else if servers.len() == 0 {
            servers.missing("must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        servers.invalid(format!("must not have more than {MAX_NAMESERVERS} nameservers"));
    }
    for server in servers.items() {
        server.named(names::ip);
    }
    let searches = config.get("searches");
    if searches.len() > MAX_SEARCHES {
        searches.invalid(format!("must not have more than {MAX_SEARCHES} search paths"));
    }
    for option in config.get("options").items() {
        if option.get("name").text().is_empty() {
            option.missing("must not be empty");
        }
    }
}

fn security(context: &Field<'_, '_>) {
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        context.get(id).within(0, MAX_ID);
    }
    for group in context.get("supplementalGroups").items() {
        group.within(0, MAX_ID);
    }
    context.get("fsGroupChangePolicy").one_of(&["Always", "OnRootMismatch"]);
    context.get("supplementalGroupsPolicy").one_of(&["Merge", "Strict"]);
    let mut seen = BTreeSet::new();
    for sysctl in context.get("sysctls").items() {
        let name = sysctl.get("name");
        if name.required() && !seen.insert(name.text()) {
            name.duplicate();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::pod::POD;
    use crate::kinds::testing::{errors, with};

    /// A pod with one container and `changes`.
    fn pod(changes: &Value) -> Value {
        let base = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
        let mut pod = with(&base, &json!({"spec": changes}));
        POD.defaults.fill(&mut pod);
        pod
    }

    #[test]
    fn what_a_pod_may_not_say() {
        for (changes, expected) in [
            (json!({}), vec![]),
            (json!({"containers": []}), vec!["spec.containers: Required value"]),
            (json!({"containers": null}), vec!["spec.containers: Required value"]),
            (
                json!({"restartPolicy": "Sometimes"}),
                vec![
                    "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
                ],
            ),
            (
                json!({"activeDeadlineSeconds": 0}),
                vec!["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
            ),
            (json!({"terminationGracePeriodSeconds": 0}), vec![]),
            (
                json!({"dnsPolicy": "None"}),
                vec!["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            ),
            (json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"]}}), vec![]),
            (
                json!({"nodeName": "n", "schedulingGates": [{"name": "a"}]}),
                vec!["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
            ),
            (
                json!({"containers": [{"name": "c", "image": " a"}]}),
                vec!["spec.containers[0].image: Invalid value: \" a\": must not have leading or trailing whitespace"],
            ),
            (
                json!({"securityContext": {"runAsUser": -1, "sysctls": [{"name": "a"}, {"name": "a"}]}}),
                vec![
                    "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                    "spec.securityContext.sysctls[1].name: Duplicate value: \"a\"",
                ],
            ),
            (
                json!({"overhead": {"cpu": "-1"}}),
                vec!["spec.overhead[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
        ] {
            assert_eq!(errors(&POD, &pod(&changes)), expected, "{changes}");
        }
        let names = json!({"serviceAccountName": "A", "hostname": "a.b", "hostAliases": [{"ip": "x"}], "nodeSelector": {"a b": ""}});
        assert_eq!(errors(&POD, &pod(&names)).len(), 4);
    }
}
