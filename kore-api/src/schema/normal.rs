//! The form in which a built-in object is stored and served.

use serde_json::{Map, Value};

use super::check::schema_props;
use super::{Node, Schema, quantity};
use crate::facts::{Field, Shape, Special, Type};

/// Brings a checked value into the form in which upstream would serve it after decoding: unknown fields and nulls are gone,
/// so are empty lists, maps, strings, zeros and `false` where they say the same as absence, quantities and times are in
/// their canonical form; and objects that upstream's types hold by value are there, if empty. A `null` inside a list or a map is the zero of its type, as the Go decoder has it.
///
/// Defaulting may therefore take "not there" as "not set". Values of the wrong type stay as they are: [`check`] reports
/// them. Idempotent.
///
/// [`check`]: super::check()
///
/// ```
/// use kore_api::schema::{Schema, normalize};
/// use serde_json::json;
///
/// let mut pod = json!({"metadata": {"creationTimestamp": null, "labels": {}}, "spec": {
///     "hostNetwork": false, "hostUsers": false, "nope": 1,
///     "containers": [{"name": "a", "args": [], "resources": {"limits": {"cpu": "0.5"}}}]}});
/// normalize(&Schema::of("v1", "Pod").unwrap(), &mut pod);
/// assert_eq!(pod, json!({"metadata": {}, "status": {}, "spec": {
///     "hostUsers": false,
///     "containers": [{"name": "a", "resources": {"limits": {"cpu": "500m"}}}]}}));
/// ```
pub fn normalize(schema: &Schema, value: &mut Value) {
    match schema.node() {
        Node::Object(found) => object(found, value),
        Node::Shape(inner) => shape(inner, value),
    }
}

/// Brings the quantities, times and numbers of a value into their canonical form, as [`normalize`] does, and leaves everything else as
/// it is: what an applied configuration states is stated, empty or not.
pub(crate) fn canonicalize(schema: &Schema, value: &mut Value) {
    match schema.node() {
        Node::Object(found) if found.special == Special::None => {
            for (name, member) in value.as_object_mut().into_iter().flatten() {
                if let Some(inner) = schema.field(name) {
                    canonicalize(&inner, member);
                }
            }
        }
        Node::Object(_) => {}
        Node::Shape(Shape::List(_)) => {
            let inner = schema.element().expect("a list has elements");
            value.as_array_mut().into_iter().flatten().for_each(|item| canonicalize(&inner, item));
        }
        Node::Shape(Shape::Map(_)) => {
            let inner = schema.element().expect("a map has elements");
            value.as_object_mut().into_iter().flatten().for_each(|(_, member)| canonicalize(&inner, member));
        }
        Node::Shape(scalar) => shape(scalar, value),
    }
}

fn object(found: &'static Type, value: &mut Value) {
    match (found.special, &mut *value) {
        (Special::None, Value::Object(members)) => fields(found, members),
        (_, Value::Object(members)) => fields(schema_props(found), members),
        (Special::SchemaOrArray, Value::Array(items)) => {
            items.iter_mut().for_each(|item| object(schema_props(found), item))
        }
        _ => {}
    }
}

fn fields(found: &'static Type, members: &mut Map<String, Value>) {
    members.retain(|name, member| {
        let Some(field) = found.field(name) else {
            return false;
        };
        if member.is_null() {
            return false;
        }
        shape(&field.shape, member);
        field.always_there || !is_absence(field, member)
    });
    complete(found, members);
}

/// Adds to an object what upstream always writes of it.
pub(crate) fn add_always_there(schema: &Schema, value: &mut Value) {
    if let (Node::Object(found), Value::Object(members)) = (schema.node(), value) {
        complete(found, members);
    }
}

/// Upstream always writes objects that it holds by value, empty ones too, and in them numbers that are never left out.
fn complete(found: &'static Type, members: &mut Map<String, Value>) {
    for field in found.fields.iter().filter(|field| field.always_there) {
        let Shape::Object(inner) = &field.shape else {
            continue;
        };
        let inner = inner.get();
        let is_new = !members.contains_key(field.name);
        let Value::Object(held) = members.entry(field.name).or_insert_with(|| Value::Object(Map::new())) else {
            continue;
        };
        if is_new {
            complete(inner, held);
        }
        for number in inner.fields.iter().filter(|field| matches!(field.shape, Shape::Int32 | Shape::Int64)) {
            if number.required && !held.contains_key(number.name) {
                held.insert(number.name.to_owned(), 0.into());
            }
        }
    }
}

fn shape(shape_here: &'static Shape, value: &mut Value) {
    match (shape_here, &mut *value) {
        (Shape::Object(reference), _) => object(reference.get(), value),
        (Shape::List(inner), Value::Array(items)) => items.iter_mut().for_each(|item| element(inner, item)),
        (Shape::Map(inner), Value::Object(members)) => members.values_mut().for_each(|member| element(inner, member)),
        (Shape::Quantity, Value::String(text)) => {
            if let Ok(canonical) = quantity::canonical(text) {
                *text = canonical;
            }
        }
        (Shape::Quantity, Value::Number(number)) => {
            if let Ok(canonical) = quantity::canonical(&number.to_string()) {
                *value = Value::String(canonical);
            }
        }
        (Shape::Double, Value::Number(number)) => {
            if let Some(number) = number.as_f64() {
                *value = double(number);
            }
        }
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            if let Some(canonical) = canonical_time(text, matches!(shape_here, Shape::MicroTime)) {
                *text = canonical;
            }
        }
        _ => {}
    }
}

fn element(inner: &'static Shape, value: &mut Value) {
    if value.is_null() {
        *value = zero(inner);
    }
    shape(inner, value);
}

/// What stands in a list or a map where nothing was given.
pub(crate) fn zero(inner: &Shape) -> Value {
    match inner {
        Shape::String | Shape::Bytes => Value::String(String::new()),
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => Value::from(0),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Map(_) | Shape::Object(_) => Value::Object(Map::new()),
        Shape::Time | Shape::MicroTime | Shape::Raw | Shape::FieldsV1 | Shape::Json => Value::Null,
    }
}

/// A floating-point number as Go writes it: without a fraction where there is none.
pub(crate) fn double(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { Value::from(number as i64) } else { Value::from(number) }
}

/// Whether a field with this value says the same as a field that is not there.
pub(crate) fn is_absence(field: &Field, value: &Value) -> bool {
    if field.zero_is_value || field.zero_is_kept {
        return false;
    }
    match (value, &field.shape) {
        (Value::Array(items), Shape::List(_)) => items.is_empty(),
        (Value::Object(members), Shape::Map(_)) => members.is_empty(),
        (Value::String(text), Shape::String | Shape::Bytes) => text.is_empty(),
        (Value::Bool(flag), _) => !flag,
        (Value::Number(number), Shape::Int32 | Shape::Int64 | Shape::IntOrString) => number.as_i64() == Some(0),
        (Value::Number(number), Shape::Double) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

/// RFC 3339 in UTC with whole seconds, or with six decimals. `None` if the text is no such time.
pub(crate) fn canonical_time(text: &str, micro: bool) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 20
        || bytes[4] != b'-'
        || bytes[7] != b'-'
        || bytes[10] != b'T'
        || bytes[13] != b':'
        || bytes[16] != b':'
    {
        return None;
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time_text(time.as_second(), time.subsec_nanosecond(), micro))
}

/// The text of seconds and nanoseconds since the epoch; the smallest and largest time there is stand in for what is beyond.
pub(crate) fn time_text(seconds: i64, nanos: i32, micro: bool) -> String {
    let edge = if seconds < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    let time = jiff::Timestamp::new(seconds, nanos.clamp(-999_999_999, 999_999_999)).unwrap_or(edge);
    if micro {
        let fraction = time.as_nanosecond().rem_euclid(1_000_000_000) / 1000;
        format!("{}.{fraction:06}Z", time.strftime("%Y-%m-%dT%H:%M:%S"))
    } else {
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Whether all that one says another says, too, and nothing else but empty objects.
    fn is_within(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => {
                part.iter().all(|(name, value)| whole.get(name).is_some_and(|other| is_within(value, other)))
                    && whole.iter().all(|(name, value)| part.contains_key(name) || is_within(&json!({}), value))
            }
            (Value::Array(part), Value::Array(whole)) => {
                part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_within(part, whole))
            }
            (part, whole) => part == whole,
        }
    }

    #[test]
    fn what_is_always_written() {
        let mut given = json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
        normalize(&Schema::of("apps/v1", "Deployment").expect("built in"), &mut given);
        assert_eq!(
            given,
            json!({"metadata": {}, "status": {}, "spec": {"strategy": {}, "template": {
                "metadata": {}, "spec": {"containers": [{"name": "a", "resources": {}}]},
            }}})
        );
    }

    #[test]
    fn rows() {
        let rows = [
            ("v1", "Pod", json!({"spec": {"containers": []}}), json!({"spec": {"containers": []}})),
            (
                "v1",
                "Pod",
                json!({"spec": {"nodeName": "", "hostNetwork": false, "priority": 0}}),
                json!({"spec": {"priority": 0}}),
            ),
            ("v1", "Pod", json!({"metadata": {"labels": {"a": null}}}), json!({"metadata": {"labels": {"a": ""}}})),
            (
                "v1",
                "Pod",
                json!({"spec": {"volumes": [{"name": "v", "emptyDir": {"medium": ""}}]}}),
                json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            ),
            (
                "v1",
                "Service",
                json!({"spec": {"ports": [{"port": 1, "targetPort": 0}, null]}}),
                json!({"spec": {"ports": [{"port": 1}, {}]}}),
            ),
            (
                "v1",
                "PersistentVolumeClaim",
                json!({"spec": {"storageClassName": ""}}),
                json!({"spec": {"storageClassName": ""}}),
            ),
            (
                "apps/v1",
                "Deployment",
                json!({"spec": {"replicas": 0, "minReadySeconds": 0, "strategy": {}}, "status": {}}),
                json!({"spec": {"replicas": 0, "strategy": {}}, "status": {}}),
            ),
            (
                "v1",
                "Pod",
                json!({"metadata": {"creationTimestamp": "2024-03-01T12:00:00.5+02:00"}}),
                json!({"metadata": {"creationTimestamp": "2024-03-01T10:00:00Z"}}),
            ),
            (
                "coordination.k8s.io/v1",
                "Lease",
                json!({"spec": {"renewTime": "2024-03-01T12:00:00Z"}}),
                json!({"spec": {"renewTime": "2024-03-01T12:00:00.000000Z"}}),
            ),
            ("v1", "Secret", json!({"data": {"a": null}, "stringData": {}}), json!({"data": {"a": ""}})),
            (
                "v1",
                "ResourceQuota",
                json!({"spec": {"hard": {"pods": 10, "memory": "1024Mi"}}}),
                json!({"spec": {"hard": {"pods": "10", "memory": "1Gi"}}}),
            ),
        ];
        for (api_version, kind, mut given, expected) in rows {
            let schema = Schema::of(api_version, kind).expect(kind);
            normalize(&schema, &mut given);
            let mut whole = expected.clone();
            normalize(&schema, &mut whole);
            assert_eq!(given, whole);
            normalize(&schema, &mut given);
            assert_eq!(given, whole, "idempotent");
            // Besides what is expected, there is what is always written.
            assert!(is_within(&expected, &given), "{expected} in {given}");
        }
    }

    #[test]
    fn times_before_the_epoch() {
        assert_eq!(time_text(-1, -500_000_000, true), "1969-12-31T23:59:58.500000Z");
        assert_eq!(canonical_time("1969-12-31T23:59:58.5Z", true).as_deref(), Some("1969-12-31T23:59:58.500000Z"));
        for text in ["", "2024-01-01", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00", "2024-13-01T00:00:00Z"] {
            assert_eq!(canonical_time(text, false), None, "{text}");
        }
    }
}
