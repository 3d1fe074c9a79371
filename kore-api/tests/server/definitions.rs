//! CustomResourceDefinitions while a server runs: what they define is served when they are established, in all its versions, and goes
//! with them.

use std::sync::Arc;

use futures::StreamExt;
use kore_api::client::DynamicApi;
use kore_api::kinds;
use kore_api::object::{ResourceType, Scope};
use kore_api::patch::PatchKind;
use kore_api::request::{FieldValidation, Options, WatchEvent};
use kore_api::server::{Builder, Server};
use kore_store::Store;
use serde_json::{Value, json};

use crate::harness::*;

fn with_kinds(store: &Arc<dyn Store>) -> Builder {
    builder(store).registry(kinds::builtin())
}

fn definitions(server: &Server) -> DynamicApi {
    let plural = "customresourcedefinitions";
    admin(server).dynamic(resource("apiextensions.k8s.io", plural, "CustomResourceDefinition", Scope::Cluster))
}

/// Boxes, of which `v1beta1` is served besides `v1`.
fn boxes() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "default": 3}, "color": {"type": "string"},
        }},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}});
    json!({"metadata": {"name": "boxes.example.com"}, "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "boxes", "kind": "Box", "shortNames": ["bx"]},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.color"}]},
            {"name": "v1beta1", "served": true, "storage": false, "schema": schema, "deprecated": true},
        ],
    }})
}

fn version(version: &'static str) -> ResourceType {
    ResourceType { version: version.into(), ..resource("example.com", "boxes", "Box", Scope::Namespaced) }
}

fn of(server: &Server, name: &'static str) -> DynamicApi {
    api(server, version(name))
}

fn options() -> Options {
    Options::default()
}

async fn define(server: &Server, definition: Value) {
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    definitions(server).create(definition, &options()).await.unwrap();
    established(server, &name).await;
}

async fn established(server: &Server, name: &str) {
    let only = options().fields(format!("metadata.name={name}"));
    let mut watch = definitions(server).watch(&only).await.unwrap();
    loop {
        let event = watch.next().await.unwrap().unwrap();
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { panic!("{event:?}") };
        let value = object.to_value();
        let conditions = value["status"]["conditions"].as_array().unwrap();
        if conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True") {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_established_is_there_at_once() {
    open(with_kinds(&memory()), async |server| {
        assert_eq!(refused(of(&server, "v1").list(&options()).await).code, 404);
        define(&server, boxes()).await;
        let boxes = of(&server, "v1");
        let made =
            boxes.create(json!({"metadata": {"name": "a"}, "spec": {"color": "red"}}), &options()).await.unwrap();
        assert_eq!(made.to_value()["metadata"]["generation"], 1);
        boxes.create(json!({"metadata": {"name": "b"}, "spec": {"color": "blue"}}), &options()).await.unwrap();
        let blue = options().fields("spec.color=blue");
        assert_eq!(names(&boxes.list(&blue).await.unwrap().items), ["b"]);
        let status =
            boxes.patch("a", Some("status"), PatchKind::Merge, json!({"status": {"ok": true}}), &options()).await;
        assert_eq!(status.unwrap().to_value()["status"], json!({"ok": true}));
        let unconditional = boxes.replace("a", None, json!({"metadata": {"name": "a"}}), &options()).await;
        assert_eq!(refused(unconditional).code, 422);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_version_shows_every_object() {
    open(with_kinds(&memory()), async |server| {
        define(&server, boxes()).await;
        let (new, old) = (of(&server, "v1"), of(&server, "v1beta1"));
        let mut watch = old.watch(&options()).await.unwrap();
        new.create(json!({"metadata": {"name": "a"}, "spec": {"color": "red"}}), &options()).await.unwrap();
        let Some(Ok(WatchEvent::Added(seen))) = watch.next().await else { panic!("no addition") };
        assert_eq!((seen.api_version(), &seen.to_value()["spec"]["color"]), ("example.com/v1beta1", &json!("red")));
        let made = old.create(json!({"metadata": {"name": "b"}, "spec": {"color": "blue"}}), &options()).await.unwrap();
        assert_eq!(made.api_version(), "example.com/v1beta1");
        let all = new.list(&options()).await.unwrap().items;
        assert!(all.iter().all(|object| object.api_version() == "example.com/v1"), "{all:?}");
        let applied = options().field_manager("me").force(true);
        old.apply("b", None, json!({"spec": {"size": 5}}), &applied).await.unwrap();
        let both = new.apply("b", None, json!({"spec": {"size": 6}}), &applied).await.unwrap();
        assert_eq!(both.to_value()["spec"], json!({"color": "blue", "size": 6}));
        let owned = both.applied_by("me", "").unwrap();
        assert_eq!(owned["apiVersion"], "example.com/v1", "{owned}");
        let patched =
            old.patch("a", None, PatchKind::Merge, json!({"spec": {"color": null}}), &options()).await.unwrap();
        assert_eq!(patched.api_version(), "example.com/v1beta1");
        assert!(old.delete("a", &options()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_takes_its_objects_along() {
    open(with_kinds(&memory()), async |server| {
        define(&server, boxes()).await;
        let boxes_api = of(&server, "v1");
        boxes_api.create(json!({"metadata": {"name": "free"}}), &options()).await.unwrap();
        boxes_api
            .create(json!({"metadata": {"name": "held", "finalizers": ["example.com/x"]}}), &options())
            .await
            .unwrap();
        let leaving = definitions(&server).delete("boxes.example.com", &options()).await.unwrap().expect("it is held");
        assert_eq!(leaving.finalizers().collect::<Vec<_>>(), ["customresourcecleanup.apiextensions.k8s.io"]);
        let mut watch = definitions(&server).watch(&options()).await.unwrap();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        while boxes_api.get_opt("free").await.unwrap().is_some() {
            assert!(tokio::time::Instant::now() < deadline, "it is still there");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(refused(boxes_api.create(json!({"metadata": {"name": "late"}}), &options()).await).code, 405);
        boxes_api
            .patch("held", None, PatchKind::Merge, json!({"metadata": {"finalizers": null}}), &options())
            .await
            .unwrap();
        loop {
            if let WatchEvent::Deleted(_) = watch.next().await.unwrap().unwrap() {
                break;
            }
        }
        assert_eq!(refused(boxes_api.list(&options()).await).code, 404);
        // One of the same name begins with nothing.
        define(&server, boxes()).await;
        assert!(of(&server, "v1").list(&options()).await.unwrap().items.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_defined_anew_is_shown_anew() {
    open(with_kinds(&memory()), async |server| {
        define(&server, boxes()).await;
        let api = of(&server, "v1");
        api.create(json!({"metadata": {"name": "a"}, "spec": {"color": "red"}}), &options()).await.unwrap();
        let mut watch = api.watch(&options()).await.unwrap();
        assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Added(_)))));
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/weight";
        let patch = json!([{"op": "add", "path": path, "value": {"type": "integer", "default": 7}}]);
        definitions(&server).patch("boxes.example.com", None, PatchKind::Json, patch, &options()).await.unwrap();
        assert!(watch.next().await.is_none(), "watches of what was end");
        let seen = api.get("a").await.unwrap().to_value();
        assert_eq!(seen["spec"], json!({"color": "red", "size": 3, "weight": 7}));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_defined_is_there_after_a_restart_and_on_other_servers() {
    let store = memory();
    let revision = open(with_kinds(&store), async |server| {
        define(&server, boxes()).await;
        let first = of(&server, "v1").create(json!({"metadata": {"name": "a"}}), &options()).await.unwrap();
        of(&server, "v1").create(json!({"metadata": {"name": "b"}}), &options()).await.unwrap();
        first.revision()
    })
    .await;
    open(with_kinds(&store), async |first| {
        let mut watch = of(&first, "v1").watch(&options().from_revision(revision)).await.unwrap();
        let Some(Ok(WatchEvent::Added(object))) = watch.next().await else { panic!("watches go on") };
        assert_eq!(object.name(), "b");
        open(with_kinds(&store), async |second| {
            let mut other = boxes();
            other["metadata"]["name"] = json!("crates.example.com");
            other["spec"]["names"] = json!({"plural": "crates", "kind": "Crate"});
            define(&second, other).await;
            // Who has seen it on one server finds it on another.
            let crates = resource("example.com", "crates", "Crate", Scope::Namespaced);
            api(&first, crates).create(json!({"metadata": {"name": "c"}}), &options()).await.unwrap();
            assert_eq!(names(&of(&second, "v1").list(&options()).await.unwrap().items), ["a", "b"]);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn objects_are_what_their_schema_says() {
    open(with_kinds(&memory()), async |server| {
        let mut definition = boxes();
        let spec = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        *spec = json!({"type": "object", "required": ["color"], "properties": {
                "size": {"type": "integer", "default": 3, "minimum": 1},
                "color": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
            }, "x-kubernetes-validations": [{"rule": "self.size != 13", "message": "brings bad luck"}]});
        define(&server, definition).await;
        let api = of(&server, "v1");
        let of_spec = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let made = api.create(of_spec("a", json!({"color": "red", "more": 1})), &options()).await.unwrap();
        assert_eq!(made.to_value()["spec"], json!({"color": "red", "size": 3}));
        let strict = options().field_validation(FieldValidation::Strict);
        let unknown = refused(api.create(of_spec("b", json!({"color": "red", "more": 1})), &strict).await);
        assert!(unknown.code == 400 && unknown.message.contains("unknown field \"spec.more\""), "{unknown}");
        let invalid = refused(api.create(of_spec("b", json!({"size": 0})), &options()).await);
        let causes: Vec<String> = invalid.details.unwrap().causes.iter().map(|cause| cause.field.clone()).collect();
        assert_eq!((invalid.code, causes), (422, vec!["spec.color".into(), "spec.size".into()]));
        let unlucky = refused(api.create(of_spec("b", json!({"color": "red", "size": 13})), &options()).await);
        assert!(unlucky.message.contains("brings bad luck"), "{unlucky}");
        let other = api.patch("a", None, PatchKind::Merge, json!({"spec": {"color": "blue"}}), &options()).await;
        assert!(refused(other).message.contains("is immutable"));
        api.patch("a", None, PatchKind::Merge, json!({"spec": {"size": 4}}), &options()).await.unwrap();
        // A definition that makes no sense is told all that is wrong with it.
        let mut wrong = boxes();
        wrong["metadata"]["name"] = json!("crates.example.com");
        wrong["spec"]["names"] = json!({"plural": "crates", "kind": "Crate"});
        wrong["spec"]["versions"][0]["schema"] = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {}}}});
        wrong["spec"]["versions"][0]["additionalPrinterColumns"] = json!([{"name": "X", "type": "text", "jsonPath": "spec"}]);
        let status = refused(definitions(&server).create(wrong, &options()).await);
        assert_eq!((status.code, status.details.unwrap().causes.len()), (422, 3), "{}", status.message);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_are_given_once() {
    open(with_kinds(&memory()), async |server| {
        define(&server, boxes()).await;
        let mut other = boxes();
        other["metadata"]["name"] = json!("bixes.example.com");
        other["spec"]["names"] = json!({"plural": "bixes", "kind": "Bix", "shortNames": ["bx"]});
        definitions(&server).create(other, &options()).await.unwrap();
        let bixes = resource("example.com", "bixes", "Bix", Scope::Namespaced);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(refused(api(&server, bixes.clone()).list(&options()).await).code, 404);
        // The name is given back.
        let names = json!({"spec": {"names": {"shortNames": null}}});
        definitions(&server).patch("boxes.example.com", None, PatchKind::Merge, names, &options()).await.unwrap();
        established(&server, "bixes.example.com").await;
        api(&server, bixes).list(&options()).await.unwrap();
    })
    .await;
}
