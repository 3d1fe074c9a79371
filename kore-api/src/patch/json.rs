//! RFC 6902.

use json_patch::{Patch, PatchErrorKind, PatchOperation, patch_unsafe};
use serde_json::Value;

use super::PatchError;

/// Upstream's limit.
const OPERATIONS_MAX: usize = 10_000;

/// What `copy` and `move` may handle in one patch, in bytes of JSON: a patch that doubles the object with every operation
/// stops here.
const COPIED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// As deep as a body may be.
const DEPTH_MAX: usize = 100;

pub(super) fn apply(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > OPERATIONS_MAX {
        return Err(PatchError::TooLarge { what: "operations:", count, limit: OPERATIONS_MAX });
    }
    let Patch(operations) =
        serde_json::from_value(patch.clone()).map_err(|error| PatchError::Malformed { message: error.to_string() })?;
    let mut patched = target.clone();
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        copied += bounded(index, operation, &patched)?;
        if copied > COPIED_BYTES_MAX {
            return Err(PatchError::TooLarge { what: "bytes to copy:", count: copied, limit: COPIED_BYTES_MAX });
        }
        patch_unsafe(&mut patched, std::slice::from_ref(operation)).map_err(|error| match error.kind {
            PatchErrorKind::TestFailed => PatchError::Test { index, path: error.path.to_string() },
            kind => misfit(index, operation, error.path.to_string(), kind.to_string()),
        })?;
    }
    Ok(patched)
}

fn misfit(index: usize, operation: &PatchOperation, path: String, message: String) -> PatchError {
    let operation = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    // Testing what is not there is a test that fails.
    if operation == "test" {
        PatchError::Test { index, path }
    } else {
        PatchError::Operation { index, operation, path, message }
    }
}

/// Refuses what would nest too deeply; returns the bytes that the operation handles beyond those of the patch.
fn bounded(index: usize, operation: &PatchOperation, document: &Value) -> Result<usize, PatchError> {
    let size = |pointer: &str| document.pointer(pointer).map_or((0, 0), |value| measure(value, 0));
    let ((bytes, depth), handled) = match operation {
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(0),
        PatchOperation::Add(add) => (measure(&add.value, 0), false),
        PatchOperation::Replace(replace) => (measure(&replace.value, 0), false),
        PatchOperation::Move(relocation) => (size(relocation.from.as_str()), true),
        PatchOperation::Copy(copy) => (size(copy.from.as_str()), true),
    };
    let path = operation.path();
    if path.count() + depth > DEPTH_MAX {
        let message = format!("the object would be nested more than {DEPTH_MAX} levels deep");
        return Err(misfit(index, operation, path.to_string(), message));
    }
    Ok(if handled { bytes } else { 0 })
}

/// The approximate size in bytes, and the depth, of a value.
fn measure(value: &Value, depth: usize) -> (usize, usize) {
    let join = |left: (usize, usize), right: (usize, usize)| (left.0 + right.0, left.1.max(right.1));
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| join((name.len() + 4, 0), measure(member, depth + 1)))
            .fold((2, depth + 1), join),
        Value::Array(items) => {
            items.iter().map(|item| join((1, 0), measure(item, depth + 1))).fold((2, depth + 1), join)
        }
        Value::String(text) => (text.len() + 2, depth),
        _ => (8, depth),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows() {
        let target = json!({"a": {"b": [1, 2, 3]}, "x/y": 1, "m~n": 2});
        for (patch, expected) in [
            (json!([]), Ok(target.clone())),
            (
                json!([{"op": "add", "path": "/a/b/-", "value": 4}]),
                Ok(json!({"a": {"b": [1, 2, 3, 4]}, "x/y": 1, "m~n": 2})),
            ),
            (
                json!([{"op": "add", "path": "/a/b/1", "value": 9}, {"op": "remove", "path": "/a/b/0"}]),
                Ok(json!({"a": {"b": [9, 2, 3]}, "x/y": 1, "m~n": 2})),
            ),
            (
                json!([{"op": "replace", "path": "/x~1y", "value": null}, {"op": "remove", "path": "/m~0n"}]),
                Ok(json!({"a": {"b": [1, 2, 3]}, "x/y": null})),
            ),
            (
                json!([{"op": "test", "path": "/a/b/0", "value": 1}, {"op": "move", "from": "/a/b", "path": "/c"}]),
                Ok(json!({"a": {}, "c": [1, 2, 3], "x/y": 1, "m~n": 2})),
            ),
            (
                json!([{"op": "copy", "from": "/x~1y", "path": "/z"}]),
                Ok(json!({"a": {"b": [1, 2, 3]}, "x/y": 1, "m~n": 2, "z": 1})),
            ),
            (json!([{"op": "test", "path": "/x~1y", "value": 2}]), Err(422)),
            (json!([{"op": "test", "path": "/nothing", "value": 2}]), Err(422)),
            (json!([{"op": "remove", "path": "/nothing"}]), Err(422)),
            (json!([{"op": "replace", "path": "/nothing", "value": 1}]), Err(422)),
            (json!([{"op": "add", "path": "/nothing/below", "value": 1}]), Err(422)),
            (json!([{"op": "add", "path": "/a/b/9", "value": 1}]), Err(422)),
            (json!([{"op": "move", "from": "/a", "path": "/a/b"}]), Err(422)),
            (json!([{"op": "grow", "path": "/a"}]), Err(400)),
            (json!([{"op": "add", "path": "no-slash", "value": 1}]), Err(400)),
            (json!({"op": "add"}), Err(400)),
            (json!("text"), Err(400)),
        ] {
            assert_eq!(apply(&target, &patch).map_err(|error| error.status()), expected, "{patch}");
        }
    }

    #[test]
    fn a_failed_patch_names_its_operation() {
        let patch = json!([{"op": "add", "path": "/a", "value": 1}, {"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(apply(&json!({}), &patch), Err(PatchError::Test { index: 1, path: "/a".to_owned() }));
    }

    #[test]
    fn growth_is_bounded() {
        let doubling: Vec<Value> =
            (0..9999).map(|index| json!({"op": "copy", "from": "", "path": format!("/{index}")})).collect();
        assert!(apply(&json!({"a": 1}), &doubling.into()).is_err());
        let many = vec![json!({"op": "add", "path": "/a", "value": 1}); 10_001];
        assert_eq!(apply(&json!({}), &many.into()).map_err(|error| error.status()), Err(413));
        let burrow: Vec<Value> = (0..5000)
            .flat_map(|_| {
                [
                    json!({"op": "add", "path": "/b", "value": {"c": {}}}),
                    json!({"op": "move", "from": "/a", "path": "/b/c/a"}),
                    json!({"op": "move", "from": "/b", "path": "/a"}),
                ]
            })
            .take(9999)
            .collect();
        assert_eq!(apply(&json!({"a": {}}), &burrow.into()).map_err(|error| error.status()), Err(422));
    }
}
