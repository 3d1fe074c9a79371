//! The operations on a resource.

use serde_json::{Map, Value, json};

use super::{PathSource, component_of, group_version_kind, path_of, reference};

const BODY_TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
/// Of a kind that is not built in, no merge keys are known, and no protobuf.
const CUSTOM_PATCH_TYPES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// What an operation does, in the terms of `x-kubernetes-action`.
#[derive(Clone, Copy, PartialEq)]
enum Action {
    List,
    Get,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Action {
    /// Verb in discovery, method, action, and the start of the operation's id.
    fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Action::List => ("list", "get", "list", "list"),
            Action::Get => ("get", "get", "get", "read"),
            Action::Create => ("create", "post", "post", "create"),
            Action::Update => ("update", "put", "put", "replace"),
            Action::Patch => ("patch", "patch", "patch", "patch"),
            Action::Delete => ("delete", "delete", "delete", "delete"),
            Action::DeleteCollection => ("deletecollection", "delete", "deletecollection", "deleteCollection"),
        }
    }
}

/// Every path of a resource with its operations.
pub(super) fn of(source: &PathSource) -> Vec<(String, Value)> {
    let root = format!("/{}", path_of(&source.api_version));
    let collection = match source.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", source.plural),
        false => format!("{root}/{}", source.plural),
    };
    let object = (source.api_version.as_str(), source.kind.as_str());
    let mut paths = vec![
        path(
            source,
            &collection,
            &[Action::List, Action::Create, Action::DeleteCollection],
            &source.verbs,
            object,
            "",
            "",
        ),
        path(
            source,
            &format!("{collection}/{{name}}"),
            &[Action::Get, Action::Update, Action::Patch, Action::Delete],
            &source.verbs,
            object,
            "",
            "",
        ),
    ];
    if source.namespaced {
        paths.push(path(
            source,
            &format!("{root}/{}", source.plural),
            &[Action::List],
            &source.verbs,
            object,
            "",
            "ForAllNamespaces",
        ));
    }
    for subresource in &source.subresources {
        let actions = [Action::Get, Action::Create, Action::Update, Action::Patch, Action::Delete];
        let object = (subresource.api_version.as_str(), subresource.kind.as_str());
        let place = format!("{collection}/{{name}}/{}", subresource.name);
        paths.push(path(source, &place, &actions, &subresource.verbs, object, &subresource.name, ""));
    }
    paths.into_iter().flatten().collect()
}

fn path(
    source: &PathSource,
    place: &str,
    actions: &[Action],
    verbs: &[String],
    (api_version, kind): (&str, &str),
    subresource: &str,
    suffix: &str,
) -> Option<(String, Value)> {
    let mut item = Map::new();
    for action in actions {
        let (verb, method, word, start) = action.words();
        if !verbs.iter().any(|served| served == verb) {
            continue;
        }
        let namespaced = if source.namespaced && suffix.is_empty() { "Namespaced" } else { "" };
        let id =
            format!("{start}{}{namespaced}{}{}{suffix}", id_of(&source.api_version), source.kind, capital(subresource));
        let component = component_of(api_version, kind);
        let answer = match action {
            Action::List => component_of(api_version, &format!("{kind}List")),
            Action::Delete | Action::DeleteCollection => STATUS.to_owned(),
            _ => component.clone(),
        };
        let mut operation = json!({
            "tags": [tag_of(&source.api_version)],
            "description": description(*action, kind, subresource),
            "operationId": id,
            "parameters": parameters(*action),
            "responses": {
                "200": { "description": "OK", "content": content(&BODY_TYPES[..], &answer) },
                "401": { "description": "Unauthorized" },
            },
            "x-kubernetes-action": word,
            "x-kubernetes-group-version-kind": group_version_kind(api_version, kind),
        });
        // kubectl takes the kind of patch to send from here.
        let (bodies, patches) = match crate::facts::kind(&source.api_version, &source.kind) {
            Some(_) => (&BODY_TYPES[..], &PATCH_TYPES[..]),
            None => (&BODY_TYPES[..2], &CUSTOM_PATCH_TYPES[..]),
        };
        let body = match action {
            Action::Create | Action::Update => Some((content(bodies, &component), true)),
            Action::Patch => Some((content(patches, PATCH), true)),
            Action::Delete | Action::DeleteCollection => Some((content(&BODY_TYPES[..], DELETE_OPTIONS), false)),
            Action::List | Action::Get => None,
        };
        if let Some((content, required)) = body {
            operation["requestBody"] = json!({ "content": content, "required": required });
        }
        item.insert(method.to_owned(), operation);
    }
    if item.is_empty() {
        return None;
    }
    let mut parameters = vec![query("pretty", "string", "If 'true', the answer is indented for human readers.")];
    if place.contains("{name}") {
        parameters.push(in_path("name", &format!("name of the {}", source.kind)));
    }
    if place.contains("{namespace}") {
        parameters.push(in_path("namespace", "the namespace of the object: its scope for names and permissions"));
    }
    item.insert("parameters".to_owned(), parameters.into());
    Some((place.to_owned(), Value::Object(item)))
}

fn content(types: &[&str], component: &str) -> Value {
    types.iter().map(|name| ((*name).to_owned(), json!({ "schema": reference(component) }))).collect()
}

fn in_path(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": "string", "uniqueItems": true } })
}

fn query(name: &str, json_type: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": { "type": json_type, "uniqueItems": true } })
}

fn parameters(action: Action) -> Vec<Value> {
    let mut parameters = Vec::new();
    let mut add = |name: &str, json_type: &str, description: &str| parameters.push(query(name, json_type, description));
    if matches!(action, Action::List | Action::DeleteCollection) {
        add("labelSelector", "string", "Only objects whose labels match this selector.");
        add("fieldSelector", "string", "Only objects whose fields match this selector.");
        add("limit", "integer", "The most objects to answer with in one page.");
        add("continue", "string", "The token of the page before, to read on.");
        add("resourceVersion", "string", "The version of the collection to read, together with resourceVersionMatch.");
        add("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan.");
        add("timeoutSeconds", "integer", "After how many seconds the call ends, whatever happens.");
        add("sendInitialEvents", "boolean", "Whether a watch begins with the objects that are there.");
    }
    if action == Action::List {
        add("watch", "boolean", "Whether to answer with the stream of changes instead of the list.");
        add("allowWatchBookmarks", "boolean", "Whether a watch may say how far it is without a change to tell.");
    }
    if !matches!(action, Action::List | Action::Get) {
        add("dryRun", "string", "With the value All, everything happens but the write itself.");
    }
    if matches!(action, Action::Create | Action::Update | Action::Patch) {
        add("fieldManager", "string", "The name under which the fields written here are owned.");
        add("fieldValidation", "string", "What becomes of unknown and duplicate fields: Ignore, Warn or Strict.");
    }
    if action == Action::Patch {
        add(
            "force",
            "boolean",
            "Whether an applied configuration takes fields from other managers. For apply patches only.",
        );
    }
    if matches!(action, Action::Delete | Action::DeleteCollection) {
        add("gracePeriodSeconds", "integer", "How many seconds an object has to end gracefully; 0 is at once.");
        add("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground.");
        add("orphanDependents", "boolean", "Deprecated: use propagationPolicy.");
    }
    parameters
}

fn description(action: Action, kind: &str, subresource: &str) -> String {
    let what =
        if subresource.is_empty() { kind.to_owned() } else { format!("{kind} through the subresource {subresource}") };
    match action {
        Action::List => format!("list or watch objects of kind {what}"),
        Action::Get => format!("read the specified {what}"),
        Action::Create => format!("create a {what}"),
        Action::Update => format!("replace the specified {what}"),
        Action::Patch => format!("partially update the specified {what}"),
        Action::Delete => format!("delete the specified {what}"),
        Action::DeleteCollection => format!("delete a collection of {what}"),
    }
}

/// `core_v1`, `apps_v1`, `rbacAuthorization_v1`.
fn tag_of(api_version: &str) -> String {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("core", api_version));
    let mut tag = String::new();
    for (index, part) in group.trim_end_matches(".k8s.io").split('.').enumerate() {
        if index == 0 { tag.push_str(part) } else { tag.push_str(&capital(part)) }
    }
    format!("{tag}_{version}")
}

/// `CoreV1`, `AppsV1`.
fn id_of(api_version: &str) -> String {
    tag_of(api_version).split('_').map(capital).collect()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
