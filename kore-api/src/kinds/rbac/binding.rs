//! RoleBinding and ClusterRoleBinding.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use serde_json::Value;

use super::GROUP;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{Object, PLAIN, Shape, object_in, or_insert};
use crate::object::ResourceType;
use crate::registry::NameRule;

const COLUMNS: &[Title] = &[
    NAME,
    Title("Role", "string", "What it allows.", 0),
    AGE,
    Title("Users", "string", "The users it is for.", 1),
    Title("Groups", "string", "The groups it is for.", 1),
    Title("ServiceAccounts", "string", "The service accounts it is for.", 1),
];

pub(crate) static ROLE_BINDING: Entry = Entry {
    names: NameRule::PathSegment,
    has_status: false,
    create_on_update: true,
    columns: COLUMNS,
    defaults: &DEFAULTS,
    rules: Rules { always: |binding| rules(binding, true), change, ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<RoleBinding>)
};

pub(crate) static CLUSTER_ROLE_BINDING: Entry = Entry {
    names: NameRule::PathSegment,
    has_status: false,
    create_on_update: true,
    columns: COLUMNS,
    defaults: &DEFAULTS,
    rules: Rules { always: |binding| rules(binding, false), change, ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<ClusterRoleBinding>)
};

static DEFAULTS: Shape = Shape {
    rule: Some(|binding| {
        object_in(binding, "roleRef");
    }),
    parts: &[("roleRef", &ROLE), ("subjects", &SUBJECT)],
    ..PLAIN
};
static ROLE: Shape = Shape { set: &[("apiGroup", Text(GROUP))], ..PLAIN };
static SUBJECT: Shape = Shape { rule: Some(group_of_subject), ..PLAIN };

fn group_of_subject(subject: &mut Object) {
    if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
        or_insert(subject, "apiGroup", GROUP);
    }
}

fn rules(binding: &Field<'_, '_>, namespaced: bool) {
    let role = binding.get("roleRef");
    let (group, kind, name) = (role.get("apiGroup"), role.get("kind"), role.get("name"));
    one_of(&group, &[GROUP]);
    one_of(&kind, if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] });
    if name.required() {
        name.named(names::path_segment);
    }
    for subject in binding.get("subjects").items() {
        let (name, group) = (subject.get("name"), subject.get("apiGroup"));
        name.required();
        match subject.get("kind").text() {
            "ServiceAccount" => {
                name.named(names::dns_subdomain);
                if !group.text().is_empty() {
                    group.one_of(&[""]);
                }
                if !namespaced {
                    subject.get("namespace").required();
                }
            }
            "User" | "Group" => one_of(&group, &[GROUP]),
            _ => one_of(&subject.get("kind"), &["ServiceAccount", "User", "Group"]),
        }
    }
}

/// Must be one of them; an empty text is none.
fn one_of(field: &Field<'_, '_>, supported: &[&str]) {
    if !supported.contains(&field.text()) {
        field.report(crate::error::FieldError::not_supported(field.path(), field.text(), supported));
    }
}

/// Who is allowed what may change, not what is allowed to whom: that would be another binding.
fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    if new.get("roleRef").value() != old.get("roleRef").value() {
        new.get("roleRef").invalid("cannot change roleRef");
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let subjects = |kind: &str| {
        let found = row.items("/subjects").iter().filter(|subject| subject["kind"] == kind);
        let named = found.map(|subject| {
            let text = |field: &str| subject[field].as_str().unwrap_or_default();
            if kind == "ServiceAccount" {
                format!("{}/{}", text("namespace"), text("name"))
            } else {
                text("name").to_owned()
            }
        });
        Value::from(named.collect::<Vec<_>>().join(", "))
    };
    vec![
        row.name(),
        format!("{}/{}", row.text("/roleRef/kind"), row.text("/roleRef/name")).into(),
        row.age(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, with};
    use serde_json::json;

    fn binding(subjects: Value) -> Value {
        let mut binding = json!({
            "metadata": {"name": "system:readers"}, "roleRef": {"kind": "ClusterRole", "name": "read"}, "subjects": subjects,
        });
        DEFAULTS.fill(&mut binding);
        binding
    }

    #[test]
    fn what_a_binding_may_not_say() {
        let good = binding(json!([
            {"kind": "User", "name": "a"}, {"kind": "Group", "name": "b"}, {"kind": "ServiceAccount", "name": "c", "namespace": "d"},
        ]));
        assert_eq!(good["roleRef"]["apiGroup"], GROUP);
        assert_eq!(good["subjects"][0]["apiGroup"], GROUP);
        assert_eq!(good["subjects"][2].get("apiGroup"), None);
        for entry in [&ROLE_BINDING, &CLUSTER_ROLE_BINDING] {
            assert_eq!(errors(entry, &good), [""; 0]);
        }
        assert_eq!(cells(&ROLE_BINDING, &good)[3..], ["a", "b", "d/c"].map(Value::from));
        assert_eq!(cells(&ROLE_BINDING, &good)[1], "ClusterRole/read");
        let bad = with(
            &binding(
                json!([{"kind": "Robot", "name": "r"}, {"kind": "ServiceAccount", "name": "c"}, {"kind": "User"}]),
            ),
            &json!({"roleRef": {"kind": "Role", "name": "a/b"}}),
        );
        assert_eq!(
            errors(&CLUSTER_ROLE_BINDING, &bad),
            [
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "roleRef.name: Invalid value: \"a/b\": may not contain '/' or '%'",
                "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
                "subjects[1].namespace: Required value",
                "subjects[2].name: Required value",
            ]
        );
    }

    #[test]
    fn the_role_stays() {
        let old = binding(json!([]));
        let more = with(&old, &json!({"subjects": [{"kind": "ServiceAccount", "name": "c"}]}));
        assert_eq!(errors_of_change(&ROLE_BINDING, &more, &old), [""; 0]);
        let found = errors_of_change(&ROLE_BINDING, &with(&old, &json!({"roleRef": {"name": "write"}})), &old);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with(": cannot change roleRef"), "{found:?}");
    }
}
