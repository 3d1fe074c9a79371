//! Deletion: grace, finalizers, preconditions, collections.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kore_api::object::ResourceType;
use kore_api::patch::PatchKind;
use kore_api::request::{Options, Propagation};
use serde_json::{Value, json};

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object() {
    serve(async |server| {
        let things = api(&server, things());
        let sent = json!({"metadata": {"name": "a", "finalizers": ["example.com/a", "example.com/b"]}});
        things.create(sent, &Options::default()).await.unwrap();
        let leaving = things.delete("a", &Options::default()).await.unwrap().expect("held");
        assert_eq!(leaving.deletion_timestamp(), Some("2030-01-01T00:00:00Z"));
        assert_eq!(leaving.generation(), 2);
        let again = things.delete("a", &Options::default()).await.unwrap().expect("held");
        assert_eq!(again, leaving, "a second deletion changes nothing");
        let added = json!({"metadata": {"finalizers": ["example.com/a", "example.com/b", "example.com/c"]}});
        let refusal = refused(things.patch("a", None, PatchKind::Merge, added, &Options::default()).await);
        assert!(refusal.message.contains("no new finalizers can be added"), "{refusal}");
        let set = async |finalizers: Value| {
            let patch = json!({"metadata": {"finalizers": finalizers}});
            things.patch("a", None, PatchKind::Merge, patch, &Options::default()).await.unwrap()
        };
        set(json!(["example.com/b"])).await;
        assert!(things.get_opt("a").await.unwrap().is_some());
        set(json!([])).await;
        assert!(things.get_opt("a").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_dependants_stands_in_finalizers() {
    serve(async |server| {
        let things = api(&server, things());
        for (propagation, finalizers) in [
            (Propagation::Background, None),
            (Propagation::Foreground, Some(json!(["foregroundDeletion"]))),
            (Propagation::Orphan, Some(json!(["orphan"]))),
        ] {
            things.create(thing("a", json!({})), &Options::default()).await.unwrap();
            let options = Options::default().propagation(propagation);
            let left = things.delete("a", &options).await.unwrap();
            let listed = left.map(|object| object.to_value()["metadata"]["finalizers"].clone());
            assert_eq!(listed, finalizers);
            if finalizers.is_some() {
                let none = json!({"metadata": {"finalizers": null}});
                things.patch("a", None, PatchKind::Merge, none, &Options::default()).await.unwrap();
            }
            assert!(things.get_opt("a").await.unwrap().is_none());
        }
    })
    .await;
}

fn pod(name: &str, node: Option<&str>) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_node_is_given_time() {
    serve(async |server| {
        let pods = api(&server, ResourceType::of::<Pod>());
        let options = Options::default();
        pods.create(pod("waiting", None), &options).await.unwrap();
        assert!(pods.delete("waiting", &options).await.unwrap().is_none(), "nobody runs it");

        pods.create(pod("running", Some("n")), &options).await.unwrap();
        let leaving = pods.delete("running", &options).await.unwrap().expect("given time");
        assert_eq!(leaving.deletion_timestamp(), Some("2030-01-01T00:00:30Z"));
        assert_eq!(leaving.to_value()["metadata"]["deletionGracePeriodSeconds"], 30);
        tokio::time::advance(Duration::from_secs(5)).await;
        let longer = pods.delete("running", &options.clone().grace_period_seconds(60)).await.unwrap().unwrap();
        assert_eq!(longer, leaving, "never longer");
        let shorter = pods.delete("running", &options.clone().grace_period_seconds(10)).await.unwrap().unwrap();
        assert_eq!(shorter.deletion_timestamp(), Some("2030-01-01T00:00:10Z"));
        // Its node says that it has stopped.
        let done = options.clone().grace_period_seconds(0).precondition_uid(leaving.uid());
        assert!(pods.delete("running", &done).await.unwrap().is_none());
        assert!(pods.get_opt("running").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_the_one_that_is_meant_is_deleted() {
    serve(async |server| {
        let things = api(&server, things());
        let first = things.create(thing("a", json!({})), &Options::default()).await.unwrap();
        let uid = refused(things.delete("a", &Options::default().precondition_uid("other")).await);
        assert!(uid.code == 409 && uid.message.contains("UID in precondition: other"), "{uid}");
        things.patch("a", None, PatchKind::Merge, json!({"spec": {"size": 2}}), &Options::default()).await.unwrap();
        let old = Options::default().precondition_revision(first.revision());
        let revision = refused(things.delete("a", &old).await);
        assert!(revision.code == 409 && revision.message.contains("ResourceVersion in precondition"), "{revision}");
        assert!(things.delete("a", &Options::default().precondition_uid(first.uid())).await.unwrap().is_none());
        assert_eq!(refused(things.delete("a", &Options::default()).await).code, 404);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_deleted_by_selector() {
    serve(async |server| {
        let things = api(&server, things());
        for at in 0..40 {
            let color = if at % 2 == 0 { "red" } else { "blue" };
            things.create(thing(&format!("t{at:02}"), json!({"color": color})), &Options::default()).await.unwrap();
        }
        let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/x"]}, "spec": {"color": "red"}});
        things.create(held, &Options::default()).await.unwrap();
        things.delete_collection(&Options::default().fields("spec.color=red")).await.unwrap();
        let left = things.list(&Options::default()).await.unwrap().items;
        assert_eq!(left.len(), 21);
        assert!(left.iter().all(|object| object.name() != "held" || object.is_deleting()));
    })
    .await;
}
