//! The `eviction` subresource of pods: deletes a pod if its disruption budget allows.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::core::Call;
use super::terms::Terms;
use crate::admission::Lookup;
use crate::error::{Reason, Status, StatusCause, StatusDetails};
use crate::http::delete_options;
use crate::object::{Object, ResourceType};
use crate::request::{Body, Content};
use crate::selector::LabelSelector;

const BUDGETS: ResourceType = ResourceType::of::<PodDisruptionBudget>();
/// So many evictions may wait for the controller of budgets to have seen them, as upstream has it.
const DISRUPTED_MAX: usize = 2000;
/// When to ask again while a budget is not up to date.
const RETRY_SECONDS: u32 = 10;
const WOULD_VIOLATE: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

impl Call<'_> {
    /// Deletes a pod on the terms of its PodDisruptionBudget, which in the same transaction notes the disruption: `disruptionsAllowed`
    /// goes down by one, and the pod is listed in `disruptedPods` until the controller has counted anew. (KEP-85; KEP-3017 for pods that
    /// are not ready.)
    pub(super) async fn evict(&mut self, name: &str, body: Body) -> Result<Content, Status> {
        let eviction = body::other(body, "policy/v1", "Eviction")?;
        if eviction["metadata"]["name"] != name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut options = self.options.clone();
        if !eviction["deleteOptions"].is_null() {
            delete_options(&mut options, &eviction["deleteOptions"])?;
            options.dry_run |= self.options.dry_run;
        }
        // Of budgets, what has been acknowledged counts.
        self.core.catch_up().await?;
        let (lookup, now) = (Lookup::new(self.core), self.core.now());
        let on_budget = |pod: &Object| terms(lookup, pod, &now);
        let mut call = Call { options: &options, warnings: Vec::new(), ..*self };
        call.delete_one(name, &on_budget).await?;
        Ok(Content::Status(Status { code: 201, ..Status::new(Reason::Unknown, "") }))
    }
}

/// On which terms the pod may be evicted.
fn terms(lookup: Lookup<'_>, pod: &Object, now: &str) -> Result<Terms, Status> {
    let mut terms = Terms::default();
    let value = pod.to_unmanaged_value();
    // What has not begun, or is over, disrupts nobody.
    if matches!(value["status"]["phase"].as_str(), Some("Pending" | "Succeeded" | "Failed")) || pod.is_deleting() {
        return Ok(terms);
    }
    let budgets = lookup.cached_list(&BUDGETS, pod.namespace().unwrap_or_default());
    let mut budgets = budgets.into_iter().filter(|budget| selects(&budget.to_unmanaged_value(), pod));
    let Some(budget) = budgets.next() else {
        return Ok(terms);
    };
    if budgets.next().is_some() {
        let problem =
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status { code: 500, ..Status::new(Reason::Unknown, problem) });
    }
    match disrupt(budget.to_unmanaged_value(), &value, now)? {
        Some(disrupted) => terms.also_write(&BUDGETS, &budget, disrupted),
        // It was let go because of what the budget says.
        None => terms.only_while(&BUDGETS, &budget),
    }
    Ok(terms)
}

fn selects(budget: &Value, pod: &Object) -> bool {
    let selector = ApiSelector::deserialize(&budget["spec"]["selector"]).ok();
    let selector = selector.and_then(|selector| LabelSelector::from_api(&selector).ok());
    selector.is_some_and(|selector| selector.matches_object(pod))
}

/// What becomes of the budget when the pod is evicted; `None`: nothing, as the pod does not count for it.
fn disrupt(mut budget: Value, pod: &Value, now: &str) -> Result<Option<Value>, Status> {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    if !is_ready(pod) {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if always || healthy >= desired && desired > 0 {
            return Ok(None);
        }
    }
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or_default() {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(violation(why, RETRY_SECONDS));
    }
    let forbidden = |problem: &str| {
        let budgets = ResourceType { plural: "poddisruptionbudget".into(), ..BUDGETS };
        Err(Status::forbidden(&budgets, &name, problem))
    };
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    let disrupted = budget["status"]["disruptedPods"].as_object().map_or(0, serde_json::Map::len);
    if disrupted > DISRUPTED_MAX {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(violation(why_not(&budget, &name, healthy, desired), 0));
    }
    let observed = number("observedGeneration");
    let status = &mut budget["status"];
    status["disruptionsAllowed"] = (allowed - 1).into();
    if !status["disruptedPods"].is_object() {
        status["disruptedPods"] = json!({});
    }
    status["disruptedPods"][pod["metadata"]["name"].as_str().unwrap_or_default()] = now.into();
    if allowed == 1 {
        no_more(status, observed, now);
    }
    Ok(Some(budget))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|condition| condition["type"] == "Ready").any(|condition| condition["status"] == "True")
}

/// The condition that says whether pods may be disrupted.
fn disruptions_allowed(status: &mut Value) -> Option<&mut Value> {
    let conditions = status["conditions"].as_array_mut()?;
    conditions.iter_mut().find(|condition| condition["type"] == "DisruptionAllowed")
}

fn why_not(budget: &Value, name: &str, healthy: i64, desired: i64) -> String {
    let mut status = budget["status"].clone();
    match disruptions_allowed(&mut status) {
        Some(condition) if condition["status"] == "False" && condition["reason"] == "SyncFailed" => {
            let problem = condition["message"].as_str().unwrap_or_default();
            format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {problem}"
            )
        }
        _ if healthy <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
        }
        _ => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// Notes that no other may go until the budget has been counted anew.
fn no_more(status: &mut Value, observed: i64, now: &str) {
    let mut condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "observedGeneration": observed, "lastTransitionTime": now,
    });
    if let Some(old) = disruptions_allowed(status) {
        if old["status"] == condition["status"] {
            condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
        }
        *old = condition;
    } else if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.push(condition);
    } else {
        status["conditions"] = json!([condition]);
    }
}

fn violation(why: String, retry_after_seconds: u32) -> Status {
    let cause = StatusCause { reason: "DisruptionBudget".into(), message: why, ..StatusCause::default() };
    let details = StatusDetails { retry_after_seconds, causes: vec![cause], ..StatusDetails::default() };
    Status { details: Some(details), ..Status::new(Reason::TooManyRequests, WOULD_VIOLATE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2030-01-01T00:00:00Z";

    fn budget(spec: Value, status: Value) -> Value {
        json!({"metadata": {"name": "b", "generation": 2}, "spec": spec, "status": status})
    }

    fn ready(ready: bool) -> Value {
        let status = if ready { "True" } else { "False" };
        json!({"metadata": {"name": "p"}, "status": {"conditions": [{"type": "Ready", "status": status}]}})
    }

    #[test]
    fn what_a_budget_says() {
        let status = |allowed: i64, healthy: i64, desired: i64| json!({"observedGeneration": 2, "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired});
        let needs = "The disruption budget b needs 3 healthy pods and has 3 currently";
        for (what, spec, status, is_ready, expected) in [
            ("some are allowed", json!({}), status(2, 5, 3), true, Ok(Some(1))),
            ("the last one", json!({}), status(1, 4, 3), true, Ok(Some(0))),
            ("none is allowed", json!({}), status(0, 3, 3), true, Err((429, needs))),
            (
                "none, for another reason",
                json!({}),
                status(0, 5, 3),
                true,
                Err((429, "The disruption budget b does not allow evicting pods currently")),
            ),
            ("not ready, and enough others are", json!({}), status(0, 3, 3), false, Ok(None)),
            (
                "not ready, and too few are",
                json!({}),
                status(0, 2, 3),
                false,
                Err((429, "The disruption budget b needs 3 healthy pods and has 2 currently")),
            ),
            (
                "not ready, and none is needed",
                json!({}),
                status(0, 0, 0),
                false,
                Err((429, "The disruption budget b needs 0 healthy pods and has 0 currently")),
            ),
            (
                "not ready, which is never in the way",
                json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}),
                status(0, 0, 3),
                false,
                Ok(None),
            ),
            (
                "ready, which counts whatever the policy",
                json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}),
                status(0, 3, 3),
                true,
                Err((429, needs)),
            ),
            (
                "not counted yet",
                json!({}),
                json!({"observedGeneration": 1, "disruptionsAllowed": 5}),
                true,
                Err((429, "The disruption budget b is still being processed by the server.")),
            ),
            ("out of its mind", json!({}), status(-1, 0, 0), true, Err((403, ""))),
        ] {
            let outcome = disrupt(budget(spec, status), &ready(is_ready), NOW);
            match (outcome, expected) {
                (Ok(None), Ok(None)) => {}
                (Ok(Some(after)), Ok(Some(left))) => {
                    assert_eq!(after["status"]["disruptionsAllowed"], left, "{what}");
                    assert_eq!(after["status"]["disruptedPods"], json!({"p": NOW}), "{what}");
                    let conditions = &after["status"]["conditions"];
                    assert_eq!(conditions[0]["reason"] == "InsufficientPods", left == 0, "{what}");
                }
                (Err(status), Err((code, why))) => {
                    assert_eq!(status.code, code, "{what}");
                    if code == 429 {
                        assert_eq!(status.message, WOULD_VIOLATE);
                        assert_eq!(status.details.unwrap().causes[0].message, why, "{what}");
                    }
                }
                (outcome, _) => panic!("{what}: {outcome:?}"),
            }
        }
        let many: serde_json::Map<String, Value> = (0..=DISRUPTED_MAX).map(|at| (at.to_string(), NOW.into())).collect();
        let mut full = status(1, 4, 3);
        full["disruptedPods"] = many.into();
        assert_eq!(disrupt(budget(json!({}), full), &ready(true), NOW).unwrap_err().code, 403);
    }
}
