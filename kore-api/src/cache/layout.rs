//! How objects are laid out in the store.
//!
//! `/registry/<group, or core>/<plural>/[<namespace>/]<name>` holds the canonical body; a second line, if there is one, holds
//! `managedFields`. Claims are keys of their own, `/claims/<pool>/<value>`, outside of what the caches follow.

use bytes::{BufMut, Bytes, BytesMut};
use kore_store::Revision;

use crate::object::{MalformedObject, Object, ObjectKey, ResourceType};

/// What all objects' keys begin with.
pub(crate) const ROOT: &str = "/registry/";
/// What all claims' keys begin with.
const CLAIMS: &str = "/claims/";

/// `<group, or core>/<plural>`: which resource, in keys.
pub(crate) fn resource_path(resource: &ResourceType) -> String {
    let group = if resource.group.is_empty() { "core" } else { &resource.group };
    format!("{group}/{}", resource.plural)
}

/// The prefix of the keys of all objects of a resource.
pub(crate) fn resource_prefix(resource: &ResourceType) -> String {
    format!("{ROOT}{}/", resource_path(resource))
}

/// The key of one object of the resource with this prefix.
pub(crate) fn object_key(prefix: &str, key: &ObjectKey) -> Bytes {
    let mut out = BytesMut::with_capacity(prefix.len() + key.namespace.len() + 1 + key.name.len());
    out.put_slice(prefix.as_bytes());
    if !key.namespace.is_empty() {
        out.put_slice(key.namespace.as_bytes());
        out.put_u8(b'/');
    }
    out.put_slice(key.name.as_bytes());
    out.freeze()
}

/// The parts of an object's key: the resource's path, and the object's.
pub(crate) fn split(key: &[u8]) -> Option<(&str, &str)> {
    let path = std::str::from_utf8(key).ok()?.strip_prefix(ROOT)?;
    let resource_end = path.find('/')? + 1;
    let resource_end = resource_end + path[resource_end..].find('/')?;
    Some((&path[..resource_end], &path[resource_end + 1..]))
}

/// The object that an object's part of a key names.
pub(crate) fn named(object: &str) -> ObjectKey {
    match object.split_once('/') {
        Some((namespace, name)) => ObjectKey::namespaced(namespace, name),
        None => ObjectKey::cluster(object),
    }
}

/// The prefix of the keys of all claims on a pool.
pub(crate) fn claims_prefix(pool: &str) -> String {
    format!("{CLAIMS}{pool}/")
}

/// The stored value of an object.
pub(crate) fn encode(object: &Object) -> Bytes {
    match object.managed_fields() {
        None => object.body().clone(),
        Some(fields) => {
            let mut out = BytesMut::with_capacity(object.body().len() + 1 + fields.len());
            out.put_slice(object.body());
            out.put_u8(b'\n');
            out.put_slice(fields);
            out.freeze()
        }
    }
}

/// The object that a stored value holds; it shares the value's bytes.
pub(crate) fn decode(value: &Bytes, revision: Revision) -> Result<Object, MalformedObject> {
    // Compact JSON has no line break of its own.
    let (body, fields) = match value.iter().position(|byte| *byte == b'\n') {
        Some(at) => (value.slice(..at), Some(value.slice(at + 1..))),
        None => (value.clone(), None),
    };
    Object::from_parts(body, fields, revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(key: &[u8]) -> Option<(&str, ObjectKey)> {
        split(key).map(|(resource, object)| (resource, named(object)))
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let mut resource = ResourceType {
            group: "".into(),
            version: "v1".into(),
            plural: "pods".into(),
            kind: "Pod".into(),
            scope: crate::object::Scope::Namespaced,
        };
        let pod = ObjectKey::namespaced("default", "web-0");
        let key = object_key(&resource_prefix(&resource), &pod);
        assert_eq!(&key[..], b"/registry/core/pods/default/web-0");
        assert_eq!(parse(&key), Some(("core/pods", pod)));
        (resource.group, resource.plural) = ("example.com".into(), "things".into());
        let thing = ObjectKey::cluster("a.b:c");
        let key = object_key(&resource_prefix(&resource), &thing);
        assert_eq!(parse(&key), Some(("example.com/things", thing)));
        assert_eq!(parse(b"/registry/x"), None);
        assert_eq!(parse(b"/claims/a/b"), None);
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        for fields in [json!(null), json!([{"manager": "a\nb"}])] {
            let value = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "a", "managedFields": fields}, "spec": {"text": "two\nlines"}});
            let object = Object::from_value(value, 7).unwrap();
            assert_eq!(decode(&encode(&object), 7).unwrap(), object);
        }
    }
}
