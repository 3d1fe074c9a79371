//! Whatever a client sends: no panic, and no 5xx that is the client's fault.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kore_api::auth::{TokenAuthenticator, User};
use kore_api::http::ApiService;
use kore_api::server::Server;
use kore_store::MemoryStore;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tower::ServiceExt;

const PATHS: [&str; 14] = [
    "/api/v1/namespaces",
    "/api/v1/namespaces/default",
    "/api/v1/namespaces/default/finalize",
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/configmaps/a",
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/pods/a",
    "/api/v1/namespaces/default/pods/a/binding",
    "/api/v1/namespaces/default/pods/a/log",
    "/api/v1/namespaces/default/services",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/a",
    "/apis/apps/v1/namespaces/default/deployments/a/scale",
    "/apis/apps/v1/namespaces/default/deployments/a/status",
];

const OBJECTS: [&str; 5] = [
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"x":"y"}},"data":{"k":"v"}}"#,
    r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#,
    r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
    r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"ports":[{"port":80}],"selector":{"a":"b"}}}"#,
    r#"[{"op":"replace","path":"/metadata/labels","value":{"a":"b"}}]"#,
];

const PARAMETERS: [&str; 16] = [
    "limit=1",
    "limit=99999999999",
    "continue=abc",
    "resourceVersion=0",
    "resourceVersion=1",
    "resourceVersion=x",
    "resourceVersionMatch=Exact",
    "resourceVersionMatch=x",
    "labelSelector=a%3Db",
    "labelSelector=%3D",
    "fieldSelector=metadata.name%3Da",
    "fieldSelector=x",
    "dryRun=All",
    "fieldValidation=Strict",
    "sendInitialEvents=true",
    "gracePeriodSeconds=-5",
];

/// A valid body, with pieces cut out, doubled and overwritten.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), 0..4_usize, any::<u8>()), 0..4);
    (proptest::sample::select(OBJECTS.to_vec()), edits).prop_map(|(object, edits)| {
        let mut bytes = object.as_bytes().to_vec();
        for (index, edit, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => {
                    let rest = bytes[at..].to_vec();
                    bytes.extend(rest);
                }
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

#[tokio::test]
async fn no_request_makes_the_server_fail() {
    let methods = vec!["GET", "POST", "PUT", "PATCH", "DELETE"];
    let types = vec![
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    let accepts = vec!["application/json", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io"];
    let request = (
        proptest::sample::select(methods),
        proptest::sample::select(PATHS.to_vec()),
        proptest::collection::vec(proptest::sample::select(PARAMETERS.to_vec()), 0..3),
        proptest::sample::select(types),
        proptest::sample::select(accepts),
        body(),
    );
    let (server, run) = Server::builder(Arc::new(MemoryStore::default())).open().await.unwrap();
    let service = ApiService::new(server, TokenAuthenticator::new([("secret", User::admin())]));
    let asking = async {
        let mut runner = TestRunner::deterministic();
        for _ in 0..1000 {
            let (method, path, query, content_type, accept, body) = request.new_tree(&mut runner).unwrap().current();
            let uri = format!("{path}?{}", query.join("&"));
            let shown = String::from_utf8_lossy(&body).into_owned();
            let asked = Request::builder()
                .method(method)
                .uri(&uri)
                .header("authorization", "Bearer secret")
                .header("content-type", content_type)
                .header("accept", accept)
                .body(Full::new(Bytes::from(body)))
                .unwrap();
            let (head, answer) = service.clone().oneshot(asked).await.unwrap().into_parts();
            let answer = answer.collect().await.unwrap().to_bytes();
            assert!(head.status.as_u16() < 500, "{method} {uri} {content_type} {shown}: {answer:?}");
        }
    };
    tokio::select! {
        biased;
        () = run => unreachable!("a server runs until it is dropped"),
        () = asking => {}
    }
}
