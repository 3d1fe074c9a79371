//! Classes that pods name: PriorityClass and RuntimeClass.

use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::pod::{amounts, tolerations};
use super::shape::Literal::Text;
use super::shape::{PLAIN, Shape};
use super::{meta, names};
use crate::object::ResourceType;

/// No class of people's own is more urgent.
const MOST_URGENT: i64 = 1_000_000_000;
/// The classes of what a cluster cannot do without.
pub(crate) const CRITICAL: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "For pods without which the cluster does not work, on whichever node they are.",
    ),
    ("system-node-critical", 2_000_001_000, "For pods without which their node does not work."),
];

pub(super) static PRIORITY_CLASS: Entry = Entry {
    short_names: &["pc"],
    has_generation: true,
    has_status: false,
    columns: &[
        NAME,
        Title("Value", "integer", "How urgent its pods are.", 0),
        Title("Global-Default", "boolean", "Whether pods that name no class are of it.", 0),
        AGE,
        Title("PreemptionPolicy", "string", "Whether its pods drive out less urgent ones.", 1),
    ],
    defaults: &PRIORITY_DEFAULTS,
    rules: Rules { always: priority, change: priority_stays, ..ANYTHING },
    cells: |row| {
        let (value, default) = (row.int("/value"), row.at("/globalDefault") == true);
        vec![row.name(), value.into(), default.into(), row.age(), row.text("/preemptionPolicy").into()]
    },
    ..Entry::of(ResourceType::of::<PriorityClass>)
};

static PRIORITY_DEFAULTS: Shape = Shape { set: &[("preemptionPolicy", Text("PreemptLowerPriority"))], ..PLAIN };

fn priority(class: &Field<'_, '_>) {
    let metadata = class.get("metadata");
    let (name, value) = (metadata.get("name"), class.get("value"));
    if name.text().starts_with("system-") {
        let problem = match CRITICAL.iter().find(|(known, ..)| *known == name.text()) {
            None => Some(format!("{} is not a known system priority class", name.text())),
            Some((known, wanted, _)) if value.int() != Some(*wanted) => {
                Some(format!("value of {known} PriorityClass must be {wanted}"))
            }
            Some((known, ..)) if class.get("globalDefault").flag() => {
                Some(format!("globalDefault of {known} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            name.forbidden(format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            ));
        }
    } else if value.int().is_some_and(|value| value > MOST_URGENT) {
        value.forbidden(format!("maximum allowed value of a user defined priority is {MOST_URGENT}"));
    }
    class.get("preemptionPolicy").one_of(&["Never", "PreemptLowerPriority"]);
}

fn priority_stays(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    if new.get("value").int().unwrap_or_default() != old.get("value").int().unwrap_or_default() {
        new.get("value").forbidden("may not be changed in an update.");
    }
    new.get("preemptionPolicy").immutable(&old.get("preemptionPolicy"));
}

pub(super) static RUNTIME_CLASS: Entry = Entry {
    unconditional_update: false,
    has_status: false,
    columns: &[NAME, Title("Handler", "string", "What runs its pods, as nodes call it.", 0), AGE],
    rules: Rules {
        always: runtime,
        change: |new, old| {
            new.get("handler").immutable(&old.get("handler"));
        },
        ..ANYTHING
    },
    cells: |row| vec![row.name(), row.text("/handler").into(), row.age()],
    ..Entry::of(ResourceType::of::<RuntimeClass>)
};

fn runtime(class: &Field<'_, '_>) {
    let handler = class.get("handler");
    handler.named_as(handler.text(), names::dns_label);
    let overhead = class.get("overhead");
    amounts(&overhead.get("podFixed"));
    let scheduling = class.get("scheduling");
    meta::labels(&scheduling.get("nodeSelector"));
    let list = scheduling.get("tolerations");
    tolerations(&list);
    let mut seen: Vec<&Value> = Vec::new();
    for toleration in list.items() {
        if seen.contains(&toleration.value()) {
            toleration.duplicate();
        }
        seen.push(toleration.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change};
    use serde_json::json;

    #[test]
    fn priorities() {
        for (name, value, expected) in [
            ("high", 1_000_000_000, vec![]),
            ("system-node-critical", 2_000_001_000, vec![]),
            (
                "higher",
                1_000_000_001,
                vec!["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
            ),
            (
                "system-mine",
                5,
                vec![
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: \
                     system-mine is not a known system priority class",
                ],
            ),
            (
                "system-cluster-critical",
                5,
                vec![
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: \
                     value of system-cluster-critical PriorityClass must be 2000000000",
                ],
            ),
        ] {
            let mut class = json!({"metadata": {"name": name}, "value": value});
            PRIORITY_DEFAULTS.fill(&mut class);
            assert_eq!(errors(&PRIORITY_CLASS, &class), expected, "{name}");
        }
        let old = json!({"value": 5, "preemptionPolicy": "Never"});
        assert_eq!(
            errors_of_change(&PRIORITY_CLASS, &json!({"value": 6, "preemptionPolicy": "PreemptLowerPriority"}), &old),
            [
                "value: Forbidden: may not be changed in an update.",
                "preemptionPolicy: Invalid value: \"PreemptLowerPriority\": field is immutable",
            ]
        );
        assert_eq!(cells(&PRIORITY_CLASS, &old)[1..3], [json!(5), json!(false)]);
    }

    #[test]
    fn runtimes() {
        let good = json!({"handler": "kata", "overhead": {"podFixed": {"memory": "64Mi"}}});
        assert_eq!(errors(&RUNTIME_CLASS, &good), [""; 0]);
        let toleration = json!({"key": "a", "operator": "Exists"});
        let bad = json!({"handler": "A", "scheduling": {"tolerations": [toleration, toleration]}});
        let found = errors(&RUNTIME_CLASS, &bad);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("scheduling.tolerations[1]: Duplicate value"), "{found:?}");
        let changed = errors_of_change(&RUNTIME_CLASS, &json!({"handler": "gvisor"}), &good);
        assert_eq!(changed, ["handler: Invalid value: \"gvisor\": field is immutable"]);
    }
}
