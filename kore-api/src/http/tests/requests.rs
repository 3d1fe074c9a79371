//! What the core is asked.

use super::*;

/// `verb namespace/name subresource`, or the code and message of the refusal.
async fn understood(method: Method, path: &str) -> String {
    let core = Fake::obliging();
    let json_patch = [("content-type", "application/merge-patch+json")];
    let headers: &[(&str, &str)] = if method == Method::PATCH { &json_patch } else { &[] };
    let answered = send(&core, method, path, headers, b"").await;
    match core.asked() {
        Some(request) => {
            let part = request.subresource.as_deref().map(|part| format!(" {part}")).unwrap_or_default();
            let or = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("-").to_owned();
            format!("{} {} {}/{}{part}", request.verb, request.resource, or(&request.namespace), or(&request.name))
        }
        None => answered.status.as_u16().to_string(),
    }
}

#[tokio::test]
async fn the_program_that_sends_is_known_by_its_user_agent() {
    let long = format!("{}/1", "x".repeat(300));
    for (header, expected) in [
        ("kubectl/v1.37.1 (linux/amd64) kubernetes/abc", "kubectl"),
        ("curl", "curl"),
        ("my program/1", "my program"),
        (&long, &"x".repeat(128)),
        ("", ""),
    ] {
        let core = Fake::obliging();
        send(&core, Method::GET, "/api/v1/pods", &[("user-agent", header)], b"").await;
        assert_eq!(&*core.asked().unwrap().user_agent, expected);
    }
}

#[tokio::test]
async fn methods_and_paths_become_verbs() {
    for (method, path, expected) in [
        (Method::GET, "/api/v1/pods", "list pods -/-"),
        (Method::GET, "/api/v1/namespaces/a/pods", "list pods a/-"),
        (Method::HEAD, "/api/v1/namespaces/a/pods/b", "get pods a/b"),
        (Method::GET, "/api/v1/namespaces/a/pods?watch=true", "watch pods a/-"),
        (Method::GET, "/api/v1/namespaces/a/pods?watch=false", "list pods a/-"),
        (Method::GET, "/api/v1/namespaces/a/pods/b?watch=true", "get pods a/b"),
        (Method::GET, "/api/v1/watch/namespaces/a/pods/b", "watch pods a/-"),
        (Method::POST, "/api/v1/namespaces/a/pods", "create pods a/-"),
        (Method::POST, "/api/v1/namespaces/a/pods/b/binding", "create pods a/b binding"),
        (Method::PUT, "/api/v1/nodes/n", "update nodes -/n"),
        (Method::PUT, "/api/v1/nodes/n/status", "update nodes -/n status"),
        (Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/b/scale", "patch deployments.apps a/b scale"),
        (Method::DELETE, "/api/v1/namespaces/a/pods/b", "delete pods a/b"),
        (Method::DELETE, "/api/v1/namespaces/a/pods", "deletecollection pods a/-"),
        (Method::DELETE, "/api/v1/namespaces/a", "delete namespaces -/a"),
        // Not there.
        (Method::GET, "/api/v1/dogs", "404"),
        (Method::GET, "/apis/apps/v2/deployments", "404"),
        (Method::GET, "/apis/apps/v1/pods", "404"),
        (Method::GET, "/api/v1/namespaces/a/nodes", "404"),
        (Method::GET, "/api/v1/pods/b", "404"),
        (Method::GET, "/api/v1/namespaces/a/pods/b/scale", "404"),
        (Method::GET, "/api/v1/namespaces/a/pods/b/log/x", "404"),
        // There, but not like this.
        (Method::POST, "/api/v1/pods", "405"),
        (Method::DELETE, "/api/v1/pods", "405"),
        (Method::POST, "/api/v1/namespaces/a/pods/b", "405"),
        (Method::PUT, "/api/v1/namespaces/a/pods", "405"),
        (Method::DELETE, "/api/v1/namespaces/a/pods/b/status", "405"),
        (Method::GET, "/api/v1/namespaces/a/pods/b/binding", "405"),
        (Method::OPTIONS, "/api/v1/namespaces/a/pods", "405"),
        (Method::POST, "/version", "405"),
        (Method::GET, "/metrics/nothing", "404"),
        (Method::GET, "/api/v1/namespaces/a/pods?limit=x", "400"),
        (Method::GET, "/api/v1/namespaces/../nodes", "400"),
    ] {
        assert_eq!(understood(method.clone(), path).await, expected, "{method} {path}");
    }
}

/// A cluster-scoped resource is not found under a namespace.
#[tokio::test]
async fn cve_2019_11247() {
    assert_eq!(understood(Method::GET, "/api/v1/namespaces/a/nodes/n").await, "404");
    assert_eq!(understood(Method::DELETE, "/api/v1/namespaces/a/nodes/n").await, "404");
}

/// A path cannot be made to name another resource than the one that is authorised.
#[tokio::test]
async fn cve_2022_3162() {
    for path in
        ["/api/v1/namespaces/..%2Fx/pods", "/api/v1/namespaces/a/pods/..%2F..%2Fb", "/api/v1/namespaces/%2e%2e/pods"]
    {
        assert_eq!(understood(Method::GET, path).await, "400", "{path}");
    }
}

#[tokio::test]
async fn only_who_is_known_gets_in() {
    let core = Fake::obliging();
    for (authorization, path, status) in [
        ("", "/api/v1/pods", 401),
        ("Bearer wrong", "/api/v1/pods", 401),
        ("Bearer secret", "/api/v1/pods", 200),
        ("", "/healthz", 200),
        ("", "/readyz", 200),
        ("", "/version", 200),
        ("", "/api", 401),
        ("Bearer plain", "/apis", 200),
        ("Bearer plain", "/metrics", 403),
        ("Bearer secret", "/metrics", 404),
    ] {
        let answered = send(&core, Method::GET, path, &[("authorization", authorization)], b"").await;
        assert_eq!(answered.status, status, "{authorization:?} {path}");
        if status >= 400 {
            assert!(!answered.message().is_empty());
        }
    }
    let answered = send(&core, Method::GET, "/api/v1/pods", &[("impersonate-user", "root")], b"").await;
    assert_eq!(answered.status, 403);
    assert!(answered.message().contains("impersonation"));
}

#[tokio::test]
async fn a_user_that_a_layer_of_the_application_has_found_is_taken() {
    let core = Fake::obliging();
    let request = HttpRequest::get("/api/v1/pods").extension(User::node("n")).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(core.service().oneshot(request).await.unwrap().status(), 200);
    assert_eq!(core.asked.lock().unwrap().as_ref().unwrap().0, User::node("n"));
}

#[tokio::test]
async fn bodies() {
    let pods = "/api/v1/namespaces/a/pods";
    let too_large = vec![b' '; (3 << 20) + 1];
    for (method, path, content_type, body, status) in [
        (Method::POST, pods, "application/json", &b"{}"[..], 201),
        (Method::POST, pods, "", b"{}", 201),
        (Method::POST, pods, "application/yaml; charset=utf-8", b"a: b", 201),
        (Method::POST, pods, "application/vnd.kubernetes.protobuf", b"k8s", 201),
        (Method::POST, pods, "text/html", b"{}", 415),
        (Method::PATCH, "/api/v1/nodes/n", "application/json", b"{}", 415),
        (Method::PATCH, "/api/v1/nodes/n", "application/apply-patch+yaml", b"{}", 200),
        (Method::POST, pods, "application/json", &too_large, 413),
        (Method::DELETE, "/api/v1/nodes/n", "application/json", b"{", 400),
        (Method::DELETE, "/api/v1/nodes/n", "application/json", b"{\"gracePeriodSeconds\":\"x\"}", 400),
        (Method::DELETE, "/api/v1/nodes/n", "application/json", b"", 200),
    ] {
        let core = Fake::obliging();
        let answered = send(&core, method.clone(), path, &[("content-type", content_type)], body).await;
        assert_eq!(answered.status, status, "{method} {path} {content_type}");
        assert_eq!(core.asked().is_some(), status < 300);
    }
}

#[tokio::test]
async fn options_of_a_deletion_come_from_query_and_body() {
    let core = Fake::obliging();
    let body =
        br#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground","preconditions":{"uid":"u"}}"#;
    let path = "/api/v1/namespaces/a/pods/b?gracePeriodSeconds=3&dryRun=All";
    send(&core, Method::DELETE, path, &[("content-type", "application/json")], body).await;
    let request = core.asked().unwrap();
    let expected = Options {
        grace_period_seconds: Some(3),
        dry_run: true,
        propagation: Some(Propagation::Foreground),
        precondition_uid: Some("u".into()),
        ..Options::default()
    };
    assert_eq!(request.options, expected);
    assert!(matches!(request.body, Body::Empty));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_broken_off() {
    #[derive(Clone)]
    struct Never(Fake);
    #[async_trait]
    impl Core for Never {
        async fn handle(&self, _: &User, _: Request) -> Result<Response, Status> {
            std::future::pending().await
        }
        async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
            self.0.authorize(attributes).await
        }
        fn registry(&self) -> Arc<Registry> {
            self.0.registry()
        }
        fn is_ready(&self) -> bool {
            true
        }
        fn clock(&self) -> Clock {
            self.0.clock()
        }
    }
    let limits = crate::http::Limits { requests_in_flight: 1, ..crate::http::Limits::default() };
    let tokens = TokenAuthenticator::new([("secret", User::admin())]);
    let service = ApiService::with_limits(Never(Fake::obliging()), tokens, &limits);
    let request = |path: &str| {
        let request = HttpRequest::get(path).header("authorization", "Bearer secret");
        service.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap())
    };
    let mut first = Box::pin(request("/api/v1/pods"));
    assert!((&mut first).now_or_never().is_none());
    let second = request("/api/v1/pods").await.unwrap();
    assert_eq!((second.status().as_u16(), &second.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert!(request("/api/v1/pods?watch=true").now_or_never().is_none(), "a watch is not counted");
    assert_eq!(first.await.unwrap().status(), 504);
}
