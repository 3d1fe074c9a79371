//! ResourceClaim, and what a claim asks for.

use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::Value;

use super::{MAX_CONFIGURATIONS, allocation, attribute_name, configuration, label, selectors, unique};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::row::{Row, list};
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{Object, PLAIN, Shape};
use crate::object::ResourceType;

const MAX_REQUESTS: usize = 32;
const MAX_CONSTRAINTS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;

pub(crate) static RESOURCE_CLAIM: Entry = Entry {
    columns: &[NAME, Title("State", "string", "What has become of it.", 0), AGE],
    defaults: &DEFAULTS,
    rules: Rules {
        always: |claim| spec(&claim.get("spec")),
        change: |new, old| {
            new.get("spec").immutable(&old.get("spec"));
        },
        status: allocation::status,
        ..ANYTHING
    },
    cells: |row| vec![row.name(), state(row).into(), row.age()],
    ..Entry::of(ResourceType::of::<ResourceClaim>)
};

pub(super) static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { parts: &[("devices", &DEVICES)], ..PLAIN };
static DEVICES: Shape = Shape { parts: &[("requests", &REQUEST)], ..PLAIN };
static REQUEST: Shape = Shape { parts: &[("exactly", &WANTED), ("firstAvailable", &WANTED)], ..PLAIN };
static WANTED: Shape =
    Shape { set: &[("allocationMode", Text("ExactCount"))], rule: Some(one), parts: &[("tolerations", &TOLERATION)] };
static TOLERATION: Shape = Shape { set: &[("operator", Text("Equal"))], ..PLAIN };

/// One device, if it is not said how many.
fn one(wanted: &mut Object) {
    let none = wanted.get("count").and_then(Value::as_i64).unwrap_or_default() == 0;
    if none && wanted["allocationMode"] == "ExactCount" {
        wanted.insert("count".to_owned(), 1.into());
    }
}

/// What a claim asks for; also in templates.
pub(super) fn spec(spec: &Field<'_, '_>) {
    let devices = spec.get("devices");
    let (requests, constraints, configurations) =
        (devices.get("requests"), devices.get("constraints"), devices.get("config"));
    let known = Requests(devices.value());
    if requests.at_most(MAX_REQUESTS) {
        requests.items().for_each(|one| request(&one));
        unique(&requests, |request| request.get("name").text().to_owned());
    }
    if constraints.at_most(MAX_CONSTRAINTS) {
        for constraint in constraints.items() {
            references(&constraint.get("requests"), &known);
            let (same, different) = (constraint.get("matchAttribute"), constraint.get("distinctAttribute"));
            if same.is_set() {
                attribute_name(&same, same.text(), true);
            } else if different.is_set() {
                attribute_name(&different, different.text(), true);
            } else {
                constraint.missing("exactly one of \"matchAttribute\" or \"distinctAttribute\" is required");
            }
        }
    }
    if configurations.at_most(MAX_CONFIGURATIONS) {
        for one in configurations.items() {
            references(&one.get("requests"), &known);
            configuration(&one);
        }
    }
}

fn request(request: &Field<'_, '_>) {
    label(&request.get("name"));
    let (exactly, first) = (request.get("exactly"), request.get("firstAvailable"));
    match (exactly.is_set(), first.len() > 0) {
        (false, false) => request.missing("exactly one of `exactly` or `firstAvailable` is required"),
        (true, true) => request.report(FieldError::invalid(
            request.path(),
            Value::Null,
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        )),
        (true, false) => wanted(&exactly),
        (false, true) => {
            if first.at_most(MAX_ALTERNATIVES) {
                for alternative in first.items() {
                    label(&alternative.get("name"));
                    wanted(&alternative);
                }
                unique(&first, |alternative| alternative.get("name").text().to_owned());
            }
        }
    }
}

fn wanted(wanted: &Field<'_, '_>) {
    let (class, mode, count) = (wanted.get("deviceClassName"), wanted.get("allocationMode"), wanted.get("count"));
    if class.required() {
        class.named(names::dns_subdomain);
    }
    selectors(&wanted.get("selectors"));
    let number = count.int().unwrap_or_default();
    match mode.text() {
        "All" if number != 0 => count.invalid("must not be specified when allocationMode is 'All'"),
        "ExactCount" if number <= 0 => {
            count.report(FieldError::invalid(count.path(), number, "must be greater than zero"))
        }
        "All" | "ExactCount" => {}
        _ => mode.report(FieldError::not_supported(mode.path(), mode.text(), &["All", "ExactCount"])),
    }
    for toleration in wanted.get("tolerations").items() {
        tolerated(&toleration);
    }
}

fn tolerated(toleration: &Field<'_, '_>) {
    let (key, operator, value) = (toleration.get("key"), toleration.get("operator"), toleration.get("value"));
    key.named(names::qualified_name);
    match operator.text() {
        "Exists" if !value.text().is_empty() => value.invalid("must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => drop(value.named(names::label_value)),
        _ => drop(operator.required_one_of(&["Equal", "Exists"])),
    }
    let effect = toleration.get("effect");
    if !effect.text().is_empty() {
        effect.one_of(&["NoExecute", "NoSchedule", "None"]);
    }
}

/// The requests of a claim, to be named by others: `gpu`, or `gpu/large`.
pub(super) struct Requests<'a>(pub(super) &'a Value);

impl Requests<'_> {
    fn has(&self, name: &str) -> bool {
        let (name, alternative) = match name.split_once('/') {
            Some((name, alternative)) => (name, Some(alternative)),
            None => (name, None),
        };
        let found = list(&self.0["requests"]).iter().find(|request| request["name"] == name);
        found.is_some_and(|request| {
            alternative.is_none_or(|wanted| list(&request["firstAvailable"]).iter().any(|one| one["name"] == wanted))
        })
    }
}

const REFERENCE: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// A field that names a request.
pub(super) fn reference(name: &Field<'_, '_>, known: &Requests<'_>) {
    let parts: Vec<&str> = name.text().split('/').collect();
    if parts.len() > 2 {
        name.invalid(REFERENCE);
        return;
    }
    for part in parts {
        for problem in names::dns_label(part) {
            name.report(FieldError::invalid(name.path(), part, problem));
        }
    }
    if !known.has(name.text()) {
        name.invalid(REFERENCE);
    }
}

pub(super) fn references(names: &Field<'_, '_>, known: &Requests<'_>) {
    if names.at_most(MAX_REQUESTS) {
        names.items().for_each(|name| reference(&name, known));
        unique(names, |name| name.text().to_owned());
    }
}

fn state(row: &Row<'_>) -> String {
    let deleted = row.at("/metadata/deletionTimestamp").is_string();
    let mut states = Vec::new();
    if deleted {
        states.push("deleted");
    }
    if row.at("/status/allocation").is_object() {
        states.push("allocated");
        if !row.items("/status/reservedFor").is_empty() {
            states.push("reserved");
        }
    } else if !deleted {
        states.push("pending");
    }
    states.join(",")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, with};
    use serde_json::json;

    /// A claim for one device, with changes.
    pub(in crate::kinds::devices) fn claim(changes: &Value) -> Value {
        let object = json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [
            {"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}]}}});
        let mut object = with(&object, changes);
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_claim_may_not_say() {
        let object = claim(&json!({}));
        assert_eq!(
            object["spec"]["devices"]["requests"][0]["exactly"],
            json!({"deviceClassName": "gpu.example.com", "allocationMode": "ExactCount", "count": 1})
        );
        let devices = |devices: Value| claim(&json!({"spec": {"devices": devices}}));
        for (object, expected) in [
            (object.clone(), vec![]),
            (devices(json!({"constraints": [{"requests": ["gpu"], "matchAttribute": "example.com/numa"}]})), vec![]),
            (
                devices(
                    json!({"requests": [{"name": "a"}, {"name": "a", "exactly": {"allocationMode": "All", "count": 2}}]}),
                ),
                vec![
                    "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                    "spec.devices.requests[1].exactly.deviceClassName: Required value",
                    "spec.devices.requests[1].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                    "spec.devices.requests[1]: Duplicate value: \"a\"",
                ],
            ),
            (
                devices(json!({"constraints": [{"requests": ["cpu"]}, {"matchAttribute": "numa"}]})),
                vec![
                    "spec.devices.constraints[0].requests[0]: Invalid value: \"cpu\": must be the name of a request in the claim or \
                     the name of a request and a subrequest separated by '/'",
                    "spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is \
                     required",
                    "spec.devices.constraints[1].matchAttribute: Invalid value: \"numa\": a fully qualified name must be a domain \
                     and a name separated by a slash",
                ],
            ),
        ] {
            assert_eq!(errors(&RESOURCE_CLAIM, &object), expected, "{object}");
        }
        let other = claim(&json!({"spec": {"devices": {"config": []}}}));
        assert_eq!(errors_of_change(&RESOURCE_CLAIM, &other, &object).len(), 1);
        assert_eq!(cells(&RESOURCE_CLAIM, &object)[1], "pending");
        let reserved = with(&object, &json!({"status": {"allocation": {}, "reservedFor": [{"uid": "u"}]}}));
        assert_eq!(cells(&RESOURCE_CLAIM, &reserved)[1], "allocated,reserved");
    }
}
