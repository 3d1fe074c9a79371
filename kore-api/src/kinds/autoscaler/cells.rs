//! An autoscaler as a row of a table.

use serde_json::Value;

use crate::kinds::row::Row;

/// A cell shows so many metrics, and says how many more there are.
const SHOWN: usize = 2;
const UNKNOWN: &str = "<unknown>";

pub(super) fn cells(row: &Row<'_>) -> Vec<Value> {
    let least = row.at("/spec/minReplicas").as_i64().map_or_else(|| "<unset>".to_owned(), |least| least.to_string());
    vec![
        row.name(),
        format!("{}/{}", row.text("/spec/scaleTargetRef/kind"), row.text("/spec/scaleTargetRef/name")).into(),
        targets(row).into(),
        least.into(),
        row.int("/spec/maxReplicas").into(),
        row.int("/status/currentReplicas").into(),
        row.age(),
    ]
}

fn targets(row: &Row<'_>) -> String {
    let (wanted, measured) = (row.items("/spec/metrics"), row.items("/status/currentMetrics"));
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<String> = wanted
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(index, metric)| one(metric, measured.get(index).unwrap_or(&Value::Null)))
        .collect();
    match wanted.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

fn one(metric: &Value, measured: &Value) -> String {
    let field = match metric["type"].as_str() {
        Some("External") => "external",
        Some("Pods") => "pods",
        Some("Object") => "object",
        Some("Resource") => "resource",
        Some("ContainerResource") => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (target, current) = (&metric[field]["target"], &measured[field]["current"]);
    let amount = |value: &Value| value.as_str().unwrap_or("0").to_owned();
    let now = |value: &Value| value.as_str().unwrap_or(UNKNOWN).to_owned();
    let averaged = target["averageValue"].is_string();
    match field {
        "resource" | "containerResource" => {
            let name = metric[field]["name"].as_str().unwrap_or_default();
            if averaged {
                return format!("{name}: {}/{}", now(&current["averageValue"]), amount(&target["averageValue"]));
            }
            let percent = |value: &Value, other: &str| {
                value.as_i64().map_or_else(|| other.to_owned(), |percent| format!("{percent}%"))
            };
            let (now, aim) =
                (percent(&current["averageUtilization"], UNKNOWN), percent(&target["averageUtilization"], "<auto>"));
            format!("{name}: {now}/{aim}")
        }
        "pods" => format!("{}/{}", now(&current["averageValue"]), amount(&target["averageValue"])),
        _ if averaged => format!("{}/{} (avg)", now(&current["averageValue"]), amount(&target["averageValue"])),
        _ => format!("{}/{}", now(&current["value"]), amount(&target["value"])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::HORIZONTAL_POD_AUTOSCALER as HPA;
    use super::super::tests::scaler;
    use crate::kinds::testing::{cells, with};
    use serde_json::{Value, json};

    #[test]
    fn as_rows() {
        let object = with(
            &scaler(&json!({})),
            &json!({"status": {"currentReplicas": 2, "currentMetrics": [{"type": "Resource", "resource": {
                "name": "cpu", "current": {"averageUtilization": 63, "averageValue": "63m"}}}]}}),
        );
        assert_eq!(
            cells(&HPA, &object)[..6],
            [json!("web"), json!("Deployment/web"), json!("cpu: 63%/80%"), json!("1"), json!(5), json!(2)]
        );
        let targets = |metrics: Value| cells(&HPA, &scaler(&json!({"metrics": metrics})))[2].clone();
        let pods = json!({"type": "Pods", "pods": {"target": {"averageValue": "10"}}});
        let external = json!({"type": "External", "external": {"target": {"averageValue": "5"}}});
        let object = json!({"type": "Object", "object": {"target": {"value": "7"}}});
        assert_eq!(targets(json!([pods])), "<unknown>/10");
        assert_eq!(targets(json!([pods, external])), "<unknown>/10, <unknown>/5 (avg)");
        assert_eq!(targets(json!([object, pods, external])), "<unknown>/7, <unknown>/10 + 1 more...");
    }
}
