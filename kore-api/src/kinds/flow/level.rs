//! PriorityLevelConfiguration.

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;
use serde_json::Value;

use super::{EXEMPT, conditions};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::{Nonzero, Number};
use crate::kinds::shape::{Object, PLAIN, Shape, object_in};
use crate::object::ResourceType;

const MAX_QUEUES: i64 = 10_000_000;
/// A hand of queues is dealt with so many bits.
const MAX_HAND_BITS: u32 = 60;

pub(crate) static PRIORITY_LEVEL: Entry = Entry {
    has_generation: true,
    columns: &[
        NAME,
        Title("Type", "string", "Whether its requests may have to wait.", 0),
        Title("NominalConcurrencyShares", "string", "Its part of what is served at once.", 0),
        Title("Queues", "string", "In how many queues they wait.", 0),
        Title("HandSize", "string", "Among how many queues one of them chooses.", 0),
        Title("QueueLengthLimit", "string", "How many wait in a queue at most.", 0),
        AGE,
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, status: |level, _| conditions(level), ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<PriorityLevelConfiguration>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { rule: Some(exempt), parts: &[("exempt", &FREE), ("limited", &LIMITED)], ..PLAIN };
static FREE: Shape = Shape { set: &[("nominalConcurrencyShares", Number(0)), ("lendablePercent", Number(0))], ..PLAIN };
static LIMITED: Shape = Shape {
    set: &[("nominalConcurrencyShares", Number(30)), ("lendablePercent", Number(0))],
    parts: &[("limitResponse", &RESPONSE)],
    ..PLAIN
};
static RESPONSE: Shape = Shape { parts: &[("queuing", &QUEUING)], ..PLAIN };
static QUEUING: Shape =
    Shape { set: &[("handSize", Nonzero(8)), ("queues", Nonzero(64)), ("queueLengthLimit", Nonzero(50))], ..PLAIN };

fn exempt(spec: &mut Object) {
    if spec.get("type").and_then(Value::as_str) == Some("Exempt") {
        object_in(spec, "exempt");
    }
}

fn always(level: &Field<'_, '_>) {
    let (metadata, spec) = (level.get("metadata"), level.get("spec"));
    let (kind, exempt, limited) = (spec.get("type"), spec.get("exempt"), spec.get("limited"));
    if (metadata.get("name").text() == EXEMPT) != (kind.text() == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        kind.report(FieldError::invalid(kind.path(), kind.text(), detail));
    }
    match kind.text() {
        "Exempt" => {
            if limited.is_set() {
                limited.forbidden("must be nil if the type is not Limited");
            }
            shares(&exempt);
        }
        "Limited" => {
            if exempt.is_set() {
                exempt.forbidden("must be nil if the type is Limited");
            }
            if limited.is_set() {
                shares(&limited);
                not_below_zero(&limited.get("borrowingLimitPercent"), "if specified, must be a non-negative integer");
                response(&limited.get("limitResponse"));
            } else {
                limited.missing("must not be empty when type is Limited");
            }
        }
        _ => kind.report(FieldError::not_supported(kind.path(), kind.text(), &["Exempt", "Limited"])),
    }
}

fn shares(part: &Field<'_, '_>) {
    not_below_zero(&part.get("nominalConcurrencyShares"), "must be a non-negative integer");
    part.get("lendablePercent").within(0, 100);
}

fn not_below_zero(field: &Field<'_, '_>, problem: &str) {
    if field.int().is_some_and(|number| number < 0) {
        field.invalid(problem);
    }
}

fn response(response: &Field<'_, '_>) {
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match kind.text() {
        "Reject" if queuing.is_set() => queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"),
        "Reject" => {}
        "Queue" if queuing.is_set() => queues(&queuing),
        "Queue" => queuing.missing("must not be empty if limited.limitResponse.type is Limited"),
        _ => kind.report(FieldError::not_supported(kind.path(), kind.text(), &["Queue", "Reject"])),
    }
}

fn queues(queuing: &Field<'_, '_>) {
    let (length, queues, hand) = (queuing.get("queueLengthLimit"), queuing.get("queues"), queuing.get("handSize"));
    let number = |field: &Field<'_, '_>| field.int().unwrap_or_default();
    if number(&length) <= 0 {
        length.invalid("must be positive");
    }
    if number(&queues) <= 0 {
        queues.invalid("must be positive");
    } else if number(&queues) > MAX_QUEUES {
        queues.invalid(format!("must not be greater than {MAX_QUEUES}"));
    }
    let (deck, size) = (number(&queues), number(&hand));
    if size <= 0 {
        hand.invalid("must be positive");
    } else if size > deck {
        hand.invalid(format!("should not be greater than queues ({deck})"));
    } else if bits(deck, size) > MAX_HAND_BITS {
        hand.invalid(format!(
            "required entropy bits of deckSize {deck} and handSize {size} should not be greater than {MAX_HAND_BITS}"
        ));
    }
}

/// How many bits tell all hands of `size` out of a deck apart, in order.
fn bits(deck: i64, size: i64) -> u32 {
    let bits: f64 = (0..size.min(i64::from(MAX_HAND_BITS) + 1)).map(|dealt| ((deck - dealt) as f64).log2()).sum();
    bits.ceil() as u32
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let number = |field: &str| match row.at(&format!("/spec/limited/{field}")) {
        Value::Number(number) => Value::Number(number.clone()),
        _ => "<none>".into(),
    };
    vec![
        row.name(),
        row.text("/spec/type").into(),
        number("nominalConcurrencyShares"),
        number("limitResponse/queuing/queues"),
        number("limitResponse/queuing/handSize"),
        number("limitResponse/queuing/queueLengthLimit"),
        row.age(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors};
    use serde_json::json;

    fn level(name: &str, spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": name}, "spec": spec});
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_level_may_not_say() {
        let queue = |queuing: Value| json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}});
        for (name, spec, expected) in [
            ("low", queue(json!({})), vec![]),
            ("exempt", json!({"type": "Exempt"}), vec![]),
            (
                "low",
                json!({"type": "Exempt", "limited": {"limitResponse": {"type": "Reject"}}}),
                vec![
                    "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
                    "spec.limited: Forbidden: must be nil if the type is not Limited",
                ],
            ),
            (
                "low",
                json!({"type": "Limited"}),
                vec!["spec.limited: Required value: must not be empty when type is Limited"],
            ),
            (
                "low",
                queue(json!({"queues": 4, "handSize": 5})),
                vec![
                    "spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)",
                ],
            ),
            (
                "low",
                queue(json!({"queues": 512, "handSize": 8})),
                vec![
                    "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and \
                     handSize 8 should not be greater than 60",
                ],
            ),
        ] {
            assert_eq!(errors(&PRIORITY_LEVEL, &level(name, spec.clone())), expected, "{spec}");
        }
        let low = level("low", queue(json!({})));
        assert_eq!(cells(&PRIORITY_LEVEL, &low)[1..6], [json!("Limited"), json!(30), json!(64), json!(8), json!(50)]);
        let exempt = level("exempt", json!({"type": "Exempt"}));
        assert_eq!(exempt["spec"]["exempt"], json!({"nominalConcurrencyShares": 0, "lendablePercent": 0}));
        assert_eq!(cells(&PRIORITY_LEVEL, &exempt)[2], "<none>");
    }
}
