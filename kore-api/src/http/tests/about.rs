//! What the server says about itself, and about the user.

use super::*;

#[tokio::test]
async fn openapi_documents() {
    let core = Fake::obliging();
    let index = get(&core, "/openapi/v3", "application/json").await.value();
    let address = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let service = core.service();
    let ask = async |path: &str, known: &str| {
        let request = HttpRequest::get(path).header("authorization", "Bearer secret").header("if-none-match", known);
        service.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap()
    };
    let first = ask(&address, "").await;
    assert_eq!(first.status(), 200);
    assert!(first.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let document: Value = serde_json::from_slice(&first.collect().await.unwrap().to_bytes()).unwrap();
    let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    let parameters = path["patch"]["parameters"].as_array().unwrap();
    for name in ["dryRun", "fieldValidation"] {
        assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{name}");
    }
    assert_eq!(ask(&address, &etag).await.status(), 304);
    assert_eq!(ask("/openapi/v3/apis/apps/v1", "").await.headers()["cache-control"], "no-cache, private");
    for path in ["/openapi/v3/apis/nothing/v1", "/openapi/v3/x", "/openapi/v2/x", "/openapi"] {
        assert_eq!(get(&core, path, "").await.status, 404, "{path}");
    }
    assert_eq!(
        get(&core, "/openapi/v3", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf").await.status,
        406
    );
}

#[tokio::test]
async fn the_openapi_v2_document_in_both_forms() {
    let core = Fake::obliging();
    let service = core.service();
    let ask = async |accept: &str, known: &str| {
        let request = HttpRequest::get("/openapi/v2").header("authorization", "Bearer secret");
        let request = request.header("accept", accept).header("if-none-match", known);
        let response = service.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let text =
            |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (head.status.as_u16(), text("content-type"), text("etag"), body.collect().await.unwrap().to_bytes())
    };
    let (status, media_type, etag, body) = ask("application/json, */*", "").await;
    assert_eq!((status, &*media_type), (200, "application/json"));
    let document: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        document["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["$ref"],
        "#/definitions/io.k8s.api.core.v1.PodSpec"
    );
    assert_eq!(ask("application/json", &etag).await.0, 304);

    // What client-go sends, and what it asked for before.
    for accept in [
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    ] {
        let (status, media_type, other, body) = ask(accept, &etag).await;
        assert_eq!((status, &*media_type), (200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"));
        assert!(body.windows(5).any(|bytes| bytes == b"\x0a\x032.0"), "field 1 is the version");
        assert_eq!(ask(accept, &other).await.0, 304);
    }
    assert_eq!(ask("text/html", "").await.0, 406);
}

async fn review(token: &str, path: &str, body: Value) -> Answered {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    send(&Fake::obliging(), Method::POST, path, &headers, body.to_string().as_bytes()).await
}

#[tokio::test]
async fn who_am_i() {
    let answered =
        review("secret", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({"kind": "SelfSubjectReview"}))
            .await;
    assert_eq!(answered.status, 201);
    let value = answered.value();
    assert_eq!(value["status"]["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(value["kind"], "SelfSubjectReview");
}

#[tokio::test]
async fn may_i() {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let pods =
        |verb: &str| json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "a"}}});
    let raw = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}});
    for (token, body, allowed) in [
        ("secret", pods("list"), true),
        ("secret", pods("*"), true),
        ("secret", pods("dance"), false),
        ("plain", pods("list"), false),
        ("secret", raw.clone(), true),
        ("plain", raw, false),
    ] {
        assert_eq!(review(token, path, body.clone()).await.value()["status"]["allowed"], allowed, "{token} {body}");
    }
    assert_eq!(review("secret", path, json!({"spec": {}})).await.status, 400);
    assert_eq!(get(&Fake::obliging(), path, "").await.status, 405);
}

#[tokio::test]
async fn what_may_i() {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = async |token| review(token, path, json!({"spec": {"namespace": "a"}})).await.value()["status"].clone();
    assert_eq!(rules("secret").await["resourceRules"][0]["verbs"], json!(["*"]));
    assert_eq!(rules("plain").await["resourceRules"], json!([]));
}

#[tokio::test]
async fn reviews_are_discovered() {
    let core = Fake::obliging();
    let resources = get(&core, "/apis/authorization.k8s.io/v1", "").await.value();
    assert_eq!(resources["resources"][0]["verbs"], json!(["create"]));
    assert!(resources["resources"].as_array().unwrap().len() == 2);
}
