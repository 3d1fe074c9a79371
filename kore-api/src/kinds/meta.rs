//! Rules of metadata that stand inside a kind's own fields: labels, annotations and selectors of templates.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as typed;
use serde::Deserialize;
use serde_json::Value;

use super::field::Field;
use super::names;
use crate::error::FieldError;
use crate::selector::LabelSelector;

/// All annotations of an object together may have so many bytes.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// A map of labels.
pub(crate) fn labels(labels: &Field<'_, '_>) {
    for (key, value) in labels.entries() {
        for problem in names::qualified_name(key) {
            labels.report(FieldError::invalid(labels.path(), key, problem));
        }
        for problem in names::label_value(value.text()) {
            labels.report(FieldError::invalid(labels.path(), value.text(), problem));
        }
    }
}

/// A map of annotations.
pub(crate) fn annotations(annotations: &Field<'_, '_>) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        for problem in names::qualified_name(&key.to_lowercase()) {
            annotations.report(FieldError::invalid(annotations.path(), key, problem));
        }
        bytes += key.len() + value.len();
    }
    if bytes > MAX_ANNOTATION_BYTES {
        annotations.report(FieldError::too_long(annotations.path(), MAX_ANNOTATION_BYTES));
    }
}

/// A `LabelSelector`.
pub(crate) fn selector(selector: &Field<'_, '_>) {
    labels(&selector.get("matchLabels"));
    for expression in selector.get("matchExpressions").items() {
        let (operator, values) = (expression.get("operator"), expression.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() == 0 => {
                values.missing("must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if values.len() > 0 => {
                values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Exists" | "DoesNotExist" => {}
            _ => operator.invalid("not a valid selector operator"),
        }
        label_key(&expression.get("key"));
        for value in values.items() {
            value.named(names::label_value);
        }
    }
}

/// The longest message of a condition.
const MAX_MESSAGE_BYTES: usize = 32 * 1024;
const MAX_REASON_BYTES: usize = 1024;

/// A list of the conditions that all kinds share, as those of a PodDisruptionBudget.
pub(crate) fn conditions(conditions: &Field<'_, '_>) {
    let mut seen = std::collections::BTreeSet::new();
    for condition in conditions.items() {
        let kind = condition.get("type");
        if !seen.insert(kind.text()) {
            kind.duplicate();
        }
        label_key(&kind);
        let status = condition.get("status");
        if !matches!(status.text(), "False" | "True" | "Unknown") {
            let known = ["False", "True", "Unknown"];
            status.report(FieldError::not_supported(status.path(), status.text(), &known));
        }
        let generation = condition.get("observedGeneration");
        if generation.int().is_some_and(|generation| generation < 0) {
            generation.invalid("must be greater than or equal to zero");
        }
        condition.get("lastTransitionTime").required();
        let (reason, message) = (condition.get("reason"), condition.get("message"));
        if reason.required() && !is_reason(reason.text()) {
            reason.invalid(
                "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
                 characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or \
                 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
                 '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')",
            );
        }
        for (field, most) in [(reason, MAX_REASON_BYTES), (message, MAX_MESSAGE_BYTES)] {
            if field.len() > most {
                field.report(FieldError::too_long(field.path(), most));
            }
        }
    }
}

fn is_reason(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b',' | b':');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(inner)
        && text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

/// A field that holds a label's key; empty is wrong.
pub(crate) fn label_key(key: &Field<'_, '_>) {
    for problem in names::qualified_name(key.text()) {
        key.report(FieldError::invalid(key.path(), key.text(), problem));
    }
}

/// Whether a selector selects everything.
pub(crate) fn is_empty(selector: &Field<'_, '_>) -> bool {
    selector.get("matchLabels").len() + selector.get("matchExpressions").len() == 0
}

/// Whether a `LabelSelector` matches a map of labels; `None` if it is no valid selector.
pub(crate) fn matches(selector: &Value, labels: &Value) -> Option<bool> {
    let typed = typed::LabelSelector::deserialize(selector).ok()?;
    let selector = LabelSelector::from_api(&typed).ok()?;
    Some(selector.matches(|key| labels.get(key).and_then(Value::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::json;

    #[test]
    fn selectors_are_checked_as_a_whole() {
        let object = json!({"selector": {
            "matchLabels": {"a b": "c"},
            "matchExpressions": [
                {"key": "a", "operator": "In"},
                {"key": "a", "operator": "Exists", "values": ["x"]},
                {"key": "a", "operator": "Near"},
                {"key": "a", "operator": "In", "values": ["x", "-"]},
            ],
        }});
        let errors = check(&object, &Value::Null, |root, _| selector(&root.get("selector")));
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "selector.matchLabels",
                "selector.matchExpressions[0].values",
                "selector.matchExpressions[1].values",
                "selector.matchExpressions[2].operator",
                "selector.matchExpressions[3].values[1]",
            ]
        );
    }

    #[test]
    fn a_selector_is_matched_with_labels() {
        let selector = json!({"matchLabels": {"app": "web"}});
        assert_eq!(matches(&selector, &json!({"app": "web", "x": "y"})), Some(true));
        assert_eq!(matches(&selector, &json!({"app": "db"})), Some(false));
        assert_eq!(matches(&selector, &Value::Null), Some(false));
        assert_eq!(matches(&json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), &json!({})), None);
    }
}
