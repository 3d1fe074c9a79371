//! Pods bear with a node that fails for a while.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Admission, Write};
use crate::error::Status;
use crate::request::Verb;

/// The taints of a node that is not ready, or not heard of.
const FAILURES: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const NO_EXECUTE: &str = "NoExecute";

/// Pods that do not say how long they bear with a node that is not ready, or not heard of, bear with it for so long; only
/// then are they moved. Upstream's admission plugin of the same name, with its five minutes as the default.
#[derive(Clone, Copy, Debug)]
pub struct DefaultTolerationSeconds {
    not_ready_seconds: i64,
    unreachable_seconds: i64,
}

impl DefaultTolerationSeconds {
    /// For so long.
    pub fn new(not_ready_seconds: i64, unreachable_seconds: i64) -> Self {
        Self { not_ready_seconds, unreachable_seconds }
    }

    fn add(&self, spec: &mut Value) {
        let Some(spec) = spec.as_object_mut() else {
            return;
        };
        let present = spec.get("tolerations").and_then(Value::as_array);
        let mut tolerations = present.cloned().unwrap_or_default();
        let before = tolerations.len();
        for (taint, seconds) in FAILURES.iter().zip([self.not_ready_seconds, self.unreachable_seconds]) {
            if !tolerations.iter().any(|toleration| bears_with(toleration, taint)) {
                tolerations.push(json!({
                    "key": taint, "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": seconds,
                }));
            }
        }
        if tolerations.len() > before {
            spec.insert("tolerations".to_owned(), tolerations.into());
        }
    }
}

/// Five minutes.
impl Default for DefaultTolerationSeconds {
    fn default() -> Self {
        Self::new(300, 300)
    }
}

/// Whether the pod has said something about this taint.
fn bears_with(toleration: &Value, taint: &str) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    let about = text("key").is_empty() || text("key") == taint;
    about && matches!(text("effect"), "" | NO_EXECUTE)
}

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        let is_pod = write.resource.group.is_empty() && write.resource.plural == "pods";
        let changes = matches!(write.verb, Verb::Create | Verb::Update);
        if is_pod
            && changes
            && write.subresource.is_empty()
            && let Some(spec) = write.object.get_mut("spec")
        {
            self.add(spec);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_says_itself_stays() {
        let ours =
            |taint: &str| json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        let [not_ready, unreachable] = FAILURES;
        for (given, expected) in [
            (json!({}), json!([ours(not_ready), ours(unreachable)])),
            (
                json!({"tolerations": [{"key": not_ready, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]}),
                json!([
                    {"key": not_ready, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
                    ours(unreachable),
                ]),
            ),
            (
                json!({"tolerations": [{"key": not_ready, "operator": "Exists", "effect": "NoSchedule"}]}),
                json!([
                    {"key": not_ready, "operator": "Exists", "effect": "NoSchedule"},
                    ours(not_ready),
                    ours(unreachable),
                ]),
            ),
            (json!({"tolerations": [{"operator": "Exists"}]}), json!([{"operator": "Exists"}])),
        ] {
            let mut spec = given.clone();
            DefaultTolerationSeconds::default().add(&mut spec);
            assert_eq!(spec["tolerations"], expected, "{given}");
            let once = spec.clone();
            DefaultTolerationSeconds::default().add(&mut spec);
            assert_eq!(spec, once, "a second time changes nothing");
        }
    }
}
