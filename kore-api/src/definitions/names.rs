//! Which names a definition is granted, and what its status says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Definition, text, texts};

/// The status of a definition beside those of the same server, at the time `now`: the names it is granted, and whether it is served.
///
/// In a group nobody has the plural, the singular or a short name of another's resource, nor its kind or the kind of its lists. Who has a
/// name keeps it: a definition that asks for one in use is granted the others, and is not served before it has been granted all of them
/// once.
pub(crate) fn status<'a>(
    definition: Definition<'a>,
    all: impl Iterator<Item = Definition<'a>> + Clone,
    now: &str,
) -> Value {
    let wanted = &definition.0["spec"]["names"];
    let others = all.filter(|other| other.group() == definition.group() && other.name() != definition.name());
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for names in others.map(Definition::accepted) {
        resources.extend([text(&names["plural"]), text(&names["singular"])]);
        resources.extend(texts(&names["shortNames"]));
        kinds.extend([text(&names["kind"]), text(&names["listKind"])]);
    }
    let mut granted = definition.accepted().clone();
    if !granted.is_object() {
        granted = json!({});
    }
    let mut refusal: Option<(&str, String)> = None;
    let mut grant = |field: &str, reason: &'static str, taken: &BTreeSet<&str>| {
        let name = text(&wanted[field]);
        match taken.contains(name) && !name.is_empty() {
            true => refusal = Some((reason, format!("{name:?} is already in use"))),
            false if name.is_empty() => drop(granted.as_object_mut().map(|granted| granted.remove(field))),
            false => granted[field] = name.into(),
        }
    };
    grant("plural", "PluralConflict", &resources);
    grant("singular", "SingularConflict", &resources);
    grant("kind", "KindConflict", &kinds);
    grant("listKind", "ListKindConflict", &kinds);
    let taken: Vec<String> = texts(&wanted["shortNames"])
        .into_iter()
        .filter(|name| resources.contains(name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    match taken.is_empty() {
        true => set_list(&mut granted, "shortNames", &wanted["shortNames"]),
        false => refusal = Some(("ShortNamesConflict", taken.join(", "))),
    }
    set_list(&mut granted, "categories", &wanted["categories"]);

    let mut status = definition.0["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    status["acceptedNames"] = granted;
    if !status["storedVersions"].is_array() {
        status["storedVersions"] = json!([]);
    }
    match &refusal {
        None => condition(&mut status, "NamesAccepted", true, ("NoConflicts", "no conflicts found"), now),
        Some((reason, message)) => condition(&mut status, "NamesAccepted", false, (reason, message), now),
    }
    match (definition.is_established(), &refusal) {
        // What is served once goes on being served.
        (true, _) => {}
        (false, None) => {
            let why = ("InitialNamesAccepted", "the initial names have been accepted");
            condition(&mut status, "Established", true, why, now);
        }
        (false, Some(_)) => {
            condition(&mut status, "Established", false, ("NotAccepted", "not all names are accepted"), now);
        }
    }
    status
}

fn set_list(names: &mut Value, field: &str, wanted: &Value) {
    match wanted.as_array().filter(|wanted| !wanted.is_empty()) {
        Some(_) => names[field] = wanted.clone(),
        None => drop(names.as_object_mut().map(|names| names.remove(field))),
    }
}

/// Sets a condition; it keeps its time unless its status changes.
pub(crate) fn condition(status: &mut Value, kind: &str, holds: bool, (reason, message): (&str, &str), now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let conditions = status["conditions"].as_array_mut().expect("made above");
    let holds = if holds { "True" } else { "False" };
    let mut condition =
        json!({"type": kind, "status": holds, "reason": reason, "message": message, "lastTransitionTime": now});
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        None => conditions.push(condition),
        Some(before) => {
            if before["status"] == holds {
                condition["lastTransitionTime"] = before["lastTransitionTime"].take();
            }
            *before = condition;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, names: Value, status: Value) -> Value {
        json!({
            "metadata": {"name": format!("{name}.example.com")},
            "spec": {"group": "example.com", "names": names, "versions": [{"name": "v1", "storage": true}]},
            "status": status,
        })
    }

    fn told(status: &Value) -> Vec<String> {
        let conditions = status["conditions"].as_array().unwrap().iter();
        conditions
            .map(|one| format!("{}={} {}", text(&one["type"]), text(&one["status"]), text(&one["reason"])))
            .collect()
    }

    #[test]
    fn names_are_granted_once() {
        let names = json!({"plural": "crates", "singular": "crate", "kind": "Crate", "listKind": "CrateList", "shortNames": ["cr"]});
        let first = definition("crates", names.clone(), Value::Null);
        let granted = status(Definition(&first), [Definition(&first)].into_iter(), "then");
        assert_eq!(granted["acceptedNames"], names);
        assert_eq!(told(&granted), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);

        let first = definition("crates", names, granted.clone());
        assert_eq!(
            status(Definition(&first), [Definition(&first)].into_iter(), "now"),
            granted,
            "nothing is left to do"
        );

        let other = json!({"plural": "cradles", "singular": "cradle", "kind": "Crate", "listKind": "CradleList", "shortNames": ["cr", "cd"]});
        let second = definition("cradles", other, Value::Null);
        let refused = status(Definition(&second), [Definition(&first), Definition(&second)].into_iter(), "now");
        assert_eq!(told(&refused), ["NamesAccepted=False ShortNamesConflict", "Established=False NotAccepted"]);
        assert_eq!(
            refused["acceptedNames"],
            json!({"plural": "cradles", "singular": "cradle", "listKind": "CradleList"})
        );

        // The first gives its names back.
        let second = definition("cradles", second["spec"]["names"].clone(), refused);
        let granted = status(Definition(&second), [Definition(&second)].into_iter(), "later");
        assert_eq!(told(&granted), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
        assert_eq!(granted["conditions"][0]["lastTransitionTime"], "later");
    }

    #[test]
    fn what_is_served_goes_on_being_served() {
        let names = json!({"plural": "crates", "singular": "crate", "kind": "Crate", "listKind": "CrateList"});
        let first = definition("crates", names.clone(), Value::Null);
        let granted = status(Definition(&first), [Definition(&first)].into_iter(), "then");
        let mut renamed = names.clone();
        renamed["shortNames"] = json!(["x"]);
        let first = definition("crates", renamed, granted);
        let other = definition("boxes", json!({}), json!({"acceptedNames": {"plural": "boxes", "shortNames": ["x"]}}));
        let now = status(Definition(&first), [Definition(&first), Definition(&other)].into_iter(), "now");
        assert_eq!(told(&now), ["NamesAccepted=False ShortNamesConflict", "Established=True InitialNamesAccepted"]);
        assert_eq!(now["acceptedNames"], names);
    }
}
