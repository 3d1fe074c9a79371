use futures::stream;
use http_body::Frame;
use proptest::prelude::*;
use serde_json::json;
use tower::ServiceExt;

use super::*;
use crate::client::Client;
use crate::error::{Reason, Status};
use crate::http::Listener;
use crate::http::tests::{Fake, pod};
use crate::object::{ResourceType, Scope};
use crate::patch::PatchKind;
use crate::request::{Body, FieldValidation, Options, Propagation, WatchEvent};
use kore_store::Entropy;

fn resource(group: &'static str, plural: &'static str, kind: &'static str, scope: Scope) -> Arc<ResourceType> {
    Arc::new(ResourceType {
        group: group.into(),
        version: "v1".into(),
        plural: plural.into(),
        kind: kind.into(),
        scope,
    })
}

fn pods() -> Arc<ResourceType> {
    resource("", "pods", "Pod", Scope::Namespaced)
}

/// Runs `using` with a client that talks to `core` over a socket.
async fn remotely<T>(core: &Fake, using: impl AsyncFnOnce(Client) -> T) -> T {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let access = Access::new(listener.url(), Credentials::Token("secret".into()));
    let (remote, run) = Remote::open(&access, Clock::system()).unwrap();
    let client = Client::new(remote, Clock::system(), Entropy::system());
    tokio::select! {
        biased;
        () = listener.serve(core.service()) => unreachable!("it serves until it is dropped"),
        () = run => unreachable!("it runs until it is dropped"),
        done = using(client) => done,
    }
}

#[tokio::test]
async fn answers_arrive_as_they_were_given() {
    remotely(&Fake::obliging(), async |client| {
        let api = client.dynamic((*pods()).clone()).in_namespace("default");
        assert_eq!(api.get("a").await.unwrap(), pod("a", 5));
        let listed = api.list(&Options::default()).await.unwrap();
        assert_eq!((listed.items, listed.revision), (vec![pod("a", 5), pod("b", 6)], 7));
        let created = api.create(json!({"metadata": {"name": "a"}}), &Options::default()).await.unwrap();
        assert_eq!(created, pod("a", 5));
        let events: Vec<_> = api.watch(&Options::default()).await.unwrap().collect().await;
        assert!(matches!(&events[..], [Ok(WatchEvent::Added(added))] if *added == pod("a", 5)), "{events:?}");
        assert_eq!(api.delete("a", &Options::default()).await.unwrap(), Some(pod("a", 5)));
        api.delete_collection(&Options::default()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn refusals_and_warnings_arrive_as_they_were_given() {
    let refusal = || {
        let errors = [crate::error::FieldError::required("spec.containers", "at least one")];
        Status::invalid(&pods(), "a", &errors)
    };
    let core = Fake::new(move |request| match request.verb {
        Verb::Get => Err(refusal()),
        Verb::Watch => {
            let expired = Err(Status::new(Reason::Expired, "too old").into());
            Ok(Content::Watch(stream::iter([expired]).boxed()).into())
        }
        _ => Ok(Response { warnings: vec!["\"a\\b\", c".into()], content: Content::Value(json!({"kind": "Scale"})) }),
    });
    remotely(&core, async |client| {
        let api = client.dynamic((*pods()).clone()).in_namespace("default");
        let error = api.get("a").await.unwrap_err();
        assert_eq!(error.status(), Some(&refusal()));
        let error = api.watch(&Options::default()).await.unwrap().next().await.unwrap().unwrap_err();
        assert!(error.is_expired());
        let response = api.post("a", "binding", json!({}), &Options::default()).await.unwrap();
        assert_eq!(response.warnings, ["\"a\\b\", c"]);
        assert!(matches!(response.content, Content::Value(value) if value == json!({"kind": "Scale"})));
    })
    .await;
}

#[tokio::test]
async fn a_log_is_bytes() {
    let core = Fake::new(|_| {
        let lines = [Ok(Bytes::from("one\n")), Ok(Bytes::from("two\n"))];
        Ok(Content::Bytes(stream::iter(lines).boxed()).into())
    });
    remotely(&core, async |client| {
        let api = client.dynamic((*pods()).clone()).in_namespace("default");
        let options = Options { extra: vec![("tailLines".into(), "2".into())], ..Options::default() };
        let response = api.get_subresource("a", "log", &options).await.unwrap();
        let Content::Bytes(bytes) = response.content else { panic!("{response:?}") };
        let all: Vec<Bytes> = bytes.map(|part| part.unwrap()).collect().await;
        assert_eq!(all.concat(), b"one\ntwo\n");
        assert_eq!(core.asked().unwrap().options, options);
    })
    .await;
}

#[tokio::test]
async fn streams_are_limited_and_given_back() {
    let core = Fake::new(|_| Ok(Content::Watch(stream::pending().boxed()).into()));
    remotely(&core, async |client| {
        let api = client.dynamic((*pods()).clone());
        let mut open = Vec::new();
        for _ in 0..STREAMS_MAX {
            open.push(api.watch(&Options::default()).await.unwrap());
        }
        let error = api.watch(&Options::default()).await.err().unwrap();
        assert!(error.to_string().contains("more than 128"), "{error}");
        open.pop();
        assert!(api.watch(&Options::default()).await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_token_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let bearer = Bearer::new(&Credentials::TokenFile(path.clone())).unwrap();
    assert!(bearer.header().await.unwrap_err().contains("token"));
    std::fs::write(&path, "one\n").unwrap();
    assert_eq!(bearer.header().await.unwrap().unwrap(), "Bearer one");
    std::fs::write(&path, "two\n").unwrap();
    assert_eq!(bearer.header().await.unwrap().unwrap(), "Bearer one");
    tokio::time::advance(TOKEN_FILE_INTERVAL).await;
    assert_eq!(bearer.header().await.unwrap().unwrap(), "Bearer two");
}

#[tokio::test]
async fn events_come_in_pieces_of_any_size() {
    let line = |revision: u64| {
        let mut line = br#"{"type":"MODIFIED","object":"#.to_vec();
        pod("a", revision).write_json(&mut line);
        line.extend_from_slice(b"}\n");
        line
    };
    let all: Vec<u8> = (1..=3).flat_map(line).collect();
    for size in [1, 2, 7, 100, 10_000] {
        for (cut, whole) in [(0, true), (10, false)] {
            let pieces: Vec<_> = all[..all.len() - cut].chunks(size).map(Bytes::copy_from_slice).collect();
            let frames = stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))));
            let events: Vec<_> = watch::events(frames, pods(), "GET pods".into()).collect().await;
            let complete = if whole { 3 } else { 2 };
            assert_eq!(events.len(), 3, "pieces of {size}");
            for (at, event) in events.into_iter().enumerate() {
                match event {
                    Ok(event) => assert_eq!(event, WatchEvent::Modified(pod("a", at as u64 + 1))),
                    Err(error) => assert!(at >= complete && error.to_string().contains("broke off"), "{error}"),
                }
            }
        }
    }
}

#[test]
fn servers_that_make_no_sense_are_refused() {
    for server in ["", "localhost:6443", "ftp://a", "https://", "https://a?b", "https://a b"] {
        let access = Access { insecure: true, ..Access::new(server, Credentials::None) };
        assert!(Remote::open(&access, Clock::system()).is_err(), "{server:?}");
    }
    let access =
        Access { insecure: true, ..Access::new("https://[::1]:6443/prefix/", Credentials::Token("a\nb".into())) };
    assert!(Remote::open(&access, Clock::system()).err().unwrap().to_string().contains("token"));
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 =,!&?+%/:()é-]{1,12}"
}

fn options(deletes: bool) -> impl Strategy<Value = Options> {
    let maybe = || proptest::option::of(text());
    let watch = (proptest::option::of(0..1000_u64), any::<bool>(), any::<bool>());
    let write = (any::<bool>(), maybe(), 0..3_usize, any::<bool>());
    let delete = (proptest::option::of(-1..100_i64), 0..4_usize, maybe(), maybe());
    (maybe(), maybe(), 0..1000_u64, maybe(), maybe(), watch, write, delete).prop_map(
        move |(labels, fields, limit, token, revision, watch, write, delete)| {
            let mut options = Options {
                label_selector: labels,
                field_selector: fields,
                limit,
                continue_token: token,
                resource_version: revision,
                timeout_seconds: watch.0,
                allow_watch_bookmarks: watch.1,
                send_initial_events: watch.2,
                dry_run: write.0,
                field_manager: write.1,
                field_validation: [FieldValidation::Ignore, FieldValidation::Warn, FieldValidation::Strict][write.2],
                force: write.3,
                extra: vec![("container".into(), "a b&c".into())],
                ..Options::default()
            };
            if deletes {
                options.grace_period_seconds = delete.0;
                options.propagation =
                    [None, Some(Propagation::Background), Some(Propagation::Foreground), Some(Propagation::Orphan)]
                        [delete.1];
                options.precondition_uid = delete.2;
                options.precondition_revision = delete.3;
            }
            options
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let verbs = vec![
        Verb::Get,
        Verb::List,
        Verb::Watch,
        Verb::Create,
        Verb::Update,
        Verb::Patch,
        Verb::Delete,
        Verb::DeleteCollection,
    ];
    proptest::sample::select(verbs).prop_flat_map(|verb| {
        let deletes = matches!(verb, Verb::Delete | Verb::DeleteCollection);
        (options(deletes), any::<bool>(), any::<bool>(), "[a-z:é ]{1,9}").prop_map(
            move |(options, namespaced, part, name)| {
                let collection = matches!(verb, Verb::List | Verb::Watch | Verb::Create | Verb::DeleteCollection);
                let resource = if namespaced {
                    resource("apps", "deployments", "Deployment", Scope::Namespaced)
                } else {
                    resource("", "nodes", "Node", Scope::Cluster)
                };
                let part = part && matches!(verb, Verb::Get | Verb::Update | Verb::Patch);
                Request {
                    verb,
                    resource,
                    namespace: namespaced.then(|| "some namespace".into()),
                    name: (!collection).then(|| name.into()),
                    subresource: part.then(|| "status".into()),
                    options,
                    body: match verb {
                        Verb::Create | Verb::Update => Body::Value(json!({"a": 1})),
                        Verb::Patch => Body::Patch(PatchKind::Strategic, json!({"a": 1})),
                        _ => Body::Empty,
                    },
                    user_agent: "kore".into(),
                }
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// What the server's own process would be asked is what it is asked over the network.
    #[test]
    fn a_request_survives_the_way(request in request()) {
        let core = Fake::obliging();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut encoded = encode::encode("http://localhost", &request).unwrap();
        encoded.extensions_mut().insert(crate::auth::User::admin());
        let response = runtime.block_on(core.service().oneshot(encoded)).unwrap();
        prop_assert!(response.status().is_success(), "{response:?}");
        let asked = core.asked().unwrap();
        prop_assert_eq!(asked.options, request.options);
        prop_assert_eq!(
            (asked.verb, &asked.resource, asked.namespace, asked.name, asked.subresource),
            (request.verb, &request.resource, request.namespace, request.name, request.subresource)
        );
        match (asked.body, request.body) {
            (Body::Encoded(_, bytes), Body::Value(value)) | (Body::EncodedPatch(PatchKind::Strategic, bytes), Body::Patch(_, value)) => {
                prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), value);
            }
            (Body::Empty, Body::Empty) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
