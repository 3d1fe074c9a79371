//! What a ReplicaSet or a Deployment may say.

use super::template::{DEPLOYMENT, selector_and_template};
use crate::kinds::counts::{amount, at_most_all, collisions, not_more, not_negative, number_or_percent};
use crate::kinds::field::Field;

pub(super) fn replica_set(set: &Field<'_, '_>) {
    let spec = set.get("spec");
    spec.get("replicas").not_negative();
    spec.get("minReadySeconds").not_negative();
    selector_and_template(&spec, &DEPLOYMENT);
}

pub(super) fn deployment(deployment: &Field<'_, '_>) {
    let spec = deployment.get("spec");
    spec.get("replicas").not_negative();
    selector_and_template(&spec, &DEPLOYMENT);
    strategy(&spec.get("strategy"));
    spec.get("minReadySeconds").not_negative();
    spec.get("revisionHistoryLimit").not_negative();
    let deadline = spec.get("progressDeadlineSeconds");
    if let Some(seconds) = deadline.int() {
        deadline.not_negative();
        if seconds <= spec.get("minReadySeconds").int().unwrap_or_default() {
            deadline.invalid("must be greater than minReadySeconds");
        }
    }
}

fn strategy(strategy: &Field<'_, '_>) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    match kind.text() {
        "Recreate" if rolling.is_set() => {
            rolling.forbidden("may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            let fine = number_or_percent(&unavailable) & number_or_percent(&surge);
            if fine && amount(&unavailable) == 0 && amount(&surge) == 0 {
                unavailable.invalid("may not be 0 when `maxSurge` is 0");
            }
            at_most_all(&unavailable);
        }
        _ => {
            kind.required_one_of(&["Recreate", "RollingUpdate"]);
        }
    }
}

pub(super) fn same_selector(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    new.get("spec").get("selector").immutable(&old.get("spec").get("selector"));
}

pub(super) fn replica_set_status(set: &Field<'_, '_>, _old: &Field<'_, '_>) {
    let status = set.get("status");
    let counts = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
    not_negative(&status, &counts);
    not_more(&status, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], "replicas");
    not_more(&status, &["availableReplicas"], "readyReplicas");
}

pub(super) fn deployment_status(deployment: &Field<'_, '_>, old: &Field<'_, '_>) {
    let status = deployment.get("status");
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ];
    not_negative(&status, &counts);
    not_more(&status, &["updatedReplicas", "readyReplicas", "availableReplicas"], "replicas");
    not_more(&status, &["availableReplicas"], "readyReplicas");
    status.get("collisionCount").not_negative();
    collisions(&status, &old.get("status"));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::scaled::DEPLOYMENT;
    use crate::kinds::scaled::tests::smallest;
    use crate::kinds::testing::{errors, errors_of_change, with};
    use crate::registry::Transition;

    #[test]
    fn what_a_deployment_may_not_say() {
        let rolling = |unavailable: Value, surge: Value| json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}});
        for (changes, expected) in [
            (
                json!({"spec": {"replicas": -1}}),
                vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (json!({"spec": {"selector": null}}), vec!["spec.selector: Required value"]),
            (
                json!({"spec": {"selector": {"matchLabels": null}}}),
                vec!["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
            ),
            (
                json!({"spec": {"template": {"metadata": {"labels": {"app": "db"}}}}}),
                vec![
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                json!({"spec": {"template": {"metadata": null}}}),
                vec!["spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"],
            ),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}}}),
                vec![
                    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
                ],
            ),
            (
                json!({"spec": {"strategy": {"type": "Recreate"}}}),
                vec!["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
            ),
            (
                json!({"spec": {"strategy": {"type": "Blue"}}}),
                vec![
                    "spec.strategy.type: Unsupported value: \"Blue\": supported values: \"Recreate\", \"RollingUpdate\"",
                ],
            ),
            (
                rolling(json!(0), json!("0%")),
                vec!["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
            ),
            (
                rolling(json!("101%"), json!(0)),
                vec![
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                ],
            ),
            (
                json!({"spec": {"minReadySeconds": 600}}),
                vec!["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
            ),
            (
                json!({"spec": {"replicas": -2, "revisionHistoryLimit": -3}}),
                vec![
                    "spec.replicas: Invalid value: -2: must be greater than or equal to 0",
                    "spec.revisionHistoryLimit: Invalid value: -3: must be greater than or equal to 0",
                ],
            ),
            (rolling(json!("x%"), json!(-1)), vec![]),
        ] {
            let found = errors(&DEPLOYMENT, &with(&smallest(), &changes));
            if expected.is_empty() {
                assert_eq!(found.len(), 2, "{found:?}");
            } else {
                assert_eq!(found, expected, "{changes}");
            }
        }
    }

    #[test]
    fn labels_of_a_template_are_checked() {
        let found = errors(
            &DEPLOYMENT,
            &with(&smallest(), &json!({"spec": {"template": {"metadata": {"labels": {"x": "-"}}}}})),
        );
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("spec.template.labels: Invalid value: \"-\": a valid label must be"), "{found:?}");
    }

    #[test]
    fn the_selector_stays() {
        let new = with(
            &smallest(),
            &json!({"spec": {"selector": {"matchLabels": {"app": null, "tier": "x"}},
            "template": {"metadata": {"labels": {"tier": "x"}}}}}),
        );
        assert_eq!(
            errors_of_change(&DEPLOYMENT, &new, &smallest()),
            ["spec.selector: Invalid value: {\"matchLabels\":{\"tier\":\"x\"}}: field is immutable",]
        );
    }

    #[test]
    fn counts_in_a_status_fit_together() {
        let old = json!({"status": {"collisionCount": 2}});
        let new = json!({"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": -1, "collisionCount": 1}});
        let transition = Transition { new: &new, old: Some(&old), subresource: "status" };
        let found: Vec<String> =
            DEPLOYMENT.info().strategy.validate(&transition).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "status.availableReplicas: Invalid value: -1: must be greater than or equal to 0",
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.collisionCount: Invalid value: 1: cannot be decremented",
            ]
        );
    }
}
