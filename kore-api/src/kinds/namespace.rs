//! Namespace.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::names;
use super::row::{list, or_none};
use super::shape::{Object, PLAIN, Shape, object_in};
use crate::object::ResourceType;
use crate::registry::NameRule;

/// The label by which selectors find a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) static NAMESPACE: Entry = Entry {
    short_names: &["ns"],
    names: NameRule::Label,
    subresources: &["finalize"],
    selectable_fields: &["status.phase"],
    columns: &[NAME, Title("Status", "string", "Whether it is in use or on its way out.", 0), AGE],
    defaults: &DEFAULTS,
    prepare_create,
    prepare_update,
    rules: Rules { always, ..ANYTHING },
    begin_deletion,
    is_held: |namespace| !list(&namespace["spec"]["finalizers"]).is_empty(),
    cells: |row| vec![row.name(), or_none(row.text("/status/phase")), row.age()],
    ..Entry::of(ResourceType::of::<Namespace>)
};

static DEFAULTS: Shape = Shape { rule: Some(label), ..PLAIN };

/// A namespace bears its name as a label, too.
fn label(namespace: &mut Object) {
    let metadata = object_in(namespace, "metadata");
    if let Some(name) = metadata.get("name").cloned().filter(|name| name.as_str().is_some_and(|name| !name.is_empty()))
    {
        object_in(metadata, "labels").insert(NAME_LABEL.to_owned(), name);
    }
}

/// It lives until what is in it has been cleared away.
fn prepare_create(namespace: &mut Value) {
    let Some(namespace) = namespace.as_object_mut() else {
        return;
    };
    label(namespace);
    namespace.insert("status".to_owned(), json!({"phase": "Active"}));
    let spec = object_in(namespace, "spec");
    let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut().filter(|finalizers| !finalizers.contains(&json!("kubernetes")))
    {
        finalizers.push("kubernetes".into());
    }
}

/// Only the `finalize` subresource changes finalizers.
fn prepare_update(namespace: &mut Value, old: &Value) {
    if let Some(namespace) = namespace.as_object_mut() {
        let finalizers = old["spec"]["finalizers"].clone();
        object_in(namespace, "spec").insert("finalizers".to_owned(), finalizers);
    }
}

/// What is in it goes first.
fn begin_deletion(namespace: &mut Value) {
    if let Some(namespace) = namespace.as_object_mut() {
        object_in(namespace, "status").insert("phase".to_owned(), "Terminating".into());
    }
}

fn always(namespace: &Field<'_, '_>) {
    for finalizer in namespace.get("spec").get("finalizers").items() {
        finalizer.named(names::qualified_name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_starts_active_with_its_finalizer_and_label() {
        let strategy = NAMESPACE.info().strategy;
        let mut namespace = json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}});
        strategy.default(&mut namespace);
        strategy.prepare_create(&mut namespace);
        let expected = json!({
            "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        assert_eq!(namespace, expected);
        let mut changed = json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}});
        strategy.prepare_update(&mut changed, &namespace);
        assert_eq!(changed["spec"]["finalizers"], json!(["kubernetes"]));
        strategy.begin_deletion(&mut changed);
        assert_eq!(changed["status"]["phase"], "Terminating");
        assert!(strategy.is_held(&changed));
        assert!(!strategy.is_held(&json!({"spec": {"finalizers": []}})));
    }
}
