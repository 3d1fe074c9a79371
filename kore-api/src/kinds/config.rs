//! ConfigMap and Secret: named pieces of data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::Value;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::names;
use super::shape::Literal::Text;
use super::shape::{Object, PLAIN, Shape, object_in};
use crate::error::FieldError;
use crate::object::ResourceType;

/// All data of one object together may have so many bytes.
const MAX_BYTES: usize = 1024 * 1024;

pub(super) static CONFIG_MAP: Entry = Entry {
    short_names: &["cm"],
    has_status: false,
    columns: &[NAME, Title("Data", "string", "How many pieces of data it holds.", 0), AGE],
    rules: Rules {
        always: config_map,
        change: |new, old| same_if_immutable(new, old, &["data", "binaryData"]),
        ..ANYTHING
    },
    cells: |row| vec![row.name(), (row.count("/data") + row.count("/binaryData")).into(), row.age()],
    ..Entry::of(ResourceType::of::<ConfigMap>)
};

pub(super) static SECRET: Entry = Entry {
    has_status: false,
    selectable_fields: &["type"],
    columns: &[
        NAME,
        Title("Type", "string", "What the data is for.", 0),
        Title("Data", "string", "How many pieces of data it holds.", 0),
        AGE,
    ],
    defaults: &SECRET_DEFAULTS,
    rules: Rules { always: secret, change: secret_change, ..ANYTHING },
    cells: |row| vec![row.name(), row.text("/type").into(), row.count("/data").into(), row.age()],
    ..Entry::of(ResourceType::of::<Secret>)
};

static SECRET_DEFAULTS: Shape = Shape { set: &[("type", Text("Opaque"))], rule: Some(encode_texts), ..PLAIN };

/// `stringData` is a way to write, never to read.
fn encode_texts(secret: &mut Object) {
    let Some(Value::Object(texts)) = secret.remove("stringData") else {
        return;
    };
    if texts.is_empty() {
        return;
    }
    let data = object_in(secret, "data");
    for (key, text) in texts {
        data.insert(key, STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}

fn config_map(map: &Field<'_, '_>) {
    let (texts, binaries) = (map.get("data"), map.get("binaryData"));
    let mut bytes = 0;
    for (key, value) in texts.entries() {
        key_rules(key, &value);
        if binaries.value().get(key).is_some() {
            let detail = "duplicate of key present in binaryData";
            value.report(FieldError::invalid(value.path(), key, detail));
        }
        bytes += value.len();
    }
    for (key, value) in binaries.entries() {
        key_rules(key, &value);
        bytes += decoded_len(value.text());
    }
    size(map, bytes);
}

fn secret(secret: &Field<'_, '_>) {
    let data = secret.get("data");
    let mut bytes = 0;
    for (key, value) in data.entries() {
        key_rules(key, &value);
        bytes += decoded_len(value.text());
    }
    size(secret, bytes);
    for (kind, keys) in REQUIRED_KEYS {
        if secret.get("type").text() == *kind {
            required_keys(secret, &data, kind, keys);
        }
    }
}

/// The keys that a type of secret must have.
const REQUIRED_KEYS: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/basic-auth", &["username", "password"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/service-account-token", &[]),
];

fn required_keys(secret: &Field<'_, '_>, data: &Field<'_, '_>, kind: &str, keys: &[&str]) {
    match kind {
        "kubernetes.io/service-account-token" => {
            let (metadata, annotation) = (secret.get("metadata"), "kubernetes.io/service-account.name");
            metadata.get("annotations").key(annotation).required();
        }
        // One of the two will do.
        "kubernetes.io/basic-auth" if keys.iter().any(|key| data.key(key).is_set()) => {}
        "kubernetes.io/ssh-auth" => keys.iter().for_each(|key| {
            data.key(key).required();
        }),
        _ => {
            for key in keys {
                let value = data.key(key);
                if !value.is_set() {
                    value.missing("");
                } else if kind.starts_with("kubernetes.io/docker") && !is_json(value.text()) {
                    let detail = "must be JSON";
                    value.report(FieldError::invalid(value.path(), "<secret contents redacted>", detail));
                }
            }
        }
    }
}

fn secret_change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    new.get("type").immutable(&old.get("type"));
    same_if_immutable(new, old, &["data"]);
}

/// Once immutable, always so.
fn same_if_immutable(new: &Field<'_, '_>, old: &Field<'_, '_>, fields: &[&str]) {
    if !old.get("immutable").flag() {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if !new.get("immutable").flag() {
        new.get("immutable").forbidden(detail);
    }
    let content = |object: &Field<'_, '_>, field: &str| match object.get(field).value() {
        Value::Object(entries) if entries.is_empty() => Value::Null,
        value => value.clone(),
    };
    for field in fields {
        if content(new, field) != content(old, field) {
            new.get(field).forbidden(detail);
        }
    }
}

fn key_rules(key: &str, value: &Field<'_, '_>) {
    for problem in names::config_key(key) {
        value.report(FieldError::invalid(value.path(), key, problem));
    }
}

fn size(object: &Field<'_, '_>, bytes: usize) {
    if bytes > MAX_BYTES {
        // The data as a whole has no path of its own; this is how clients know it.
        object.report(FieldError::too_long("[]", MAX_BYTES));
    }
}

/// The length of what Base64 `text` stands for.
fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

fn is_json(text: &str) -> bool {
    STANDARD
        .decode(text)
        .is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value.is_object()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change, with};
    use serde_json::json;

    #[test]
    fn string_data_is_merged_into_data() {
        let mut secret = json!({"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"a": "3"}});
        SECRET.defaults.fill(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "Mw==", "b": "Mg=="}, "type": "Opaque"}));
    }

    #[test]
    fn keys_and_size() {
        assert_eq!(errors(&CONFIG_MAP, &json!({"data": {"a": "x"}, "binaryData": {"b": "eA=="}})), [""; 0]);
        let found = errors(&CONFIG_MAP, &json!({"data": {"a b": "", "c": ""}, "binaryData": {"c": "", "..": ""}}));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("data[a b]: Invalid value: \"a b\": a valid config key must consist of"),
            "{found:?}"
        );
        assert_eq!(found[1], "data[c]: Invalid value: \"c\": duplicate of key present in binaryData");
        let big = |bytes: usize| json!({"data": {"a": "x".repeat(bytes)}});
        assert_eq!(errors(&CONFIG_MAP, &big(MAX_BYTES)), [""; 0]);
        assert_eq!(errors(&CONFIG_MAP, &big(MAX_BYTES + 1)), ["[]: Too long: may not be more than 1048576 bytes"]);
        let encoded = |bytes: usize| json!({"data": {"a": STANDARD.encode(vec![0; bytes])}});
        assert_eq!(errors(&SECRET, &encoded(MAX_BYTES)), [""; 0]);
        assert_eq!(errors(&SECRET, &encoded(MAX_BYTES + 3)).len(), 1);
    }

    #[test]
    fn types_of_secrets_have_required_keys() {
        let fields = |kind: &str, data: Value| -> Vec<String> {
            let found = errors(&SECRET, &json!({"type": format!("kubernetes.io/{kind}"), "data": data}));
            found.iter().map(|error| error.split(": ").next().unwrap().to_owned()).collect()
        };
        for (kind, data, expected) in [
            ("tls", json!({"tls.crt": "", "tls.key": ""}), vec![]),
            ("tls", json!({"tls.crt": ""}), vec!["data[tls.key]"]),
            ("tls", json!(null), vec!["data[tls.crt]", "data[tls.key]"]),
            ("basic-auth", json!({"password": "eA=="}), vec![]),
            ("basic-auth", json!({}), vec!["data[username]", "data[password]"]),
            ("ssh-auth", json!({"ssh-privatekey": ""}), vec!["data[ssh-privatekey]"]),
            ("dockerconfigjson", json!({".dockerconfigjson": STANDARD.encode("{}")}), vec![]),
            ("dockerconfigjson", json!({".dockerconfigjson": STANDARD.encode("{")}), vec!["data[.dockerconfigjson]"]),
            ("dockercfg", json!({}), vec!["data[.dockercfg]"]),
            ("service-account-token", json!({}), vec!["metadata.annotations[kubernetes.io/service-account.name]"]),
        ] {
            assert_eq!(fields(kind, data.clone()), expected, "{kind} {data}");
        }
    }

    #[test]
    fn immutable_stays_as_it_is() {
        let old = json!({"data": {"a": "x"}, "immutable": true});
        let change = |changes: Value| errors_of_change(&CONFIG_MAP, &with(&old, &changes), &old);
        assert_eq!(change(json!({"metadata": {"labels": {"a": "b"}}})), [""; 0]);
        assert_eq!(
            change(json!({"data": {"a": "y"}})),
            ["data: Forbidden: field is immutable when `immutable` is set"]
        );
        assert_eq!(
            change(json!({"immutable": false})),
            ["immutable: Forbidden: field is immutable when `immutable` is set"]
        );
        assert_eq!(change(json!({"binaryData": {}})), [""; 0]);
        let typed = errors_of_change(&SECRET, &json!({"type": "a"}), &json!({"type": "b"}));
        assert_eq!(typed, ["type: Invalid value: \"a\": field is immutable"]);
    }
}
