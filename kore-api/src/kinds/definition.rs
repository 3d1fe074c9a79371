//! CustomResourceDefinition, as an object that is kept. What it defines is served by the server: see [`crate::definitions`].

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::entry::{ANYTHING, CREATED_AT, Entry, NAME, Rules, dated};
use super::field::Field;
use super::names;
use super::row::list;
use super::shape::{Object, PLAIN, Shape, object_in, or_insert};
use super::webhooks::client;
use crate::definitions::{Definition, FINALIZER, condition, json_path};
use crate::error::FieldError;
use crate::object::ResourceType;
use crate::schema::structural;

/// How many fields a version may let field selectors name.
const SELECTABLE_MAX: usize = 8;
/// The groups whose definitions somebody has to have approved, and where that is said.
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];
const APPROVAL: &str = "api-approved.kubernetes.io";

pub(super) static CUSTOM_RESOURCE_DEFINITION: Entry = Entry {
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    has_generation: true,
    unconditional_update: false,
    columns: &[NAME, CREATED_AT],
    defaults: &DEFAULTS,
    prepare_create,
    prepare_update: |definition, _| note_stored_version(definition),
    begin_deletion,
    // The first deletion only begins it: what it defines goes first.
    is_held: |definition| !Definition(definition).is_terminating(),
    defines: |definition| Definition(definition).storage(),
    rules: Rules { always, change, ..ANYTHING },
    cells: dated,
    ..Entry::of(ResourceType::of::<CustomResourceDefinition>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape {
    rule: Some(|spec| {
        object_in(spec, "names");
        or_insert(object_in(spec, "conversion"), "strategy", "None");
    }),
    parts: &[("names", &NAMES), ("conversion", &CONVERSION)],
    ..PLAIN
};
static NAMES: Shape = Shape { rule: Some(further_names), ..PLAIN };
static CONVERSION: Shape = Shape { parts: &[("webhook", &WEBHOOK)], ..PLAIN };
static WEBHOOK: Shape = Shape { parts: &[("clientConfig", &client::CONFIG)], ..PLAIN };

/// The names that follow from the kind's.
fn further_names(names: &mut Object) {
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !kind.is_empty() {
        or_insert(names, "singular", kind.to_lowercase());
        or_insert(names, "listKind", format!("{kind}List"));
    }
}

/// Nothing has been accepted yet.
fn prepare_create(definition: &mut Value) {
    if let Some(definition) = definition.as_object_mut() {
        let status = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": []});
        definition.insert("status".to_owned(), status);
    }
    note_stored_version(definition);
}

/// Objects may be stored as this version from now on.
fn note_stored_version(definition: &mut Value) {
    let Some(storage) = Definition(definition).storage() else {
        return;
    };
    let Some(status) = definition.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(stored) = stored.as_array_mut().filter(|stored| !stored.iter().any(|name| *name == *storage.version)) {
        stored.push((*storage.version).into());
    }
}

fn begin_deletion(definition: &mut Value) {
    let since = definition["metadata"]["deletionTimestamp"].as_str().unwrap_or_default().to_owned();
    if let Some(metadata) = definition.get_mut("metadata").and_then(Value::as_object_mut) {
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(finalizers) = finalizers.as_array_mut().filter(|all| !all.iter().any(|one| one == FINALIZER)) {
            finalizers.push(FINALIZER.into());
        }
    }
    if let Some(definition) = definition.as_object_mut() {
        let why =
            ("InstanceDeletionPending", "CustomResourceDefinition marked for deletion; its objects are deleted first");
        condition(definition.entry("status").or_insert_with(|| json!({})), "Terminating", true, why, &since);
    }
}

fn always(definition: &Field<'_, '_>) {
    let (metadata, spec) = (definition.get("metadata"), definition.get("spec"));
    let (name, all, group) = (metadata.get("name"), spec.get("names"), spec.get("group"));
    if name.text() != format!("{}.{}", all.get("plural").text(), group.text()) {
        name.invalid("must be spec.names.plural+\".\"+spec.group");
    }
    if group.required() {
        let problems = names::dns_subdomain(group.text());
        if !problems.is_empty() {
            group.invalid(problems.join(","));
        } else if !group.text().contains('.') {
            group.invalid("should be a domain with at least one dot");
        }
    }
    if PROTECTED.iter().any(|suffix| group.text() == *suffix || group.text().ends_with(&format!(".{suffix}"))) {
        let approval = &metadata.get("annotations").value()[APPROVAL];
        if approval.as_str().unwrap_or_default().is_empty() {
            let problem = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
                           https://github.com/kubernetes/enhancements/pull/1111";
            let path = format!("metadata.annotations[{APPROVAL}]");
            metadata.report(FieldError::required(path, problem));
        }
    }
    if spec.get("preserveUnknownFields").flag() {
        let problem =
            "must be set to false: fields that are to be kept are marked with x-kubernetes-preserve-unknown-fields";
        spec.get("preserveUnknownFields").invalid(problem);
    }
    spec.get("scope").required_one_of(&["Cluster", "Namespaced"]);
    versions(&spec.get("versions"));
    the_names(&all);
    let conversion = spec.get("conversion");
    let (strategy, webhook) = (conversion.get("strategy"), conversion.get("webhook"));
    match strategy.text() {
        "Webhook" if !webhook.is_set() => webhook.missing("required when strategy is set to \"Webhook\""),
        "Webhook" => {
            let client_config = webhook.get("clientConfig");
            if client_config.is_set() {
                client::config(&client_config);
            } else {
                client_config.missing("required when strategy is set to \"Webhook\"");
            }
            if webhook.get("conversionReviewVersions").len() == 0 {
                webhook.get("conversionReviewVersions").missing("");
            }
        }
        "None" if webhook.is_set() => webhook.forbidden("should not be set when strategy is not set to \"Webhook\""),
        _ => drop(strategy.required_one_of(&["None", "Webhook"])),
    }
}

fn versions(versions: &Field<'_, '_>) {
    if versions.len() == 0 {
        versions.missing("");
    }
    let (mut seen, mut stored, mut unique) = (BTreeSet::new(), 0, true);
    for version in versions.items() {
        let (name, schema) = (version.get("name"), version.get("schema"));
        let problems = names::letter_label(name.text());
        if !problems.is_empty() {
            name.report(FieldError::invalid(name.path(), name.text(), problems.join(",")));
        }
        unique &= seen.insert(name.value().as_str());
        stored += usize::from(version.get("storage").flag());
        let stated = schema.get("openAPIV3Schema");
        for error in structural(stated.value(), &stated.path()) {
            stated.report(error);
        }
        parts(&version);
        let warning = version.get("deprecationWarning");
        if warning.is_set() && !version.get("deprecated").flag() {
            warning.invalid("can only be set for deprecated versions");
        }
    }
    if !unique {
        versions.invalid("must contain unique version names");
    }
    if versions.len() > 0 && stored != 1 {
        versions.invalid("must have exactly one version marked as storage version");
    }
}

/// Where columns, selectors and scales look has to be a path.
fn parts(version: &Field<'_, '_>) {
    for column in version.get("additionalPrinterColumns").items() {
        column.get("name").required();
        column.get("type").required_one_of(&["boolean", "date", "integer", "number", "string"]);
        let path = column.get("jsonPath");
        if path.required() && (!path.text().starts_with('.') || json_path(path.text()).is_none()) {
            path.invalid("must be a simple json path starting with .");
        }
    }
    for (index, field) in version.get("selectableFields").items().enumerate() {
        let path = field.get("jsonPath");
        if index >= SELECTABLE_MAX {
            path.forbidden(format!("may have no more than {SELECTABLE_MAX} fields"));
        }
        if path.required() && !is_simple(path.text()) {
            path.invalid("is an invalid path: only simple paths such as .spec.color are supported");
        }
    }
    let subresources = version.get("subresources");
    let scale = subresources.get("scale");
    if scale.is_set() {
        for (field, root, must) in [
            ("specReplicasPath", ".spec.", true),
            ("statusReplicasPath", ".status.", true),
            ("labelSelectorPath", "", false),
        ] {
            let path = scale.get(field);
            if (must || path.is_set()) && path.required() {
                let roots = if root.is_empty() { &[".spec.", ".status."][..] } else { &[root][..] };
                if !is_simple(path.text()) || !roots.iter().any(|root| path.text().starts_with(root)) {
                    let roots: Vec<&str> = roots.iter().map(|root| root.trim_end_matches('.')).collect();
                    path.invalid(format!("should be a json path under {}", roots.join(" or ")));
                }
            }
        }
    }
}

/// Whether a path goes from field to field: `.spec.replicas`.
fn is_simple(path: &str) -> bool {
    let name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    path.strip_prefix('.').is_some_and(|fields| fields.split('.').all(name))
}

fn the_names(all: &Field<'_, '_>) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = all.get(field);
        let text = name.text().to_lowercase();
        let mixed = field.ends_with("ind");
        if !name.required() {
            continue;
        }
        let problems = names::letter_label(if mixed { &text } else { name.text() });
        if !problems.is_empty() {
            let before = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            name.invalid(format!("{before}{}", problems.join(",")));
        }
    }
    for field in ["shortNames", "categories"] {
        for name in all.get(field).items() {
            let problems = names::letter_label(name.text());
            if !problems.is_empty() {
                name.invalid(problems.join(","));
            }
        }
    }
    let (kind, of_lists) = (all.get("kind"), all.get("listKind"));
    if !kind.text().is_empty() && kind.text() == of_lists.text() {
        of_lists.invalid("kind and listKind may not be the same");
    }
}

/// Objects that there are must stay findable.
fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let (names, were, status) = (spec.get("names"), before.get("names"), old.get("status"));
    spec.get("group").immutable(&before.get("group"));
    // What is stored has to be readable.
    let versions = list(spec.get("versions").value());
    for (index, stored) in list(old.get("status").get("storedVersions").value()).iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *stored) {
            let path = format!("status.storedVersions[{index}]");
            new.report(FieldError::invalid(
                path,
                stored.clone(),
                "missing from spec.versions; an object may be stored as it",
            ));
        }
    }
    names.get("plural").immutable(&were.get("plural"));
    let conditions = status.get("conditions");
    let established =
        list(conditions.value()).iter().any(|one| one["type"] == "Established" && one["status"] == "True");
    if established {
        spec.get("scope").immutable(&before.get("scope"));
        names.get("kind").immutable(&were.get("kind"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change, with};

    fn backups(changes: &Value) -> Value {
        let object = json!({"metadata": {"name": "backups.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "backups", "kind": "Backup"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        }});
        let mut object = with(&object, changes);
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_definition_may_not_say() {
        let object = backups(&json!({}));
        assert_eq!(
            object["spec"]["names"],
            json!({"plural": "backups", "kind": "Backup", "singular": "backup", "listKind": "BackupList"})
        );
        assert_eq!(object["spec"]["conversion"], json!({"strategy": "None"}));
        for (changes, expected) in [
            (json!({}), vec![]),
            (
                json!({"metadata": {"name": "backups"}, "spec": {"scope": "Galaxy"}}),
                vec![
                    "metadata.name: Invalid value: \"backups\": must be spec.names.plural+\".\"+spec.group",
                    "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
                ],
            ),
            (
                json!({"spec": {"versions": [{"name": "V1", "storage": false}]}}),
                vec![
                    "spec.versions[0].name: Invalid value: \"V1\": ",
                    "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
                    "spec.versions: Invalid value: [{\"name\":\"V1\",\"storage\":false}]: must have exactly one version marked as \
                     storage version",
                ],
            ),
            (
                json!({"spec": {"conversion": {"strategy": "Webhook"}, "names": {"listKind": "Backup"}}}),
                vec![
                    "spec.names.listKind: Invalid value: \"Backup\": kind and listKind may not be the same",
                    "spec.conversion.webhook: Required value: required when strategy is set to \"Webhook\"",
                ],
            ),
        ] {
            let found = errors(&CUSTOM_RESOURCE_DEFINITION, &backups(&changes));
            assert_eq!(found.len(), expected.len(), "{changes}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{changes}: {found}");
            }
        }
    }

    #[test]
    fn what_stays() {
        let mut old = backups(&json!({}));
        prepare_create(&mut old);
        assert_eq!(old["status"]["storedVersions"], json!(["v1"]));
        let other = with(&old, &json!({"spec": {"scope": "Cluster", "names": {"kind": "Copy"}}}));
        assert_eq!(errors_of_change(&CUSTOM_RESOURCE_DEFINITION, &other, &old), [""; 0]);
        let established = with(&old, &json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}}));
        assert_eq!(
            errors_of_change(&CUSTOM_RESOURCE_DEFINITION, &other, &established),
            [
                "spec.scope: Invalid value: \"Cluster\": field is immutable",
                "spec.names.kind: Invalid value: \"Copy\": field is immutable",
            ]
        );
    }
}
