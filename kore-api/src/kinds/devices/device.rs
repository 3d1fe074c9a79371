//! One device in a ResourceSlice.

use serde_json::Value;

use super::slice::{counters, place};
use super::{attribute_name, label, unique};
use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::quantity::Quantity;
use crate::kinds::row::list;
use crate::kinds::{meta, names};

const MAX_ATTRIBUTES: usize = 32;
const MAX_ATTRIBUTE_BYTES: usize = 64;
const MAX_TAINTS: usize = 16;
const MAX_CONSUMED_SETS: usize = 2;

/// A device; `each_says_where`: it, and not its slice, says where it is.
pub(super) fn rules(device: &Field<'_, '_>, each_says_where: bool) {
    label(&device.get("name"));
    let (attributes, capacity) = (device.get("attributes"), device.get("capacity"));
    let count = attributes.len() + capacity.len();
    if count > MAX_ATTRIBUTES {
        let detail = format!("the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES}");
        device.report(FieldError::invalid(device.path(), count, detail));
    }
    for (name, one) in attributes.entries() {
        attribute_name(&one, name, false);
        attribute(&one);
    }
    let shared = device.get("allowMultipleAllocations").flag();
    for (name, one) in capacity.entries() {
        attribute_name(&one, name, false);
        let policy = one.get("requestPolicy");
        if policy.is_set() && !shared {
            policy.forbidden("allowMultipleAllocations must be true");
        } else if policy.is_set() {
            request_policy(&policy, &one.value()["value"]);
        }
    }
    let (taints, consumed) = (device.get("taints"), device.get("consumesCounters"));
    if taints.at_most(MAX_TAINTS) {
        taints.items().for_each(|one| taint(&one));
    }
    if consumed.at_most(MAX_CONSUMED_SETS) {
        for one in consumed.items() {
            if one.get("counterSet").required() {
                label(&one.get("counterSet"));
            }
            counters(&one.get("counters"));
        }
        unique(&consumed, |one| one.get("counterSet").text().to_owned());
    }
    let says_where = ["nodeName", "nodeSelector", "allNodes"].iter().any(|field| device.get(field).is_set());
    if each_says_where {
        place(device, false);
    } else if says_where {
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the \
                      ResourceSlice spec";
        device.report(FieldError::invalid(device.path(), Value::Null, detail));
    }
}

fn attribute(attribute: &Field<'_, '_>) {
    const VALUES: [&str; 8] = ["bool", "bools", "int", "ints", "string", "strings", "version", "versions"];
    if VALUES.iter().filter(|value| attribute.get(value).is_set()).count() != 1 {
        attribute.invalid("exactly one value must be specified");
    }
    let long = |text: &Field<'_, '_>| {
        if text.len() > MAX_ATTRIBUTE_BYTES {
            text.report(FieldError::too_long(text.path(), MAX_ATTRIBUTE_BYTES));
        }
    };
    long(&attribute.get("string"));
    attribute.get("strings").items().for_each(|one| long(&one));
    let version = |version: &Field<'_, '_>| {
        if !is_version(version.text()) {
            version.invalid("must be a string compatible with semver.org spec 2.0.0");
        }
        long(version);
    };
    if attribute.get("version").is_set() {
        version(&attribute.get("version"));
    }
    attribute.get("versions").items().for_each(|one| version(&one));
}

/// Whether `text` is a version as semver.org has it: `1.2.3-rc.1+build`.
fn is_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (text, before) = text.split_once('-').map_or((text, None), |(text, before)| (text, Some(before)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let word = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    text.split('.').count() == 3
        && text.split('.').all(number)
        && before.is_none_or(|all| all.split('.').all(|part| word(part) && (!digits(part) || number(part))))
        && build.is_none_or(|all| all.split('.').all(word))
}

fn taint(taint: &Field<'_, '_>) {
    meta::label_key(&taint.get("key"));
    taint.get("value").named(names::label_value);
    taint.get("effect").required_one_of(&["NoExecute", "NoSchedule", "None"]);
}

/// How much of a capacity can be asked for at once.
fn request_policy(policy: &Field<'_, '_>, capacity: &Value) {
    let (default, values, range) = (policy.get("default"), policy.get("validValues"), policy.get("validRange"));
    let most = Quantity::of(capacity);
    match (values.len() > 0, range.is_set()) {
        (true, true) => policy.forbidden(
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
        ),
        (true, false) if !default.is_set() => default.missing("required when validValues is defined"),
        (false, true) if !default.is_set() => default.missing("required when validRange is defined"),
        (true, false) => {
            let usual = Quantity::of(default.value());
            let all: Vec<Option<Quantity>> = list(values.value()).iter().map(Quantity::of).collect();
            for (index, value) in values.items().enumerate() {
                if index > 0 && all[index] < all[index - 1] {
                    value.invalid("values must be sorted in ascending order");
                }
                if all[index] > most {
                    value.invalid(format!("option is larger than capacity value: {}", shown(capacity)));
                }
            }
            if !all.contains(&usual) {
                let detail = "default value is not valid according to the requestPolicy";
                values.report(FieldError::invalid(values.path(), default.value().clone(), detail));
            }
        }
        (false, true) => within(&range, default.value(), capacity),
        (false, false) => {}
    }
}

fn within(range: &Field<'_, '_>, default: &Value, capacity: &Value) {
    let (low, high) = (range.get("min"), range.get("max"));
    if !low.is_set() {
        low.missing("required when validRange is defined");
        return;
    }
    let [least, most, usual, all] = [low.value(), high.value(), default, capacity].map(Quantity::of);
    let wrong = |field: &Field<'_, '_>, value: &Value, detail: String| {
        field.report(FieldError::invalid(field.path(), value.clone(), detail));
    };
    if least > all {
        wrong(&low, low.value(), format!("min is larger than capacity value: {}", shown(capacity)));
    }
    if usual < least {
        wrong(&low, default, format!("default is less than min: {}", shown(low.value())));
    }
    if !high.is_set() {
        return;
    }
    if least > most {
        wrong(&high, low.value(), format!("min is larger than max: {}", shown(high.value())));
    }
    if most > all {
        wrong(&high, high.value(), format!("max is larger than capacity value: {}", shown(capacity)));
    }
    if usual > most {
        wrong(&high, default, format!("default is more than max: {}", shown(high.value())));
    }
}

/// A quantity is shown as text, however it was written.
fn shown(quantity: &Value) -> String {
    quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::RESOURCE_SLICE;
    use super::super::slice::tests::slice;
    use super::*;
    use crate::kinds::testing::errors;
    use serde_json::json;

    #[test]
    fn versions() {
        for good in ["1.2.3", "0.0.0", "1.0.0-rc.1", "1.0.0-alpha-1+build.01"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", "1.2.3+"] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn what_a_device_may_not_say() {
        for (device, expected) in [
            (
                json!({
                    "name": "a", "attributes": {"model": {"string": "x"}, "example.com/version": {"version": "1.0.0"}},
                    "capacity": {"memory": {"value": "8Gi"}}, "taints": [{"key": "broken", "effect": "NoSchedule"}],
                }),
                vec![],
            ),
            (
                json!({"name": "a", "attributes": {"model": {}, "v": {"version": "1"}}, "taints": [{"key": "a", "effect": "Odd"}]}),
                vec![
                    "spec.devices[0].attributes[model]: Invalid value: {}: exactly one value must be specified",
                    "spec.devices[0].attributes[v].version: Invalid value: \"1\": must be a string compatible with semver.org spec \
                     2.0.0",
                    "spec.devices[0].taints[0].effect: Unsupported value: \"Odd\": supported values: \"NoExecute\", \"NoSchedule\", \
                     \"None\"",
                ],
            ),
            (
                json!({"name": "a", "capacity": {"memory": {"value": "8Gi", "requestPolicy": {"default": "1Gi"}}}}),
                vec![
                    "spec.devices[0].capacity[memory].requestPolicy: Forbidden: allowMultipleAllocations must be true",
                ],
            ),
            (
                json!({"name": "a", "allowMultipleAllocations": true, "capacity": {"memory": {
                    "value": "8Gi", "requestPolicy": {"default": "1Gi", "validRange": {"min": "2Gi", "max": "9Gi"}}}}}),
                vec![
                    "spec.devices[0].capacity[memory].requestPolicy.validRange.min: Invalid value: \"1Gi\": default is less than \
                     min: 2Gi",
                    "spec.devices[0].capacity[memory].requestPolicy.validRange.max: Invalid value: \"9Gi\": max is larger than \
                     capacity value: 8Gi",
                ],
            ),
            (
                json!({"name": "a", "nodeName": "n"}),
                vec![
                    "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if \
                     `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                ],
            ),
        ] {
            assert_eq!(errors(&RESOURCE_SLICE, &slice(&json!({"devices": [device]}))), expected, "{device}");
        }
    }
}
