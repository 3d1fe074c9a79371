//! Any request at all.

use super::*;
use proptest::prelude::*;

/// Segments that mean something, and some that do not.
fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => proptest::sample::select(vec![
            "api", "apis", "v1", "apps", "namespaces", "pods", "nodes", "deployments", "a", "status", "scale", "log",
            "binding", "watch", "healthz", "version", "", "..", "%2e%2e", "%2F", "%", "%00", "%c3%28",
        ]).prop_map(String::from),
        1 => "[!-~&&[^#?]]{0,12}",
    ]
}

fn query() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(vec![
        "watch",
        "limit",
        "continue",
        "labelSelector",
        "fieldSelector",
        "resourceVersion",
        "dryRun",
        "pretty",
        "force",
        "includeObject",
        "timeoutSeconds",
        "propagationPolicy",
        "fieldValidation",
        "x",
    ]);
    let value = prop_oneof![
        Just("true".to_owned()),
        Just("1".to_owned()),
        Just("All".to_owned()),
        Just("a%3Db".to_owned()),
        "[!-~&&[^#]]{0,8}",
    ];
    proptest::collection::vec((name, value).prop_map(|(name, value)| format!("{name}={value}")), 0..5)
        .prop_map(|pairs| pairs.join("&"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_request_makes_the_server_fail(
        segments in proptest::collection::vec(segment(), 0..8),
        query in query(),
        method in proptest::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]),
        accept in prop_oneof![
            Just("application/json;as=Table;v=v1;g=meta.k8s.io".to_owned()),
            Just("application/yaml".to_owned()),
            "[ -~]{0,30}",
        ],
        content_type in prop_oneof![
            Just("application/json".to_owned()),
            Just("application/yaml".to_owned()),
            Just("application/vnd.kubernetes.protobuf".to_owned()),
            Just("application/merge-patch+json".to_owned()),
            "[ -~]{0,20}",
        ],
        body in prop_oneof![
            Just(b"{}".to_vec()),
            Just(b"k8s\0\x0a\x04".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..64),
        ],
    ) {
        let uri = format!("/{}?{query}", segments.join("/"));
        let request = HttpRequest::builder()
            .method(method)
            .uri(&uri)
            .header("authorization", "Bearer secret")
            .header("accept", accept)
            .header("content-type", content_type)
            .body(Full::new(Bytes::from(body)));
        // What is no URI never gets here.
        if let Ok(request) = request {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let response = runtime.block_on(async {
                let response = Fake::obliging().service().oneshot(request).await.unwrap();
                let (head, body) = response.into_parts();
                (head.status, body.collect().await.unwrap().to_bytes())
            });
            prop_assert!(response.0.as_u16() < 500, "{method} {uri}: {response:?}");
        }
    }
}
