//! A pod's status: what goes together in it, and what may become of a container that has ended.

use serde_json::{Value, json};

use crate::kinds::field::Field;
use crate::kinds::row::list;
use crate::kinds::shape::{Object, PLAIN, Shape, is_absent};

/// Addresses stand in a field for one and a field for several; they say the same.
pub(super) static STATUS: Shape = Shape {
    rule: Some(|status| {
        same_address(status, "podIP", "podIPs");
        same_address(status, "hostIP", "hostIPs");
    }),
    ..PLAIN
};

fn same_address(status: &mut Object, one: &str, several: &str) {
    let first = status.get(several).and_then(|all| all.get(0)).map(|first| first["ip"].clone());
    if is_absent(status, one) {
        if let Some(first) = first {
            status.insert(one.to_owned(), first);
        }
    } else if first.as_ref() != status.get(one) {
        let only = json!([{"ip": status[one]}]);
        status.insert(several.to_owned(), only);
    }
}

/// A report on a pod may leave out what the server has found itself.
pub(super) fn keep_class(pod: &mut Value, old: &Value) {
    if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut)
        && is_absent(status, "qosClass")
        && let Some(class) = old["status"].get("qosClass")
    {
        status.insert("qosClass".to_owned(), class.clone());
    }
}

/// A container that has ended and may not be started again stays as it ended.
pub(super) fn rules(pod: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, status, before) = (pod.get("spec"), pod.get("status"), old.get("status"));
    for (statuses, containers) in [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")] {
        let now = status.get(statuses);
        for (index, was) in list(before.get(statuses).value()).iter().enumerate() {
            let ended = &was["state"]["terminated"];
            let is = list(now.value()).iter().find(|is| is["name"] == was["name"]);
            let goes_on = is.is_some_and(|is| !is["state"]["terminated"].is_object());
            if !ended.is_object() || !goes_on {
                continue;
            }
            let container = list(spec.value().get(containers).unwrap_or(&Value::Null))
                .iter()
                .find(|one| one["name"] == was["name"]);
            let own = container.and_then(|container| container["restartPolicy"].as_str());
            let has_rules = container.is_some_and(|container| !list(&container["restartPolicyRules"]).is_empty());
            let again = match own.unwrap_or(spec.get("restartPolicy").text()) {
                "Never" => has_rules,
                "OnFailure" => has_rules || ended["exitCode"] != 0,
                _ => true,
            };
            if !again {
                let field = format!("{now}[{index}].state");
                let detail = "may not be transitioned to non-terminated state";
                now.report(crate::error::FieldError::forbidden(field, detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::pod::POD;
    use crate::registry::Transition;
    use serde_json::{Value, json};

    #[test]
    fn what_has_ended_stays_ended() {
        let running = json!([{"name": "c", "state": {"running": {}}}]);
        let ended = |code: i64| json!([{"name": "c", "state": {"terminated": {"exitCode": code}}}]);
        for (policy, before, after, fine) in [
            ("Always", ended(0), running.clone(), true),
            ("OnFailure", ended(1), running.clone(), true),
            ("OnFailure", ended(0), running.clone(), false),
            ("Never", ended(1), running.clone(), false),
            ("Never", ended(1), ended(1), true),
            ("Never", ended(1), json!([]), true),
            ("Never", running.clone(), ended(1), true),
        ] {
            let pod = |statuses: &Value| json!({"spec": {"restartPolicy": policy, "containers": [{"name": "c"}]}, "status": {"containerStatuses": statuses}});
            let (new, old) = (pod(&after), pod(&before));
            let found = POD.info().strategy.validate(&Transition { new: &new, old: Some(&old), subresource: "status" });
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let refused =
                "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
            assert_eq!(found, if fine { vec![] } else { vec![refused] }, "{policy} {before} {after}");
        }
    }

    #[test]
    fn addresses_go_together_and_the_class_stays() {
        let filled = |status: Value| {
            let mut pod = json!({"spec": {}, "status": status});
            POD.defaults.fill(&mut pod);
            pod["status"].take()
        };
        assert_eq!(filled(json!({"podIP": "a"})), json!({"podIP": "a", "podIPs": [{"ip": "a"}]}));
        assert_eq!(filled(json!({"podIPs": [{"ip": "a"}, {"ip": "b"}]}))["podIP"], "a");
        assert_eq!(filled(json!({"podIP": "b", "podIPs": [{"ip": "a"}]}))["podIPs"], json!([{"ip": "b"}]));
        let mut pod = json!({"status": {"phase": "Running"}});
        POD.info().strategy.prepare_update(&mut pod, &json!({"status": {"qosClass": "Burstable"}}));
        assert_eq!(pod["status"], json!({"phase": "Running", "qosClass": "Burstable"}));
    }
}
