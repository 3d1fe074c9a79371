//! What kubectl looks for in the documents is there.

use super::*;

fn sources() -> Vec<PathSource> {
    vec![
        PathSource::new("v1", "Namespace", "namespaces", false).with_subresource("status", "v1", "Namespace", &["get", "update", "patch"]),
        PathSource::new("v1", "Pod", "pods", true)
            .with_subresource("binding", "v1", "Binding", &["create"])
            .with_subresource("eviction", "policy/v1", "Eviction", &["create"]),
        PathSource::new("apps/v1", "Deployment", "deployments", true).with_subresource("scale", "autoscaling/v1", "Scale", &["get", "update", "patch"]),
        PathSource::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false),
        PathSource::new("example.com/v1", "Widget", "widgets", true)
            .with_verbs(&["get", "list"])
            .with_schema(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}})),
    ]
}

/// Every reference in a document leads somewhere.
fn check_references(value: &Value, schemas: &Map<String, Value>) {
    match value {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                let name = target.strip_prefix("#/components/schemas/").expect("a local reference");
                assert!(schemas.contains_key(name), "{name}");
            }
            members.values().for_each(|member| check_references(member, schemas));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(item, schemas)),
        _ => {}
    }
}

#[test]
fn documents_are_whole() {
    let sources = sources();
    for api_version in ["v1", "apps/v1", "apiextensions.k8s.io/v1", "example.com/v1"] {
        let document = document(&sources, api_version).expect(api_version);
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        check_references(&document, schemas);
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in
                item.as_object().expect("operations").iter().filter(|(method, _)| *method != "parameters")
            {
                assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
                assert!(operation["x-kubernetes-group-version-kind"]["kind"].is_string(), "{method} {path}");
            }
        }
        assert!(schemas.values().all(|schema| !schema.is_null()));
    }
    assert_eq!(document(&sources, "batch/v1"), None);
}

/// `kubectl create` and `apply` look for the parameters on any patch operation of the kind, else on that of Namespace.
#[test]
fn patch_operations_declare_dry_run_and_field_validation() {
    let sources = sources();
    for (api_version, path, kind) in [
        ("v1", "/api/v1/namespaces/{name}", "Namespace"),
        ("v1", "/api/v1/namespaces/{namespace}/pods/{name}", "Pod"),
        ("apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "Deployment"),
    ] {
        let document = document(&sources, api_version).expect(api_version);
        let operation = &document["paths"][path]["patch"];
        assert_eq!(operation["x-kubernetes-group-version-kind"]["kind"], kind);
        let names: Vec<&str> = operation["parameters"]
            .as_array()
            .expect("parameters")
            .iter()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
            assert!(names.contains(&name), "{path}: {name}");
        }
    }
}

/// `kubectl explain` finds the kind by its path and its schema by the kind, and follows `allOf` references.
#[test]
fn explain_finds_types_and_texts() {
    let document = document(&sources(), "v1").expect("v1");
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        document["paths"]["/api/v1/namespaces/{namespace}/pods"]["get"]["x-kubernetes-group-version-kind"]["kind"],
        "Pod"
    );
    assert_eq!(document["paths"]["/api/v1/pods"]["get"]["x-kubernetes-action"], "list");
    assert_eq!(
        schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"],
        json!([{"group": "", "kind": "Pod", "version": "v1"}])
    );
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["items"]["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(schemas["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
    for (definition, field) in
        [("PodSpec", "containers"), ("Container", "image"), ("NamespaceStatus", "phase"), ("Pod", "spec")]
    {
        let text = schemas[format!("io.k8s.api.core.v1.{definition}")]["properties"][field]["description"].as_str();
        assert!(text.is_some_and(|text| text.len() > 10), "{definition}.{field}");
    }
    assert!(schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]["description"].is_string());
    assert_eq!(schemas["io.k8s.api.core.v1.Binding"]["type"], "object");
}

#[test]
fn custom_kinds_have_their_own_schema() {
    let document = document(&sources(), "example.com/v1").expect("example.com/v1");
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["com.example.v1.Widget"]["properties"]["spec"]["properties"]["size"]["type"], "integer");
    assert_eq!(
        schemas["com.example.v1.Widget"]["properties"]["metadata"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    assert_eq!(
        schemas["com.example.v1.WidgetList"]["properties"]["items"]["items"]["$ref"],
        "#/components/schemas/com.example.v1.Widget"
    );
    assert!(document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets"]["post"].is_null());
}

#[test]
fn a_hash_changes_with_its_own_sources_only() {
    let before = sources();
    let mut after = before.clone();
    after[0].verbs.pop();
    assert_ne!(hash(&before, "v1"), hash(&after, "v1"));
    assert_eq!(hash(&before, "apps/v1"), hash(&after, "apps/v1"));
    assert_eq!(index(&before)["paths"].as_object().map(Map::len), Some(4));
}

/// What a client checks before it uses the v2 document at all: every reference leads to a definition, and has no type beside it.
fn check_v2(value: &Value, definitions: &Map<String, Value>) {
    match value {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                let name = target.strip_prefix("#/definitions/").expect("a definition");
                assert!(definitions.contains_key(name), "{name}");
                assert!(!members.contains_key("type") && !members.contains_key("properties"), "{name}");
            }
            assert!(members.get("type").is_none_or(|kind| kind.is_string() || kind.is_object()), "{members:?}");
            members.values().for_each(|member| check_v2(member, definitions));
        }
        Value::Array(items) => items.iter().for_each(|item| check_v2(item, definitions)),
        _ => {}
    }
}

#[test]
fn the_v2_document_says_the_same_of_all_group_versions() {
    let document = document_v2(&sources());
    let definitions = document["definitions"].as_object().expect("definitions");
    check_v2(&document, definitions);
    for (definition, kind) in [
        ("io.k8s.api.core.v1.Pod", json!({"group": "", "kind": "Pod", "version": "v1"})),
        ("io.k8s.api.apps.v1.Deployment", json!({"group": "apps", "kind": "Deployment", "version": "v1"})),
        ("com.example.v1.Widget", json!({"group": "example.com", "kind": "Widget", "version": "v1"})),
    ] {
        assert_eq!(definitions[definition]["x-kubernetes-group-version-kind"], json!([kind]), "{definition}");
    }
    let everywhere =
        &definitions["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"]["x-kubernetes-group-version-kind"];
    let groups: Vec<&str> =
        everywhere.as_array().expect("kinds").iter().filter_map(|kind| kind["group"].as_str()).collect();
    assert_eq!(groups, ["apiextensions.k8s.io", "apps", "example.com", ""]);
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
    let parameters = patch["parameters"].as_array().expect("parameters");
    assert_eq!(parameters[0]["in"], "body");
    assert!(
        parameters
            .iter()
            .any(|one| one["name"] == "fieldValidation" && one["type"] == "string" && one["in"] == "query")
    );
    assert!(patch["consumes"].as_array().is_some_and(|types| types.contains(&json!("application/apply-patch+yaml"))));
}

/// Everything that the v2 document of any kind says has a place in its protobuf form: what has none is an assertion there.
#[test]
fn the_v2_document_of_every_built_in_kind_has_a_protobuf_form() {
    let registry = crate::kinds::builtin();
    let mut sources = sources();
    for info in registry.iter() {
        let resource = &info.resource;
        let source =
            PathSource::new(&resource.api_version(), &resource.kind, &resource.plural, resource.is_namespaced());
        sources.retain(|other| (&other.api_version, &other.plural) != (&source.api_version, &source.plural));
        sources.push(source);
    }
    let encoded = document_v2_protobuf(&sources);
    assert!(encoded.len() > 100_000, "{} bytes", encoded.len());
    assert_eq!(hash_v2(&sources), hash_v2(&sources));
    assert_ne!(hash_v2(&sources), hash_v2(&sources[1..]));
}
