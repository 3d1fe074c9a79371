//! Managed fields of every writer, and server-side apply.

use kore_api::client::DynamicApi;
use kore_api::error::Status;
use kore_api::object::{Object, ResourceType, Scope};
use kore_api::patch::PatchKind;
use kore_api::registry::ResourceInfo;
use kore_api::request::{Content, FieldValidation, Options};
use kore_api::server::Server;
use serde_json::{Value, json};

use super::harness::{builder, memory, open, refused, registry, resource, things};

/// A server with the built-in kinds.
async fn serve<T>(work: impl AsyncFnOnce(Server) -> T) -> T {
    open(builder(&memory()).registry(kore_api::kinds::builtin()), work).await
}

fn deployments(server: &Server) -> DynamicApi {
    let deployments = resource("apps", "deployments", "Deployment", Scope::Namespaced);
    server.client(kore_api::auth::User::admin()).dynamic(deployments).in_namespace("default")
}

fn configs(server: &Server) -> DynamicApi {
    let configs = resource("", "configmaps", "ConfigMap", Scope::Namespaced);
    server.client(kore_api::auth::User::admin()).dynamic(configs).in_namespace("default")
}

fn by(manager: &str) -> Options {
    Options::default().field_manager(manager)
}

fn deployment(replicas: Option<i64>) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    });
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

/// Who owns what, without the time: manager, operation, subresource, fields.
fn owners(object: &Object) -> Vec<(String, String, String, Value)> {
    let value = object.to_value();
    let entries = value["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["fieldsType"], "FieldsV1");
            // Who has applied what was there already has no time, as upstream has it.
            assert!(entry["time"] == "2030-01-01T00:00:00Z" || entry["time"].is_null());
            (text(&entry["manager"]), text(&entry["operation"]), text(&entry["subresource"]), entry["fieldsV1"].clone())
        })
        .collect()
}

fn names(object: &Object) -> Vec<(String, String)> {
    owners(object).into_iter().map(|(manager, operation, ..)| (manager, operation)).collect()
}

fn own(manager: &str, operation: &str) -> (String, String) {
    (manager.to_owned(), operation.to_owned())
}

#[tokio::test(start_paused = true)]
async fn who_creates_owns_what_it_says_and_the_defaults() {
    serve(async |server| {
        let made = deployments(&server).create(deployment(None), &by("kubectl-create")).await.unwrap();
        let expected = json!({"f:spec": {
            "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {},
                        "f:resources": {}, "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}}},
                    "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {},
                    "f:terminationGracePeriodSeconds": {},
                },
            },
        }});
        assert_eq!(owners(&made), [("kubectl-create".into(), "Update".into(), String::new(), expected)]);
        let entry = &made.to_value()["metadata"]["managedFields"][0];
        assert_eq!(entry["apiVersion"], "apps/v1");

        // Who names no manager is known by the name of the program.
        let client = server.client(kore_api::auth::User::admin()).with_user_agent("mine");
        let configs = client.dynamic(configs(&server).resource().as_ref().clone()).in_namespace("default");
        let made = configs.create(json!({"metadata": {"name": "a"}, "data": {"k": "v"}}), &Options::default()).await.unwrap();
        let expected = json!({"f:data": {".": {}, "f:k": {}}});
        assert_eq!(owners(&made), [("mine".into(), "Update".into(), String::new(), expected)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_changes_a_field_takes_it_and_the_status_has_owners_of_its_own() {
    serve(async |server| {
        let api = deployments(&server);
        api.create(deployment(Some(1)), &by("creator")).await.unwrap();
        let change = json!({"spec": {"replicas": 3}});
        let changed = api.patch("web", None, PatchKind::Merge, change, &by("patcher")).await.unwrap();
        let found = owners(&changed);
        assert_eq!(found[1].3, json!({"f:spec": {"f:replicas": {}}}));
        assert!(found[0].3["f:spec"].get("f:replicas").is_none());

        let status = json!({"status": {"replicas": 2}, "spec": {"replicas": 9}});
        let changed = api.patch("web", Some("status"), PatchKind::Merge, status, &by("controller")).await.unwrap();
        assert_eq!(changed.to_value()["spec"]["replicas"], 3);
        let found = owners(&changed);
        let expected = (
            "controller".to_owned(),
            "Update".to_owned(),
            "status".to_owned(),
            json!({"f:status": {"f:replicas": {}}}),
        );
        assert!(found.contains(&expected), "{found:?}");

        let scale = json!({"spec": {"replicas": 5}});
        api.patch("web", Some("scale"), PatchKind::Merge, scale, &by("scaler")).await.unwrap();
        let found = owners(&api.get("web").await.unwrap());
        let expected =
            ("scaler".to_owned(), "Update".to_owned(), "scale".to_owned(), json!({"f:spec": {"f:replicas": {}}}));
        assert!(found.contains(&expected), "{found:?}");
        assert!(!found.iter().any(|(manager, ..)| manager == "patcher"), "what it owned has been taken: {found:?}");

        // What changes nothing changes no owner, and is not written.
        let before = api.get("web").await.unwrap();
        let same = json!({"spec": {"replicas": 5}});
        let after = api.patch("web", None, PatchKind::Merge, same, &by("somebody")).await.unwrap();
        assert_eq!(after, before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_applied_is_made_changed_and_removed() {
    serve(async |server| {
        let api = configs(&server);
        let config = |data: Value| json!({"metadata": {"labels": {"a": "b"}}, "data": data});
        let mut first = config(json!({"x": "1", "y": "2"}));
        first["binaryData"] = json!({});
        first["metadata"]["creationTimestamp"] = json!(null);
        let made = api.apply("a", None, first, &by("me")).await.unwrap();
        assert_eq!(made.to_value()["data"], json!({"x": "1", "y": "2"}));
        let fields =
            json!({"f:binaryData": {}, "f:data": {"f:x": {}, "f:y": {}}, "f:metadata": {"f:labels": {"f:a": {}}}});
        assert_eq!(owners(&made), [("me".into(), "Apply".into(), String::new(), fields)]);

        assert!(
            !String::from_utf8_lossy(made.body()).contains("null"),
            "it is in the form in which objects are stored"
        );

        // Others may add what nobody owns.
        let added = api.apply("a", None, json!({"data": {"z": "3"}}), &by("you")).await.unwrap();
        assert_eq!(names(&added), [own("me", "Apply"), own("you", "Apply")]);

        // What is not applied any more goes, unless somebody else owns it.
        let shared = api.apply("a", None, json!({"data": {"z": "3", "x": "1"}}), &by("you")).await.unwrap();
        assert_eq!(shared.to_value()["data"], json!({"x": "1", "y": "2", "z": "3"}));
        let rest = api.apply("a", None, json!({"data": {}}), &by("me")).await.unwrap();
        assert_eq!(rest.to_value()["data"], json!({"x": "1", "z": "3"}));
        assert!(rest.label("a").is_none());

        // The same once more changes nothing, not even the time.
        let again = api.apply("a", None, json!({"data": {"z": "3", "x": "1"}}), &by("you")).await.unwrap();
        assert_eq!(again, rest);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_names_the_fields_and_their_owners_and_force_takes_them() {
    serve(async |server| {
        let api = deployments(&server);
        api.apply("web", None, deployment(Some(3)), &by("helm")).await.unwrap();
        api.patch("web", None, PatchKind::Merge, json!({"spec": {"paused": true}}), &by("pauser")).await.unwrap();
        let mut other = json!({"spec": {"replicas": 4, "paused": false}});
        let before = api.get("web").await.unwrap();
        let status = refused(api.apply("web", None, other.clone(), &by("me")).await);
        assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
        assert_eq!(
            status.message,
            "Apply failed with 2 conflicts: conflicts with \"helm\":\n- .spec.replicas\nconflicts with \"pauser\" using apps/v1:\n- .spec.paused"
        );
        let causes = status.details.unwrap().causes;
        let found: Vec<(&str, &str, &str)> =
            causes.iter().map(|cause| (&*cause.reason, &*cause.message, &*cause.field)).collect();
        assert_eq!(
            found,
            [
                ("FieldManagerConflict", "conflict with \"helm\"", ".spec.replicas"),
                ("FieldManagerConflict", "conflict with \"pauser\" using apps/v1", ".spec.paused"),
            ]
        );
        assert_eq!(api.get("web").await.unwrap(), before);

        other["spec"].as_object_mut().unwrap().remove("paused");
        let one = refused(api.apply("web", None, other.clone(), &by("me")).await);
        assert_eq!(one.message, "Apply failed with 1 conflict: conflict with \"helm\": .spec.replicas");

        let forced = api.apply("web", None, other, &by("me").force(true)).await.unwrap();
        assert_eq!(forced.to_value()["spec"]["replicas"], 4);
        let found = owners(&forced);
        let of = |name: &str| found.iter().find(|(manager, ..)| manager == name).unwrap().3.clone();
        assert!(of("helm")["f:spec"].get("f:replicas").is_none());
        assert_eq!(of("me"), json!({"f:spec": {"f:replicas": {}}}));
        // helm no longer owns what it was told to leave, so that it may apply the rest again.
        api.apply("web", None, deployment(None), &by("helm")).await.unwrap();
        assert_eq!(api.get("web").await.unwrap().to_value()["spec"]["replicas"], 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn quantities_are_the_same_however_they_are_written() {
    serve(async |server| {
        let api = deployments(&server);
        let with_cpu = |cpu: &str| {
            let mut object = deployment(None);
            object["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": cpu}});
            object
        };
        let made = api.apply("web", None, with_cpu("0.5"), &by("me")).await.unwrap();
        let other = api.apply("web", None, with_cpu("500m"), &by("you")).await.unwrap();
        assert_eq!(made.body(), other.body());
        // An empty value is stated all the same.
        let mut empty = deployment(None);
        empty["spec"]["template"]["spec"]["hostNetwork"] = json!(false);
        let owned = api.apply("web", None, empty, &by("third")).await.unwrap();
        let third = owners(&owned).into_iter().find(|(manager, ..)| manager == "third").unwrap().3;
        assert!(third["f:spec"]["f:template"]["f:spec"].get("f:hostNetwork").is_some());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_applied_is_refused_by_name() {
    serve(async |server| {
        let api = deployments(&server);
        let refuse = async |config: Value, options: Options| -> Status {
            refused(api.patch("web", None, PatchKind::Apply, config, &options).await)
        };
        let nobody = refuse(deployment(None), Options::default()).await;
        assert_eq!(nobody.code, 422);
        assert_eq!(
            nobody.message,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
        let with = |pointer: &str, name: &str, value: Value| {
            let mut object = deployment(None);
            object.pointer_mut(pointer).unwrap()[name] = value;
            object
        };
        for (config, named) in [
            (with("", "apiVersion", json!("apps/v1beta1")), "apiVersion"),
            (with("", "kind", json!("ReplicaSet")), "kind"),
            (json!({"metadata": {"name": "web"}}), "apiVersion"),
            (json!([]), "object"),
            (with("/metadata", "name", json!("other")), "other"),
            (with("/metadata", "managedFields", json!([])), "metadata.managedFields must be nil"),
            (with("/spec", "nope", json!(1)), ".spec.nope: field not declared in schema"),
            (with("/spec/template/spec", "containers", json!([{"image": "x"}])), ".spec.template.spec.containers"),
            (
                with("/spec/template/spec", "containers", json!([{"name": "a"}, {"name": "a"}])),
                "duplicate entries for key [name=\"a\"]",
            ),
            (with("/spec", "replicas", json!("three")), ".spec.replicas"),
        ] {
            let status = refuse(config.clone(), by("me")).await;
            assert_eq!(status.code, 400, "{status}");
            assert!(status.message.contains(named), "{status} does not name {named}");
        }
        // Rules of the kind apply to what comes of it.
        let invalid = refuse(with("/spec", "replicas", json!(-1)), by("me")).await;
        assert_eq!(invalid.code, 422);
        assert!(api.get_opt("web").await.unwrap().is_none());
        let uid = refuse(with("/metadata", "uid", json!("u")), by("me")).await;
        assert_eq!(uid.code, 409);

        api.apply("web", None, deployment(None), &by("me")).await.unwrap();
        let stale = refuse(with("/metadata", "resourceVersion", json!("1")), by("me")).await;
        assert_eq!(stale.code, 409, "{stale}");
        let strict = by("me").field_validation(FieldValidation::Strict);
        let twice = kore_api::request::Body::EncodedPatch(
            PatchKind::Apply,
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1, replicas: 2}\n".into(),
        );
        let mut request = kore_api::request::Request::new(kore_api::request::Verb::Patch, api.resource().clone());
        request.namespace = Some("default".into());
        request.name = Some("web".into());
        request.options = strict;
        request.body = twice;
        let status = server.handle(&kore_api::auth::User::admin(), request).await.unwrap_err();
        assert!(status.code == 400 && status.message.contains("replicas"), "{status}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn status_and_scale_are_applied_too() {
    serve(async |server| {
        let api = deployments(&server);
        api.apply("web", None, deployment(Some(1)), &by("me")).await.unwrap();
        let status = json!({"status": {"observedGeneration": 1}});
        let applied = api.apply("web", Some("status"), status, &by("controller")).await.unwrap();
        assert_eq!(applied.to_value()["status"], json!({"observedGeneration": 1}));
        let found = owners(&applied);
        let of_status = json!({"f:status": {"f:observedGeneration": {}}});
        assert!(found.contains(&("controller".into(), "Apply".into(), "status".into(), of_status)), "{found:?}");

        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 5}});
        let conflict = refused(api.patch("web", Some("scale"), PatchKind::Apply, scale.clone(), &by("scaler")).await);
        assert_eq!(conflict.message, "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas");
        let options = by("scaler").force(true);
        let scaled = api.patch("web", Some("scale"), PatchKind::Apply, scale, &options).await.unwrap();
        assert_eq!(scaled.to_value()["spec"]["replicas"], 5);
        let found = owners(&api.get("web").await.unwrap());
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        assert!(found.contains(&("scaler".into(), "Apply".into(), "scale".into(), replicas)), "{found:?}");
        // Without an opinion on the number, the rest is applied.
        api.apply("web", None, deployment(None), &by("me")).await.unwrap();
        assert_eq!(api.get("web").await.unwrap().to_value()["spec"]["replicas"], 5);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn managed_fields_are_edited_and_cleared_by_clients_and_bounded() {
    serve(async |server| {
        let api = configs(&server);
        let made = api.create(json!({"metadata": {"name": "a"}, "data": {"k": "0"}}), &by("me")).await.unwrap();
        // Cleared, nobody is tracked any more, until somebody applies.
        let mut value = made.to_value();
        value["metadata"]["managedFields"] = json!([{}]);
        let cleared = api.replace("a", None, value, &by("me")).await.unwrap();
        assert!(cleared.managed_fields().is_none());
        let change = json!({"data": {"l": "1"}});
        let changed = api.patch("a", None, PatchKind::Merge, change, &by("you")).await.unwrap();
        assert!(changed.managed_fields().is_none());
        let applied = api.apply("a", None, json!({"data": {"m": "2"}}), &by("me")).await.unwrap();
        assert_eq!(names(&applied), [own("me", "Apply"), own("before-first-apply", "Update")]);

        for writer in 0..15 {
            let change = json!({"data": {format!("w{writer}"): "x"}});
            api.patch("a", None, PatchKind::Merge, change, &by(&format!("writer-{writer:02}"))).await.unwrap();
        }
        let found = names(&api.get("a").await.unwrap());
        assert_eq!(found.iter().filter(|(_, operation)| operation == "Update").count(), 10, "{found:?}");
        assert!(found.contains(&own("ancient-changes", "Update")), "{found:?}");

        // What kubectl applied on the client's side is kubectl's on the server's.
        let last = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": "1"}});
        let mut by_client = last.clone();
        by_client["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
        api.create(by_client, &by("kubectl-client-side-apply")).await.unwrap();
        let mut next = last.clone();
        next["data"] = json!({"k": "2"});
        assert_eq!(refused(api.apply("b", None, next.clone(), &by("other")).await).code, 409);
        let applied = api.apply("b", None, next, &by("kubectl")).await.unwrap().to_value();
        assert_eq!(applied["data"], json!({"k": "2"}));
        let annotation =
            applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str();
        assert!(annotation.unwrap().contains("\"k\":\"2\""), "{annotation:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn kinds_that_are_not_built_in_are_applied_by_their_schema_or_without() {
    let tagged = ResourceType { plural: "crates".into(), kind: "Crate".into(), ..things() };
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "parts": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}},
        },
    }}}});
    let info = ResourceInfo::new(tagged.clone()).schema(&schema).unwrap();
    open(builder(&memory()).registry(registry().with(info)), async |server| {
        let client = server.client(kore_api::auth::User::admin());
        let crates = client.dynamic(tagged).in_namespace("default");
        let mine = json!({"spec": {"tags": ["a"], "parts": [{"name": "x", "size": 1}]}});
        crates.apply("c", None, mine, &by("me")).await.unwrap();
        let yours = json!({"spec": {"tags": ["b"], "parts": [{"name": "y", "size": 2}]}});
        let both = crates.apply("c", None, yours, &by("you")).await.unwrap().to_value();
        assert_eq!(both["spec"]["tags"], json!(["a", "b"]));
        assert_eq!(both["spec"]["parts"].as_array().unwrap().len(), 2);
        let unknown = refused(crates.apply("c", None, json!({"spec": {"nope": 1}}), &by("me")).await);
        assert!(unknown.code == 400 && unknown.message.contains(".spec.nope"), "{unknown}");

        // What is not in the schema is not kept.
        let odd = json!({"metadata": {"name": "odd"}, "spec": {"tags": ["a"], "more": {"x": 1}}});
        let made = crates.create(odd, &by("creator")).await.unwrap();
        assert_eq!(made.to_value()["spec"], json!({"tags": ["a"]}));
        assert_eq!(owners(&made)[0].3["f:spec"].get("f:more"), None);

        let things = client.dynamic(things()).in_namespace("default");
        things.apply("t", None, json!({"spec": {"list": ["a"], "map": {"x": 1}}}), &by("me")).await.unwrap();
        let added = json!({"spec": {"map": {"y": 2}}});
        let both = things.apply("t", None, added, &by("you")).await.unwrap().to_value();
        assert_eq!(both["spec"]["map"], json!({"x": 1, "y": 2}));
        let list = refused(things.apply("t", None, json!({"spec": {"list": ["b"]}}), &by("you")).await);
        assert!(list.code == 409 && list.message.contains(".spec.list"), "{list}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_what_would_be_and_keeps_nothing() {
    serve(async |server| {
        let api = configs(&server);
        let dry = by("me").dry_run(true);
        let shown = api.apply("a", None, json!({"data": {"k": "v"}}), &dry).await.unwrap();
        assert_eq!(names(&shown), [own("me", "Apply")]);
        assert!(api.get_opt("a").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn many_appliers_of_one_object_all_land() {
    serve(async |server| {
        let api = configs(&server);
        let appliers = (0..30).map(|at| {
            let api = &api;
            async move { api.apply("a", None, json!({"data": {format!("k{at}"): "v"}}), &by(&format!("m{at}"))).await }
        });
        futures::future::try_join_all(appliers).await.unwrap();
        let object = api.get("a").await.unwrap();
        assert_eq!(object.to_value()["data"].as_object().unwrap().len(), 30);
        assert_eq!(owners(&object).len(), 30);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_binding_is_nobodys_edit() {
    serve(async |server| {
        let pods = resource("", "pods", "Pod", Scope::Namespaced);
        let pods = server.client(kore_api::auth::User::admin()).dynamic(pods).in_namespace("default");
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let made = pods.create(pod, &by("me")).await.unwrap();
        let binding =
            json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}});
        let answer = pods.post("p", "binding", binding, &by("scheduler")).await.unwrap();
        assert!(matches!(answer.content, Content::Status(_)));
        let bound = pods.get("p").await.unwrap();
        assert_eq!(bound.to_value()["spec"]["nodeName"], "n");
        assert_eq!(bound.managed_fields(), made.managed_fields());
    })
    .await;
}
