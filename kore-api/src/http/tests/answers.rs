//! How answers are written.

use super::*;

#[tokio::test]
async fn lists() {
    let core = Fake::new(|_| {
        let items = (1..=3000).map(|at| pod(&format!("pod-{at:04}"), at)).collect();
        let list = ObjectList { items, revision: 3000, continue_token: Some("next".into()), remaining: Some(5) };
        Ok(Content::List(list).into())
    });
    let answered = get(&core, "/api/v1/pods", "application/json").await;
    let value = answered.value();
    assert_eq!((&value["kind"], &value["apiVersion"]), (&json!("PodList"), &json!("v1")));
    assert_eq!(value["metadata"], json!({"resourceVersion": "3000", "continue": "next", "remainingItemCount": 5}));
    assert_eq!(value["items"].as_array().unwrap().len(), 3000);
    assert_eq!(value["items"][2999]["metadata"]["resourceVersion"], "3000");

    let metadata =
        get(&core, "/api/v1/pods", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await.value();
    assert_eq!(metadata["kind"], "PartialObjectMetadataList");
    assert_eq!(metadata["items"][0]["metadata"]["name"], "pod-0001");
    assert!(metadata["items"][0].get("spec").is_none());

    let table = get(&core, "/api/v1/pods", "application/json;as=Table;g=meta.k8s.io;v=v1").await.value();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"][1]["cells"], json!(["pod-0002", "60s"]));
    assert_eq!(table["rows"][1]["object"]["kind"], "PartialObjectMetadata");

    let yaml = get(&core, "/api/v1/pods", "application/yaml").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(yaml.body.windows(13).any(|window| window == b"kind: PodList"));
    assert_eq!(get(&core, "/api/v1/pods", "text/html").await.status, 406);
}

#[tokio::test]
async fn single_objects() {
    let core = Fake::obliging();
    let path = "/api/v1/namespaces/default/pods/a";
    let whole = get(&core, path, "application/vnd.kubernetes.protobuf,application/json").await;
    assert_eq!(whole.header("content-type"), "application/json");
    assert_eq!(whole.value(), pod("a", 5).to_value());
    let table = get(&core, path, "application/json;as=Table;g=meta.k8s.io;v=v1").await.value();
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    let with_object = format!("{path}?includeObject=Object");
    let table = get(&core, &with_object, "application/json;as=Table;g=meta.k8s.io;v=v1").await.value();
    assert_eq!(table["rows"][0]["object"], pod("a", 5).to_value());
    let pretty = get(&core, &format!("{path}?pretty=true"), "").await;
    assert!(pretty.body.starts_with(b"{\n"));
    let head = send(&core, Method::HEAD, path, &[], b"").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn warnings_and_retries_are_headers() {
    let core = Fake::new(|request| {
        if request.verb == Verb::Get {
            let details = StatusDetails { retry_after_seconds: 7, ..StatusDetails::default() };
            return Err(Status { details: Some(details), ..Status::new(Reason::TooManyRequests, "later") });
        }
        Ok(Response {
            warnings: vec!["unknown field \"spec.x\"".into(), "old".into()],
            content: Content::Created(pod("a", 1)),
        })
    });
    let created = send(&core, Method::POST, "/api/v1/namespaces/a/pods", &[], b"{}").await;
    assert_eq!(created.status, 201);
    let warnings: Vec<_> = created.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(warnings, [r#"299 - "unknown field \"spec.x\"""#, r#"299 - "old""#]);
    let refused = get(&core, "/api/v1/namespaces/a/pods/a", "").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "7"));
}

#[tokio::test]
async fn a_watch_is_a_line_an_event() {
    let events = || {
        vec![
            Ok(WatchEvent::Added(pod("a", 5))),
            Ok(WatchEvent::Modified(pod("a", 6))),
            Ok(WatchEvent::Deleted(pod("a", 7))),
            Ok(WatchEvent::Bookmark { revision: 9, initial_events_end: true }),
            Err(Error::from(Status::new(Reason::Expired, "too old resource version"))),
        ]
    };
    let core = Fake::new(move |_| Ok(Content::Watch(stream::iter(events()).boxed()).into()));
    let lines = |answered: &Answered| -> Vec<Value> {
        let lines = answered.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    };
    let whole = lines(&get(&core, "/api/v1/pods?watch=1", "application/json").await);
    let types: Vec<&str> = whole.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]);
    assert_eq!(whole[1]["object"], pod("a", 6).to_value());
    assert_eq!(whole[3]["object"]["metadata"]["resourceVersion"], "9");
    assert_eq!(whole[3]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((&whole[4]["object"]["code"], &whole[4]["object"]["reason"]), (&json!(410), &json!("Expired")));

    let tables = lines(&get(&core, "/api/v1/pods?watch=1", "application/json;as=Table;g=meta.k8s.io;v=v1").await);
    assert!(tables[0]["object"]["columnDefinitions"].is_array());
    assert!(tables[1]["object"]["columnDefinitions"].is_null());
    assert_eq!(tables[1]["object"]["rows"][0]["cells"][0], "a");
    assert_eq!(tables[4]["object"]["kind"], "Status");
    assert_eq!(get(&core, "/api/v1/pods?watch=1", "application/yaml").await.status, 406);
}

#[tokio::test]
async fn logs_come_as_they_are() {
    let core = Fake::new(|request| {
        assert_eq!(request.options.extra, [("tailLines".to_owned(), "2".to_owned())]);
        let lines = [Ok(Bytes::from("one\n")), Ok(Bytes::from("two\n"))];
        Ok(Content::Bytes(stream::iter(lines).boxed()).into())
    });
    let answered = get(&core, "/api/v1/namespaces/a/pods/b/log?tailLines=2", "application/json, */*").await;
    assert_eq!((answered.header("content-type"), &*answered.body), ("text/plain", &b"one\ntwo\n"[..]));
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let core = Fake::new(|_| panic!("a fault"));
    let answered = get(&core, "/api/v1/pods", "").await;
    assert_eq!(answered.status, 500);
    assert!(answered.message().starts_with("Internal error occurred"));
}

#[tokio::test]
async fn discovery() {
    let core = Fake::obliging();
    let api = get(&core, "/api", "").await.value();
    assert_eq!(api["versions"], json!(["v1"]));
    let groups = get(&core, "/apis", "").await.value();
    assert_eq!(groups["groups"][0]["preferredVersion"], json!({"groupVersion": "apps/v1", "version": "v1"}));
    assert_eq!(get(&core, "/apis/apps", "").await.value()["kind"], "APIGroup");
    let resources = get(&core, "/api/v1", "").await.value();
    let by_name: BTreeMap<&str, &Value> =
        resources["resources"].as_array().unwrap().iter().map(|info| (info["name"].as_str().unwrap(), info)).collect();
    assert_eq!(by_name["pods"]["shortNames"], json!(["po"]));
    assert_eq!(by_name["pods"]["namespaced"], true);
    assert_eq!(by_name["pods/binding"]["kind"], "Binding");
    assert_eq!(by_name["pods/log"]["verbs"], json!(["get"]));
    assert_eq!(by_name["nodes"]["namespaced"], false);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answered = get(&core, "/apis", aggregated).await;
    assert!(answered.header("content-type").contains("APIGroupDiscoveryList"));
    let deployments = &answered.value()["items"][0]["versions"][0]["resources"][0];
    assert_eq!((&deployments["resource"], &deployments["scope"]), (&json!("deployments"), &json!("Namespaced")));
    assert_eq!(deployments["subresources"][0]["responseKind"]["kind"], "Scale");
    for path in ["/api/v2", "/apis/nothing", "/apis/apps/v7", "/apis/apps/v1/x/y/z/a/b"] {
        assert_eq!(get(&core, path, "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn health_and_version() {
    let unready = Fake { ready: false, ..Fake::obliging() };
    assert_eq!(get(&unready, "/livez", "").await.body, "ok");
    let answered = get(&unready, "/readyz", "").await;
    assert_eq!(answered.status, 500);
    assert!(answered.body.starts_with(b"[+]ping ok\n[-]storage failed"));
    let verbose = get(&Fake::obliging(), "/readyz?verbose", "").await;
    assert!(verbose.body.ends_with(b"readyz check passed\n"));
    assert_eq!(get(&unready, "/version", "").await.value()["gitVersion"], "v1.37.0+kore");
}

#[tokio::test]
async fn protobuf_is_for_who_accepts_nothing_else() {
    let core = Fake::obliging();
    let only = "application/vnd.kubernetes.protobuf";
    let answered = get(&core, "/api/v1/namespaces/default/pods/a", only).await;
    assert_eq!(answered.header("content-type"), only);
    let limits = crate::codec::Limits::default();
    let decoded = crate::codec::decode(crate::codec::Format::Protobuf, &answered.body, &limits).unwrap();
    assert_eq!(decoded.value["metadata"]["name"], "a");
    let list = get(&core, "/api/v1/namespaces/default/pods", only).await;
    assert!([only, "application/json"].contains(&list.header("content-type")));
    assert_eq!(get(&core, "/api/v1/pods?watch=1", only).await.status, 406);
}

#[tokio::test]
async fn a_service_goes_wherever_services_go() {
    fn in_axum<S>(_: &S)
    where
        S: tower::Service<HttpRequest<Full<Bytes>>, Error = std::convert::Infallible, Future: Send>,
        S: Clone + Send + Sync + 'static,
    {
    }
    use tower::Layer;
    let core = Fake::obliging();
    let service = crate::http::layer::ActAsLayer::new(User::node("n")).layer(core.service());
    in_axum(&service);
    let request = HttpRequest::get("/api/v1/pods").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(core.asked.lock().unwrap().as_ref().unwrap().0, User::node("n"));
}
