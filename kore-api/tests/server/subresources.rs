//! Scale, binding, log.

use std::convert::Infallible;

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::Full;
use k8s_openapi::api::core::v1::Pod;
use kore_api::object::ResourceType;
use kore_api::patch::PatchKind;
use kore_api::request::{Content, Options};
use kore_api::server::NodeBody;
use serde_json::{Value, json};

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn scale() {
    serve(async |server| {
        let things = api(&server, things());
        let spec = json!({"size": 2, "selector": {"matchLabels": {"a": "b"}}});
        let made = things.create(thing("a", spec), &Options::default()).await.unwrap();
        let response = things.get_subresource("a", "scale", &Options::default()).await.unwrap();
        let Content::Value(mut scale) = response.content else { panic!("a Scale is no object of the resource") };
        assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
        assert_eq!(scale["status"], json!({"replicas": 0, "selector": "a=b"}));
        scale["spec"]["replicas"] = json!(5);
        let changed = things.replace("a", Some("scale"), scale.clone(), &Options::default()).await.unwrap();
        assert_eq!(changed.kind(), "Scale");
        assert_eq!(things.get("a").await.unwrap().to_value()["spec"]["size"], 5);
        assert_eq!(refused(things.replace("a", Some("scale"), scale, &Options::default()).await).code, 409);
        let patch = json!({"spec": {"replicas": 7}});
        things.patch("a", Some("scale"), PatchKind::Merge, patch, &Options::default()).await.unwrap();
        let now = things.get("a").await.unwrap();
        assert_eq!((&now.to_value()["spec"]["size"], now.generation()), (&json!(7), made.generation() + 2));
        let negative = json!({"spec": {"replicas": -1}});
        let status = refused(things.patch("a", Some("scale"), PatchKind::Merge, negative, &Options::default()).await);
        assert_eq!(
            status.message,
            "Scale.autoscaling \"a\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
    })
    .await;
}

fn pod(name: &str, containers: &[&str], node: Option<&str>) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
    json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": containers}})
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    serve(async |server| {
        let pods = admin(&server).namespaced::<Pod>("default");
        let made = pods.dynamic().create(pod("web", &["c"], None), &Options::default()).await.unwrap();
        assert!(pods.bind("web", "another", "n1").await.unwrap_err().is_conflict());
        let outcomes = futures::join!(
            pods.bind("web", made.uid(), "n1"),
            pods.bind("web", made.uid(), "n2"),
            pods.bind("web", made.uid(), "n3"),
        );
        let outcomes = [outcomes.0, outcomes.1, outcomes.2];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let lost = outcomes.into_iter().find(Result::is_err).map(refused).unwrap();
        assert!(lost.code == 409 && lost.message.contains("is already assigned to node"), "{lost}");
        let bound = pods.get("web").await.unwrap();
        assert!(bound.spec.as_ref().unwrap().node_name.is_some());
        let condition = &bound.status.as_ref().unwrap().conditions.as_ref().unwrap()[0];
        assert_eq!((condition.type_.as_str(), condition.status.as_str()), ("PodScheduled", "True"));
        assert_eq!(bound.object().generation(), made.generation());
        let list = pods.list(&Options::default().fields("spec.nodeName!=")).await.unwrap();
        assert_eq!(list.items.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_log_comes_from_the_node() {
    serve(async |server| {
        server.nodes().attach(
            "n1",
            tower::service_fn(async |request: http::Request<NodeBody>| {
                let said = request.uri().to_string();
                let (code, said) = match said.contains("/broken") {
                    true => (400, "container \"c\" in pod \"broken\" is waiting to start: ContainerCreating".into()),
                    false => (200, said),
                };
                let response = http::Response::builder().status(code).body(Full::new(Bytes::from(said)));
                Ok::<_, Infallible>(response.unwrap())
            }),
        );
        let pods = api(&server, ResourceType::of::<Pod>());
        for sent in [
            pod("one", &["c"], Some("n1")),
            pod("two", &["c", "d"], Some("n1")),
            pod("broken", &["c"], Some("n1")),
            pod("nowhere", &["c"], None),
            pod("away", &["c"], Some("n2")),
        ] {
            pods.create(sent, &Options::default()).await.unwrap();
        }
        let log = async |name: &str, extra: &[(&str, &str)]| {
            let with = |options: Options, (name, value): &(&str, &str)| options.extra(*name, *value);
            let options = extra.iter().fold(Options::default(), with);
            let response = pods.get_subresource(name, "log", &options).await?;
            let Content::Bytes(stream) = response.content else { panic!("a log is bytes") };
            let chunks: Vec<Bytes> = stream.try_collect().await?;
            Ok(String::from_utf8(chunks.concat()).unwrap())
        };
        assert_eq!(
            log("one", &[("follow", "true"), ("tailLines", "3")]).await.unwrap(),
            "/containerLogs/default/one/c?follow=true&tailLines=3"
        );
        assert_eq!(log("two", &[("container", "d")]).await.unwrap(), "/containerLogs/default/two/d");
        for (name, extra, code, problem) in [
            ("two", vec![], 400, "a container name must be specified for pod two, choose one of: [c d]"),
            ("two", vec![("container", "x")], 400, "container x is not valid for pod two"),
            (
                "one",
                vec![("tailLines", "-1")],
                422,
                "Pod \"one\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
            ),
            ("broken", vec![], 400, "container \"c\" in pod \"broken\" is waiting to start: ContainerCreating"),
            (
                "nowhere",
                vec![],
                400,
                "container \"c\" in pod \"nowhere\" is waiting to start: the pod is not assigned to a node",
            ),
            ("away", vec![], 503, "node \"n2\" cannot be reached: it is not connected"),
            ("none", vec![], 404, "pods \"none\" not found"),
        ] {
            let status = refused(log(name, &extra).await);
            assert_eq!((status.code, status.message.as_str()), (code, problem));
        }
    })
    .await;
}
