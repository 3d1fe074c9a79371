//! `autoscaling/v1`: an autoscaler that knows of one target, the use of the processor. What it has no field for is kept in annotations
//! of upstream's names, in the form of `autoscaling/v2`, so that nothing is lost on the way there and back.

use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use serde_json::{Map, Value, json};

use super::super::autoscaler;
use super::super::entry::{ANYTHING, Entry};
use super::super::shape::Literal::Number;
use super::super::shape::{PLAIN, Shape};
use crate::object::ResourceType;

pub(super) static HORIZONTAL_POD_AUTOSCALER: Entry = Entry {
    resource: ResourceType::of::<HorizontalPodAutoscaler>,
    defaults: &DEFAULTS,
    rules: ANYTHING,
    ..autoscaler::SETTINGS
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { set: &[("minReplicas", Number(1))], ..PLAIN };

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

pub(super) fn convert(object: Value, to: &str) -> Value {
    if to == "autoscaling/v1" { to_v1(object) } else { from_v1(object) }
}

fn to_v1(mut object: Value) -> Value {
    for (part, field, share, whole, current) in [
        ("spec", "metrics", "targetCPUUtilizationPercentage", METRICS, false),
        ("status", "currentMetrics", "currentCPUUtilizationPercentage", CURRENT, true),
    ] {
        let Some(Value::Array(metrics)) = object[part].as_object_mut().and_then(|part| part.remove(field)) else {
            continue;
        };
        // The first that is about the processor has a field of its own.
        let is_cpu = |metric: &Value| cpu_share(metric, current).is_some();
        let at = metrics.iter().position(is_cpu);
        if let Some(percent) = at.and_then(|at| cpu_share(&metrics[at], current)) {
            object[part][share] = percent.clone();
        }
        let rest: Vec<Value> =
            metrics.into_iter().enumerate().filter(|(index, _)| Some(*index) != at).map(|(_, metric)| metric).collect();
        if !rest.is_empty() {
            annotate(&mut object, whole, &Value::Array(rest));
        }
    }
    if let Some(behavior) = object["spec"].as_object_mut().and_then(|spec| spec.remove("behavior")) {
        annotate(&mut object, BEHAVIOR, &behavior);
    }
    if let Some(conditions) = object["status"].as_object_mut().and_then(|status| status.remove("conditions"))
        && conditions.as_array().is_some_and(|conditions| !conditions.is_empty())
    {
        annotate(&mut object, CONDITIONS, &conditions);
    }
    remove_empty_status(&mut object);
    object
}

fn from_v1(mut object: Value) -> Value {
    for (part, field, share, whole, current) in [
        ("spec", "metrics", "targetCPUUtilizationPercentage", METRICS, false),
        ("status", "currentMetrics", "currentCPUUtilizationPercentage", CURRENT, true),
    ] {
        let percent = object[part].as_object_mut().and_then(|part| part.remove(share)).filter(|share| !share.is_null());
        let mut metrics: Vec<Value> = Vec::new();
        if let Some(Value::Array(rest)) = take_annotation(&mut object, whole) {
            metrics.extend(rest);
        }
        if let Some(percent) = percent {
            let value = match current {
                true => json!({"current": {"averageUtilization": percent}}),
                false => json!({"target": {"type": "Utilization", "averageUtilization": percent}}),
            };
            let mut resource = json!({"name": "cpu"});
            resource.as_object_mut().expect("made above").extend(value.as_object().cloned().unwrap_or_default());
            metrics.insert(0, json!({"type": "Resource", "resource": resource}));
        }
        if !metrics.is_empty() {
            object[part][field] = metrics.into();
        }
    }
    if let Some(behavior) = take_annotation(&mut object, BEHAVIOR) {
        object["spec"]["behavior"] = behavior;
    }
    if let Some(conditions) = take_annotation(&mut object, CONDITIONS) {
        object["status"]["conditions"] = conditions;
    }
    remove_empty_status(&mut object);
    object
}

fn cpu_share(metric: &Value, current: bool) -> Option<&Value> {
    let resource =
        metric.get("resource").filter(|resource| metric["type"] == "Resource" && resource["name"] == "cpu")?;
    resource.get(if current { "current" } else { "target" })?.get("averageUtilization").filter(|share| !share.is_null())
}

fn annotate(object: &mut Value, name: &str, value: &Value) {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(name.to_owned(), value.to_string().into());
    }
}

/// What an annotation holds; one that cannot be read stays as it is.
fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let value = serde_json::from_str(annotations.get(name)?.as_str()?).ok()?;
    annotations.remove(name);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    Some(value)
}

/// To look for a field in a status makes one.
fn remove_empty_status(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, value| name != "status" || !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let metric = |kind: &str, field: &str, source: Value| json!({"type": kind, field: source});
        let cpu = metric(
            "Resource",
            "resource",
            json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}),
        );
        let memory = metric(
            "Resource",
            "resource",
            json!({"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}),
        );
        let used = metric(
            "Resource",
            "resource",
            json!({"name": "cpu", "current": {"averageUtilization": 40, "averageValue": "200m"}}),
        );
        let whole = json!({
            "apiVersion": "autoscaling/v2",
            "metadata": {"name": "a", "annotations": {"mine": "x"}},
            "spec": {"maxReplicas": 3, "metrics": [cpu, memory], "behavior": {"scaleUp": {"selectPolicy": "Max"}}},
            "status": {"currentMetrics": [used], "conditions": [{"type": "AbleToScale", "status": "True"}]},
        });
        let old = convert(whole.clone(), "autoscaling/v1");
        assert_eq!(old["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}));
        assert_eq!(old["status"], json!({"currentCPUUtilizationPercentage": 40}));
        let mut back = convert(old, "autoscaling/v2");
        // The one thing that the old form cannot say.
        back["status"]["currentMetrics"][0]["resource"]["current"]["averageValue"] = json!("200m");
        assert_eq!(back, whole);
        let plain = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3}});
        assert_eq!(convert(convert(plain.clone(), "autoscaling/v2"), "autoscaling/v1"), plain);
    }
}
