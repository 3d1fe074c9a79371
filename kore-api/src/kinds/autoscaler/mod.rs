//! HorizontalPodAutoscaler: as many pods as there is to do.
//!
//! - `mod.rs`: the entry, and what is filled in.
//! - `rules.rs`, `metric.rs`: what it may say, and what its metrics may.
//! - `cells.rs`: as a row of a table.
//!
//! Served as autoscaling/v2 alone: the older version is the same object in another form, and there is no conversion between forms yet.

mod cells;
mod metric;
mod rules;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::json;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::shape::Literal::Number;
use super::shape::{Object, PLAIN, Shape, is_absent, object_in, or_insert};
use crate::object::ResourceType;

/// In percent of what pods ask for.
const CPU_TARGET: i64 = 80;

/// What all versions have in common.
pub(super) const SETTINGS: Entry = Entry {
    short_names: &["hpa"],
    categories: &["all"],
    has_generation: true,
    columns: &[
        NAME,
        Title("Reference", "string", "What it scales.", 0),
        Title("Targets", "string", "What is measured, of what is aimed at.", 0),
        Title("MinPods", "string", "The fewest pods.", 0),
        Title("MaxPods", "string", "The most pods.", 0),
        Title("Replicas", "string", "How many pods there are.", 0),
        AGE,
    ],
    ..Entry::of(ResourceType::of::<HorizontalPodAutoscaler>)
};

pub(super) static HORIZONTAL_POD_AUTOSCALER: Entry = Entry {
    defaults: &DEFAULTS,
    rules: Rules {
        always: rules::always,
        create: rules::create,
        change: rules::change,
        status: rules::status,
        ..ANYTHING
    },
    cells: cells::cells,
    ..SETTINGS
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { set: &[("minReplicas", Number(1))], rule: Some(cpu), parts: &[("behavior", &BEHAVIOR)] };
static BEHAVIOR: Shape = Shape {
    rule: Some(|behavior| {
        object_in(behavior, "scaleUp");
        object_in(behavior, "scaleDown");
    }),
    parts: &[("scaleUp", &UP), ("scaleDown", &DOWN)],
    ..PLAIN
};
static UP: Shape = Shape { set: &[("stabilizationWindowSeconds", Number(0))], rule: Some(up), ..PLAIN };
static DOWN: Shape = Shape { rule: Some(down), ..PLAIN };

/// One that says nothing of metrics goes by the processor.
fn cpu(spec: &mut Object) {
    if is_absent(spec, "metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": CPU_TARGET});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".to_owned(), json!([metric]));
    }
}

/// Twice as many, or four more, every quarter of a minute.
fn up(rules: &mut Object) {
    or_insert(rules, "selectPolicy", "Max");
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    or_insert(rules, "policies", json!([pods, {"type": "Percent", "value": 100, "periodSeconds": 15}]));
}

fn down(rules: &mut Object) {
    or_insert(rules, "selectPolicy", "Max");
    or_insert(rules, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// An autoscaler with this in its spec.
    pub(super) fn scaler(changes: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
        });
        object = crate::kinds::testing::with(&object, &json!({"spec": changes}));
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_is_filled_in() {
        let spec = &scaler(&json!({}))["spec"];
        assert_eq!(spec["minReplicas"], 1);
        assert_eq!(
            spec["metrics"],
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}])
        );
        assert_eq!(spec.get("behavior"), None);
        let slow = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60, "policies": [
            {"type": "Pods", "value": 1, "periodSeconds": 60}]}}});
        assert_eq!(
            scaler(&slow)["spec"]["behavior"],
            json!({
                "scaleUp": {
                    "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 60, "selectPolicy": "Max",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                },
            })
        );
    }
}
