//! Create, update, patch: what the server adds, keeps, refuses, and does when many write at once.

use futures::future::join_all;
use kore_api::auth::User;
use kore_api::patch::PatchKind;
use kore_api::request::{Body, Content, Options, Request, Verb};
use serde_json::json;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn a_new_object_gets_what_the_server_decides() {
    serve(async |server| {
        let things = api(&server, things());
        let sent = json!({
            "metadata": {"name": "a", "uid": "mine", "generation": 9, "creationTimestamp": "1999-01-01T00:00:00Z",
                "deletionTimestamp": "1999-01-01T00:00:00Z"},
            "status": {"size": 3},
        });
        let object = things.create(sent, &Options::default()).await.unwrap();
        let value = object.to_value();
        assert_eq!(value["metadata"]["creationTimestamp"], "2030-01-01T00:00:00Z");
        assert_eq!(value["metadata"]["generation"], 1);
        assert_eq!(object.uid().len(), 36);
        assert!(value["metadata"].get("deletionTimestamp").is_none() && value.get("status").is_none());
        assert_eq!(value["spec"]["size"], 1);
        let again = refused(things.create(json!({"metadata": {"name": "a"}}), &Options::default()).await);
        assert_eq!((again.code, again.message.as_str()), (409, "things.example.com \"a\" already exists"));
        assert!(things.get("a").await.unwrap().ptr_eq(&object), "one object, one allocation");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn generated_names_are_valid_and_differ() {
    serve(async |server| {
        let things = api(&server, things());
        let mut seen = Vec::new();
        for _ in 0..20 {
            let sent = json!({"metadata": {"generateName": "x".repeat(60)}});
            let name = things.create(sent, &Options::default()).await.unwrap().name().to_owned();
            assert_eq!(name.len(), 63);
            assert!(!seen.contains(&name));
            seen.push(name);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn all_that_is_wrong_is_said_at_once() {
    serve(async |server| {
        let things = api(&server, things());
        let sent = json!({"metadata": {"name": "Big", "labels": {"a b": "c"}}, "spec": {"size": -1}});
        let status = refused(things.create(sent, &Options::default()).await);
        assert_eq!(status.code, 422);
        let causes = status.details.unwrap().causes;
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["metadata.name", "metadata.labels", "spec.size"]);
        assert!(status.message.starts_with(
            "Thing.example.com \"Big\" is invalid: [metadata.name: Invalid value: \"Big\": a lowercase RFC 1123"
        ));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_what_it_may() {
    serve(async |server| {
        let things = api(&server, things());
        let made = things.create(thing("a", json!({"size": 1})), &Options::default()).await.unwrap();
        let mut value = made.to_value();
        value["spec"]["size"] = json!(2);
        value["status"] = json!({"size": 7});
        value["metadata"]["creationTimestamp"] = json!("1999-01-01T00:00:00Z");
        let changed = things.replace("a", None, value.clone(), &Options::default()).await.unwrap();
        let now = changed.to_value();
        assert_eq!((&now["spec"]["size"], &now["metadata"]["generation"]), (&json!(2), &json!(2)));
        assert!(now.get("status").is_none());
        assert_eq!(now["metadata"]["creationTimestamp"], "2030-01-01T00:00:00Z");

        let stale = refused(things.replace("a", None, value.clone(), &Options::default()).await);
        assert_eq!(stale.code, 409);
        assert!(stale.message.contains("the object has been modified"));

        for field in ["resourceVersion", "managedFields"] {
            value["metadata"].as_object_mut().unwrap().remove(field);
        }
        value["metadata"]["labels"] = json!({"a": "b"});
        let labelled = things.replace("a", None, value.clone(), &Options::default()).await.unwrap();
        assert_eq!((labelled.label("a"), labelled.generation()), (Some("b"), 2));

        let same = things.replace("a", None, value.clone(), &Options::default()).await.unwrap();
        assert_eq!(same, labelled, "what changes nothing is not written");

        value["spec"]["size"] = json!(99);
        let status = things.replace("a", Some("status"), value.clone(), &Options::default()).await.unwrap().to_value();
        assert_eq!((&status["spec"]["size"], &status["status"]["size"]), (&json!(2), &json!(7)));
        assert_eq!(status["metadata"]["generation"], 2);

        value["metadata"]["uid"] = json!("another");
        let other = refused(things.replace("a", None, value, &Options::default()).await);
        assert!(other.message.contains("Precondition failed: UID in precondition: another"));
        let missing = refused(things.replace("b", None, thing("b", json!({})), &Options::default()).await);
        assert_eq!((missing.code, missing.message.as_str()), (404, "things.example.com \"b\" not found"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn patches_go_through_the_same_rules() {
    serve(async |server| {
        let things = api(&server, things());
        things.create(thing("a", json!({"size": 1, "gone": true})), &Options::default()).await.unwrap();
        let options = Options::default();
        let merged = json!({"spec": {"gone": null, "size": 3}});
        let merged = things.patch("a", None, PatchKind::Merge, merged, &options).await.unwrap().to_value();
        assert_eq!(merged["spec"], json!({"size": 3}));
        let ops = json!([{"op": "test", "path": "/spec/size", "value": 3}, {"op": "replace", "path": "/spec/size", "value": 4}]);
        let changed = things.patch("a", None, PatchKind::Json, ops, &options).await.unwrap();
        assert_eq!(changed.to_value()["spec"]["size"], 4);
        let refusal = refused(things.patch("a", None, PatchKind::Merge, json!({"spec": {"size": -4}}), &options).await);
        assert_eq!(refusal.code, 422);
        let renamed = refused(things.patch("a", None, PatchKind::Merge, json!({"metadata": {"name": "b"}}), &options).await);
        assert_eq!(renamed.code, 400);
        let pinned = json!({"metadata": {"resourceVersion": "1"}, "spec": {"size": 5}});
        assert_eq!(refused(things.patch("a", None, PatchKind::Merge, pinned, &options).await).code, 409);
        let forced = refused(things.patch("a", None, PatchKind::Merge, json!({}), &options.clone().force(true)).await);
        assert_eq!((forced.code, forced.message.contains("force: Forbidden")), (422, true), "{forced}");
        let strategic = refused(things.patch("a", None, PatchKind::Strategic, json!({}), &options).await);
        assert_eq!(strategic.code, 415, "a custom kind has no strategic merge");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_many_writers_each_lands_once() {
    serve(async |server| {
        let things = api(&server, things());
        things.create(thing("a", json!({"size": 0})), &Options::default()).await.unwrap();
        // Patches are tried again with the newest object.
        let patches = (0..50).map(|at| {
            let patch = json!({"spec": {format!("writer-{at}"): at}});
            let things = things.clone();
            async move { things.patch("a", None, PatchKind::Merge, patch, &Options::default()).await }
        });
        let mut revisions: Vec<u64> =
            join_all(patches).await.into_iter().map(|object| object.unwrap().revision()).collect();
        let now = things.get("a").await.unwrap();
        assert_eq!(now.to_value()["spec"].as_object().unwrap().len(), 51);
        assert_eq!(now.generation(), 51);
        revisions.sort_unstable();
        revisions.dedup();
        assert_eq!(revisions.len(), 50);

        // Who writes what it has read is told when it was overtaken, and tries again itself.
        let counters = (0..20).map(|_| {
            let things = things.clone();
            async move {
                let mut conflicts = 0;
                loop {
                    let mut value = things.get("a").await.unwrap().to_value();
                    value["spec"]["size"] = json!(value["spec"]["size"].as_i64().unwrap() + 1);
                    match things.replace("a", None, value, &Options::default()).await {
                        Ok(_) => return conflicts,
                        Err(error) => assert!(error.is_conflict(), "{error}"),
                    }
                    conflicts += 1;
                }
            }
        });
        join_all(counters).await;
        assert_eq!(things.get("a").await.unwrap().to_value()["spec"]["size"], 20);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    serve(async |server| {
        let things = api(&server, things());
        let dry = Options::default().dry_run(true);
        let would = things.create(thing("a", json!({"address": null})), &dry).await.unwrap();
        assert!(would.to_value()["spec"]["address"].is_string());
        assert!(things.get_opt("a").await.unwrap().is_none());
        let made = things.create(thing("a", json!({})), &Options::default()).await.unwrap();
        assert_eq!(refused(things.create(thing("a", json!({})), &dry).await).code, 409);
        let patch = json!({"spec": {"size": 5}});
        let would = things.patch("a", None, PatchKind::Merge, patch, &dry).await.unwrap();
        assert_eq!(would.to_value()["spec"]["size"], 5);
        assert!(things.delete("a", &dry).await.is_ok());
        assert_eq!(things.get("a").await.unwrap(), made);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_must_be_there() {
    serve(async |server| {
        let nowhere = admin(&server).dynamic(things()).in_namespace("nowhere");
        let status = refused(nowhere.create(thing("a", json!({})), &Options::default()).await);
        assert_eq!((status.code, status.message.as_str()), (404, "namespaces \"nowhere\" not found"));
        let namespaces = admin(&server).api::<k8s_openapi::api::core::v1::Namespace>();
        namespaces.dynamic().create(json!({"metadata": {"name": "nowhere"}}), &Options::default()).await.unwrap();
        nowhere.create(thing("a", json!({})), &Options::default()).await.unwrap();
        let kept = namespaces.delete("default", &Options::default()).await.unwrap_err();
        assert!(kept.is_forbidden());
        // Its content goes first; until then nothing new comes in.
        let leaving = namespaces.delete("nowhere", &Options::default()).await.unwrap().expect("still there");
        assert_eq!(leaving.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
        let error = nowhere.create(thing("b", json!({})), &Options::default()).await.unwrap_err();
        assert!(error.is_forbidden() && error.is_namespace_terminating(), "{error}");
        let gone = json!({"metadata": {"name": "nowhere"}, "spec": {"finalizers": []}});
        namespaces.dynamic().replace("nowhere", Some("finalize"), gone, &Options::default()).await.unwrap();
        assert!(namespaces.get_opt("nowhere").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_does_what_nobody_allows() {
    serve(async |server| {
        let user = server.client(User::new("eve"));
        let pods = user.namespaced::<k8s_openapi::api::core::v1::Pod>("default");
        for (outcome, message) in [
            (
                pods.list(&Options::default()).await.map(drop),
                "pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
            ),
            (
                pods.get("web").await.map(drop),
                "pods \"web\" is forbidden: User \"eve\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\"",
            ),
            (
                user.dynamic(things()).list(&Options::default()).await.map(drop),
                "things.example.com is forbidden: User \"eve\" cannot list resource \"things\" in API group \"example.com\" at the cluster scope",
            ),
            (
                pods.bind("web", "", "n").await,
                "pods \"web\" is forbidden: User \"eve\" cannot create resource \"pods/binding\" in API group \"\" in the namespace \"default\"",
            ),
        ] {
            let status = refused(outcome);
            assert_eq!((status.code, status.message.as_str()), (403, message));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_stopped_says_so() {
    let (server, run) = builder(&memory()).open().await.unwrap();
    let things = api(&server, things());
    drop(run);
    let status = refused(things.list(&Options::default()).await);
    assert_eq!((status.code, status.message.as_str()), (503, "the server has stopped"));
    assert_eq!(refused(things.create(thing("a", json!({})), &Options::default()).await).code, 503);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_and_read_strictly() {
    serve(async |server| {
        let send = async |body: Body, strict: bool| {
            let mut options = Options::default();
            if strict {
                options.field_validation = kore_api::request::FieldValidation::Strict;
            }
            let resource = resource("", "configmaps", "ConfigMap", kore_api::object::Scope::Namespaced);
            let mut request = Request::new(Verb::Create, resource);
            request.namespace = Some("default".into());
            (request.options, request.body) = (options, body);
            server.handle(&User::admin(), request).await
        };
        let json = |text: &str| Body::Encoded(kore_api::codec::Format::Json, text.to_owned().into());
        let large = json(&format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(4 << 20)));
        assert_eq!(send(large, false).await.unwrap_err().code, 413);
        let over_the_store = json(&format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(2 << 20)));
        assert_eq!(send(over_the_store, false).await.unwrap_err().code, 413);
        assert_eq!(send(json("{\"data\":"), false).await.unwrap_err().code, 400);
        assert_eq!(send(json("{\"kind\":\"Pod\"}"), false).await.unwrap_err().code, 400);
        let unknown = "{\"metadata\":{\"name\":\"a\"},\"dato\":{},\"data\":{\"k\":\"1\",\"k\":\"2\"}}";
        let strict = send(json(unknown), true).await.unwrap_err();
        assert_eq!(
            strict.message,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dato\", \
             duplicate field \"data.k\""
        );
        let warned = send(json(unknown), false).await.unwrap();
        assert_eq!(warned.warnings, ["unknown field \"dato\"", "duplicate field \"data.k\""]);
        let Content::Created(object) = warned.content else { panic!("not created") };
        assert_eq!(object.to_value()["data"], json!({"k": "2"}));
        assert!(object.to_value().get("dato").is_none());
    })
    .await;
}
