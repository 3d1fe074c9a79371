//! What the kinds that keep pods running have in common: a selector, and the template of the pods it selects.

use serde_json::Value;

use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::meta;
use crate::kinds::pod::template;
use crate::kinds::shape::Object;

/// How a kind is called in what is said of its selector and its template.
pub(super) struct Words {
    selector: &'static str,
    template: &'static str,
}

// Upstream calls a ReplicaSet's selector a Deployment's, and a Deployment's template a ReplicaSet's.
pub(super) const DEPLOYMENT: Words = Words { selector: "deployment", template: "ReplicaSet" };
pub(super) const STATEFUL_SET: Words = Words { selector: "statefulset", template: "StatefulSet" };
pub(super) const DAEMON_SET: Words = Words { selector: "daemonset", template: "DaemonSet" };
pub(super) const REPLICATION_CONTROLLER: Words = Words { selector: "", template: "ReplicationController" };

/// The selector must select just the pods that the template makes, and they must run for ever.
pub(super) fn selector_and_template(spec: &Field<'_, '_>, words: &Words) {
    let template_field = spec.get("template");
    required_selector(spec, words);
    if !template_field.is_set() {
        template_field.missing("");
        return;
    }
    selected(spec);
    template(&template_field);
    for_ever(&template_field, words);
}

/// There must be a selector, and it must say something.
pub(super) fn required_selector(spec: &Field<'_, '_>, words: &Words) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        selector.missing("");
        return;
    }
    meta::selector(&selector);
    if meta::is_empty(&selector) {
        selector.invalid(format!("empty selector is invalid for {}", words.selector));
    }
}

/// The labels of the template must be among those selected.
pub(super) fn selected(spec: &Field<'_, '_>) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_set()
        && !meta::is_empty(&selector)
        && meta::matches(selector.value(), template.get("metadata").get("labels").value()) == Some(false)
    {
        not_selected(&template);
    }
}

/// The labels of the template are not among those selected.
pub(super) fn not_selected(template: &Field<'_, '_>) {
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    let shown = if labels.is_set() { labels.value().clone() } else { Value::Object(Object::new()) };
    labels.report(FieldError::invalid(labels.path(), shown, "`selector` does not match template `labels`"));
}

/// Pods of the template are started again when they end.
pub(super) fn for_ever(template: &Field<'_, '_>, words: &Words) {
    let pod = template.get("spec");
    let restart = pod.get("restartPolicy");
    // What is no restart policy at all is reported with the rest of the template.
    if matches!(restart.text(), "OnFailure" | "Never") {
        restart.one_of(&["Always"]);
    }
    let deadline = pod.get("activeDeadlineSeconds");
    if deadline.is_set() {
        deadline.forbidden(format!("activeDeadlineSeconds in {} is not Supported", words.template));
    }
}
