//! Tokens of service accounts: who gets them, and for how long they are good.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kore_api::auth::{AccountTokens, Authenticator, User};
use kore_api::client::DynamicApi;
use kore_api::kinds;
use kore_api::object::ResourceType;
use kore_api::request::{Content, Options};
use kore_api::server::Server;
use serde_json::{Value, json};

use crate::harness::*;

async fn with_tokens<T>(work: impl AsyncFnOnce(Server) -> T) -> T {
    let tokens = AccountTokens::ephemeral().unwrap();
    open(builder(&memory()).registry(kinds::builtin()).account_tokens(tokens), async |server: Server| {
        let account = json!({"metadata": {"name": "robot"}});
        api(&server, ResourceType::of::<ServiceAccount>()).create(account, &Options::default()).await.unwrap();
        work(server).await
    })
    .await
}

async fn request(accounts: &DynamicApi, spec: Value) -> Result<Value, kore_api::error::Status> {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    match accounts.post("robot", "token", body, &Options::default()).await {
        Ok(response) => match response.content {
            Content::Value(value) => Ok(value),
            other => panic!("a TokenRequest, not {other:?}"),
        },
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

/// Who shows this token; `Err`: nobody that may come in.
async fn user(server: &Server, token: &Value) -> Result<Option<User>, String> {
    let header = format!("Bearer {}", token["status"]["token"].as_str().unwrap());
    let request = http::Request::get("/api").header("authorization", header).body(()).unwrap();
    let authenticator = server.account_authenticator().expect("it issues tokens");
    authenticator.authenticate(&request.into_parts().0).await.map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_its_time_and_its_account() {
    with_tokens(async |server| {
        let accounts = api(&server, ResourceType::of::<ServiceAccount>());
        let token = request(&accounts, json!({"expirationSeconds": 600})).await.unwrap();
        assert_eq!(token["status"]["expirationTimestamp"], "2030-01-01T00:10:00Z");
        let robot = user(&server, &token).await.unwrap().unwrap();
        assert_eq!(robot.name, "system:serviceaccount:default:robot");
        assert!(robot.is_in("system:serviceaccounts:default") && robot.is_in("system:authenticated"));
        assert!(robot.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
        let elsewhere = request(&accounts, json!({"audiences": ["vault"]})).await.unwrap();
        assert!(user(&server, &elsewhere).await.unwrap_err().contains("audiences"));
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(user(&server, &token).await.unwrap_err().contains("expired"));

        let token = request(&accounts, json!({})).await.unwrap();
        assert_eq!(token["spec"]["expirationSeconds"], 3600);
        accounts.delete("robot", &Options::default()).await.unwrap();
        let account = json!({"metadata": {"name": "robot"}});
        accounts.create(account, &Options::default()).await.unwrap();
        server.ready().await.unwrap();
        assert!(user(&server, &token).await.unwrap_err().contains("no longer there"), "it is another account");
        let short = request(&accounts, json!({"expirationSeconds": 60})).await.unwrap_err();
        assert_eq!(
            (short.code, &*short.message),
            (422, "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify \
                   a duration less than 10 minutes")
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_the_pod_that_it_is_bound_to() {
    with_tokens(async |server| {
        let (accounts, pods) = (api(&server, ResourceType::of::<ServiceAccount>()), api(&server, ResourceType::of::<Pod>()));
        let pod = |name: &str, account: &str| {
            json!({"metadata": {"name": name}, "spec": {
                "serviceAccountName": account, "nodeName": "n1", "containers": [{"name": "c", "image": "i"}],
            }})
        };
        let made = pods.create(pod("p", "robot"), &Options::default()).await.unwrap();
        pods.create(pod("q", "other"), &Options::default()).await.unwrap();
        let bound = |name: &str, uid: &str| {
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}})
        };
        assert_eq!(request(&accounts, bound("p", "x")).await.unwrap_err().code, 409);
        let other = request(&accounts, bound("q", "")).await.unwrap_err();
        assert!(other.message.contains("cannot bind token for serviceaccount \"robot\" to pod running with serviceaccount \"other\""));
        assert_eq!(request(&accounts, bound("r", "")).await.unwrap_err().code, 404);
        let token = request(&accounts, bound("p", made.uid())).await.unwrap();
        let robot = user(&server, &token).await.unwrap().unwrap();
        assert_eq!(robot.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert_eq!(robot.extra["authentication.kubernetes.io/node-name"], ["n1"]);

        // A node gets tokens for its own pods alone.
        for (node, spec, allowed) in [
            ("n1", bound("p", made.uid()), true),
            ("n1", bound("p", ""), false),
            ("n2", bound("p", made.uid()), false),
            ("n1", json!({}), false),
        ] {
            let own = server.client(User::node(node)).dynamic(ResourceType::of::<ServiceAccount>()).in_namespace("default");
            let outcome = request(&own, spec.clone()).await;
            assert_eq!(outcome.is_ok(), allowed, "{node} {spec}");
            assert!(outcome.err().is_none_or(|status| status.code == 403));
        }
        pods.delete("p", &Options::default().grace_period_seconds(0)).await.unwrap();
        server.ready().await.unwrap();
        assert!(user(&server, &token).await.is_err());
        let nodes = admin(&server).dynamic(ResourceType::of::<Node>());
        assert!(nodes.list(&Options::default()).await.unwrap().items.is_empty(), "of a pod's node the token only tells");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_key_issues_nothing() {
    open(builder(&memory()).registry(kinds::builtin()), async |server| {
        let accounts = api(&server, ResourceType::of::<ServiceAccount>());
        accounts.create(json!({"metadata": {"name": "robot"}}), &Options::default()).await.unwrap();
        assert_eq!(request(&accounts, json!({})).await.unwrap_err().code, 404);
        assert!(server.account_authenticator().is_none());
    })
    .await;
}
