//! The server behind the HTTP front.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use kore_api::auth::{TokenAuthenticator, User};
use kore_api::http::ApiService;
use kore_api::kinds;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn objects_over_http() {
    open(builder(&memory()).registry(kinds::builtin()), async |server| {
        let tokens = TokenAuthenticator::new([("secret", User::admin())]);
        let service = ApiService::new(server.clone(), tokens);
        let send = async |method: &str, path: &str, body: Value| {
            let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
            let request = http::Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", "Bearer secret")
                .header(
                    "content-type",
                    if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
                )
                .body(Full::new(body))
                .unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            let code = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (code, serde_json::from_slice::<Value>(&body).unwrap_or_default())
        };
        let configs = "/api/v1/namespaces/default/configmaps";
        let sent = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let (code, made) = send("POST", configs, sent.clone()).await;
        assert_eq!((code, &made["data"]["k"]), (201, &json!("v")), "{made}");
        assert_eq!(send("POST", configs, sent).await.0, 409);
        let (code, patched) = send("PATCH", &format!("{configs}/a"), json!({"data": {"k": "w"}})).await;
        assert_eq!((code, &patched["data"]["k"]), (200, &json!("w")));
        let (code, list) = send("GET", &format!("{configs}?limit=1"), Value::Null).await;
        assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(1)));
        let since = made["metadata"]["resourceVersion"].as_str().unwrap();
        let (code, event) =
            send("GET", &format!("{configs}?watch=1&timeoutSeconds=1&resourceVersion={since}"), Value::Null).await;
        assert_eq!((code, &event["type"], &event["object"]["data"]["k"]), (200, &json!("MODIFIED"), &json!("w")));
        let (code, gone) = send("DELETE", &format!("{configs}/a"), Value::Null).await;
        assert_eq!((code, &gone["status"]), (200, &json!("Success")));
        let (code, missing) = send("GET", &format!("{configs}/a"), Value::Null).await;
        assert_eq!((code, missing["message"].as_str()), (404, Some("configmaps \"a\" not found")));
        assert_eq!(send("GET", "/readyz", Value::Null).await.0, 200);
    })
    .await;
}
