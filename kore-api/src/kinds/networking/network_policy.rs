//! NetworkPolicy.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::cidr;
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::row::selector;
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{Object, PLAIN, Shape, is_absent};
use crate::kinds::{meta, names};
use crate::object::ResourceType;

pub(crate) static NETWORK_POLICY: Entry = Entry {
    short_names: &["netpol"],
    has_generation: true,
    has_status: false,
    columns: &[NAME, Title("Pod-Selector", "string", "The pods it is about.", 0), AGE],
    defaults: &DEFAULTS,
    rules: Rules { always, ..ANYTHING },
    cells: |row| vec![row.name(), selector(row.at("/spec/podSelector")), row.age()],
    ..Entry::of(ResourceType::of::<NetworkPolicy>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { rule: Some(directions), parts: &[("ingress", &RULE), ("egress", &RULE)], ..PLAIN };
static RULE: Shape = Shape { parts: &[("ports", &PORT)], ..PLAIN };
static PORT: Shape = Shape { set: &[("protocol", Text("TCP"))], ..PLAIN };

/// It is about what comes in, and about what goes out if it says something of that.
fn directions(spec: &mut Object) {
    if is_absent(spec, "policyTypes") {
        let both = !is_absent(spec, "egress");
        let directions = if both { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".to_owned(), directions);
    }
    spec.entry("podSelector").or_insert_with(|| json!({}));
}

fn always(policy: &Field<'_, '_>) {
    let spec = policy.get("spec");
    meta::selector(&spec.get("podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            rule.get("ports").items().for_each(|one| port(&one));
            rule.get(peers).items().for_each(|one| peer(&one));
        }
    }
    let directions = spec.get("policyTypes");
    if directions.len() > 2 {
        directions.invalid("may not specify more than two policyTypes");
        return;
    }
    for direction in directions.items() {
        direction.one_of(&["Ingress", "Egress"]);
    }
}

fn port(port: &Field<'_, '_>) {
    port.get("protocol").one_of(&["TCP", "UDP", "SCTP"]);
    let (first, last) = (port.get("port"), port.get("endPort"));
    match first.value() {
        Value::String(name) => {
            if last.is_set() {
                last.invalid("may not be specified when `port` is non-numeric");
            }
            first.named_as(name, names::port_name);
        }
        Value::Number(_) => {
            first.within(1, 65_535);
            if last.int() < first.int() && last.is_set() {
                let detail = "must be greater than or equal to `port`";
                last.report(FieldError::invalid(last.path(), first.value().clone(), detail));
            }
            last.within(1, 65_535);
        }
        _ if last.is_set() => last.invalid("may not be specified when `port` is not specified"),
        _ => {}
    }
}

fn peer(peer: &Field<'_, '_>) {
    let (pods, namespaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    meta::selector(&pods);
    meta::selector(&namespaces);
    if block.is_set() {
        addresses(&block);
    }
    let count = [&pods, &namespaces, &block].iter().filter(|one| one.is_set()).count();
    if count == 0 {
        peer.missing("must specify a peer");
    } else if count > 1 && block.is_set() {
        peer.forbidden("may not specify both ipBlock and another peer");
    }
}

fn addresses(block: &Field<'_, '_>) {
    let whole = block.get("cidr");
    if !whole.required() {
        return;
    }
    let Some(all) = cidr::range(&whole) else { return };
    for except in block.get("except").items() {
        if cidr::range(&except).is_some_and(|part| !all.has_part(part)) {
            except.invalid("must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors};

    fn policy(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "p"}, "spec": spec});
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn directions_and_protocols_are_filled_in() {
        let object = policy(json!({"egress": [{"ports": [{"port": 80}]}]}));
        assert_eq!(object["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(object["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
        let closed = policy(json!({"podSelector": {}}));
        assert_eq!(closed["spec"]["policyTypes"], json!(["Ingress"]));
        assert_eq!(cells(&NETWORK_POLICY, &closed)[1], "<none>");
    }

    #[test]
    fn what_a_policy_may_not_say() {
        for (rule, expected) in [
            (
                json!({"from": [{"podSelector": {}, "namespaceSelector": {}}], "ports": [{"port": 80, "endPort": 90}]}),
                vec![],
            ),
            (json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}), vec![]),
            (json!({"from": [{}]}), vec!["spec.ingress[0].from[0]: Required value: must specify a peer"]),
            (
                json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}, "podSelector": {}}]}),
                vec![
                    "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
                    "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
                ],
            ),
            (
                json!({"ports": [{"port": 90, "endPort": 80}, {"endPort": 80}, {"port": "http", "endPort": 1, "protocol": "ICMP"}]}),
                vec![
                    "spec.ingress[0].ports[0].endPort: Invalid value: 90: must be greater than or equal to `port`",
                    "spec.ingress[0].ports[1].endPort: Invalid value: 80: may not be specified when `port` is not specified",
                    "spec.ingress[0].ports[2].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\"",
                    "spec.ingress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is non-numeric",
                ],
            ),
        ] {
            assert_eq!(errors(&NETWORK_POLICY, &policy(json!({"ingress": [rule]}))), expected, "{rule}");
        }
        assert_eq!(
            errors(&NETWORK_POLICY, &policy(json!({"policyTypes": ["Sideways"]}))),
            ["spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Ingress\", \"Egress\""]
        );
    }
}
