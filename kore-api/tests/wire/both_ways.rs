//! No component can tell whether its server is in the same process or across the network: one scenario, both ways, from one
//! seed, and every answer the same.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kore_api::auth::{TokenAuthenticator, User};
use kore_api::client::{Client, DynamicApi, Selection};
use kore_api::error::Error;
use kore_api::http::{ApiService, Listener};
use kore_api::kubeconfig::{Access, Credentials, Kubeconfig};
use kore_api::object::{Object, ObjectKey, ResourceType, Scope};
use kore_api::patch::PatchKind;
use kore_api::remote::Remote;
use kore_api::request::{Content, FieldValidation, ObjectList, Options, Propagation, Response, WatchEvent};
use kore_api::server::Server;
use kore_api::tls::Authority;
use kore_api::{Clock, Entropy};
use kore_store::MemoryStore;
use serde_json::{Value, json};

/// What happened, a line a step.
#[derive(Default)]
struct Transcript(Vec<String>);

impl Transcript {
    fn object(&mut self, step: &str, outcome: Result<Object, Error>) {
        self.note(step, outcome.map(|object| shown(&object)));
    }

    fn note(&mut self, step: &str, outcome: Result<String, Error>) {
        let outcome = outcome.unwrap_or_else(|error| match error.status() {
            Some(status) => format!("{} {:?} {} {:?}", status.code, status.reason, status.message, status.details),
            None => panic!("{step}: {error}"),
        });
        self.0.push(format!("{step}: {outcome}"));
    }
}

/// All of it, but for the time.
fn shown(object: &Object) -> String {
    fn timeless(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if name.ends_with("Timestamp") || name.ends_with("Time") || name == "time" {
                        *value = Value::Null;
                    }
                    timeless(value);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(timeless),
            _ => {}
        }
    }
    let mut value = object.to_value();
    timeless(&mut value);
    format!("{} {value}", object.revision())
}

fn list(list: ObjectList) -> String {
    let names: Vec<String> = list.items.iter().map(|object| format!("{:?}", object)).collect();
    let more = list.continue_token.is_some();
    format!("{} at {}, more: {more}, remaining: {:?}", names.join(" "), list.revision, list.remaining)
}

fn response(response: Response) -> String {
    let content = match response.content {
        Content::Object(object) => format!("object {}", shown(&object)),
        Content::Created(object) => format!("created {}", shown(&object)),
        Content::Status(status) => format!("status {} {}", status.code, status.message),
        Content::Value(value) => format!("value {value}"),
        other => format!("{other:?}"),
    };
    format!("{content} warnings {:?}", response.warnings)
}

fn event(event: Result<WatchEvent, Error>) -> String {
    match event {
        Ok(WatchEvent::Added(object)) => format!("added {}", shown(&object)),
        Ok(WatchEvent::Modified(object)) => format!("modified {}", shown(&object)),
        Ok(WatchEvent::Deleted(object)) => format!("deleted {}", shown(&object)),
        Ok(WatchEvent::Bookmark { initial_events_end, .. }) => format!("bookmark {initial_events_end}"),
        Err(error) => format!("error {error}"),
    }
}

fn api(client: &Client, group: &'static str, plural: &'static str, kind: &'static str) -> DynamicApi {
    let resource = ResourceType {
        group: group.into(),
        version: "v1".into(),
        plural: plural.into(),
        kind: kind.into(),
        scope: Scope::Namespaced,
    };
    client.dynamic(resource).in_namespace("default")
}

async fn scenario(client: Client) -> Vec<String> {
    let mut log = Transcript::default();
    writes(&client, &mut log).await;
    reads(&client, &mut log).await;
    deletions(&client, &mut log).await;
    subresources(&client, &mut log).await;
    informer(&client, &mut log).await;
    log.0
}

async fn writes(client: &Client, log: &mut Transcript) {
    let (configs, all) = (api(client, "", "configmaps", "ConfigMap"), Options::default());
    let named = |name: &str| json!({"metadata": {"name": name, "labels": {"app": "a"}}, "data": {"k": "v"}});
    log.object("create", configs.create(named("one"), &all).await);
    log.object("create again", configs.create(named("one"), &all).await);
    log.object("create with a bad name", configs.create(named("Bad_Name"), &all).await);
    log.object("create what is no object", configs.create(json!({"metadata": {"name": "x"}, "data": 7}), &all).await);
    let generated = configs.create(json!({"metadata": {"generateName": "gen-"}}), &all).await;
    log.object("create with a generated name", generated);
    let dry = Options::default().dry_run(true);
    log.object("create for the look of it", configs.create(named("dry"), &dry).await);
    let strict = Options::default().field_validation(FieldValidation::Strict);
    let unknown = json!({"metadata": {"name": "two"}, "unknown": {"field": 1}});
    log.object("an unknown field, strictly", configs.create(unknown.clone(), &strict).await);
    log.object("an unknown field", configs.create(unknown, &all).await);

    let one = configs.get("one").await.unwrap();
    let changed = |revision: &str| {
        let mut value = one.to_value();
        value["data"]["k"] = "w".into();
        value["metadata"]["resourceVersion"] = revision.into();
        value
    };
    log.object("replace", configs.replace("one", None, changed(&one.revision().to_string()), &all).await);
    log.object(
        "replace what has changed",
        configs.replace("one", None, changed(&one.revision().to_string()), &all).await,
    );
    log.object("replace with a bad revision", configs.replace("one", None, changed("x"), &all).await);
    log.object("replace under another name", configs.replace("other", None, changed(""), &all).await);
    for (kind, patch) in [
        (PatchKind::Merge, json!({"data": {"m": "1", "k": null}})),
        (PatchKind::Strategic, json!({"metadata": {"labels": {"s": "1"}}})),
        (PatchKind::Json, json!([{"op": "add", "path": "/data/j", "value": "1"}])),
        (PatchKind::Json, json!([{"op": "test", "path": "/data/j", "value": "2"}])),
        (PatchKind::Json, json!([{"op": "remove", "path": "/nothing"}])),
        (PatchKind::Merge, json!({"metadata": {"name": "renamed"}})),
        (PatchKind::Merge, json!(7)),
    ] {
        log.object(&format!("patch {kind:?} {patch}"), configs.patch("one", None, kind, patch, &all).await);
    }
    let typed = client.namespaced::<ConfigMap>("default");
    let view = typed.get("one").await.unwrap();
    let mut new = view.to_owned();
    new.data = Some([("typed".to_owned(), "1".to_owned())].into());
    log.object("a typed replace", typed.replace(&view, &new).await.map(|view| view.object().clone()));

    let deployments = api(client, "apps", "deployments", "Deployment");
    let invalid = json!({"metadata": {"name": "web"}, "spec": {"replicas": -1, "selector": {}, "template": {}}});
    log.object("an invalid deployment", deployments.create(invalid, &all).await);
    let nowhere = api(client, "", "configmaps", "ConfigMap").in_namespace("nowhere");
    log.object("create in a namespace that is not there", nowhere.create(named("one"), &all).await);
    let unknown = api(client, "example.com", "dogs", "Dog");
    log.object("create what the server does not have", unknown.create(named("rex"), &all).await);
}

async fn reads(client: &Client, log: &mut Transcript) {
    let configs = api(client, "", "configmaps", "ConfigMap");
    log.object("get", configs.get("one").await);
    log.object("get what is not there", configs.get("nothing").await);
    for options in [
        Options::default(),
        Options::default().labels("app=a"),
        Options::default().labels("app in (a, b),!other"),
        Options::default().fields("metadata.name=one"),
        Options::default().labels("a b c"),
        Options::default().fields("spec.nothing=x"),
        Options::default().continue_token("nonsense"),
        Options::default().resource_version("x"),
        Options::default().resource_version("99999999"),
    ] {
        let step = format!("list {options:?}");
        log.note(&step, configs.list(&options).await.map(list));
    }
    let mut page = Options::default().limit(1);
    loop {
        let listed = configs.list(&page).await.unwrap();
        page.continue_token = listed.continue_token.clone();
        log.note("page", Ok(list(listed)));
        if page.continue_token.is_none() {
            break;
        }
    }
    let from_start = Options::default().resource_version("1").timeout_seconds(1);
    let events = configs.watch(&from_start).await.unwrap();
    for shown in events.map(event).collect::<Vec<_>>().await {
        log.note("watch", Ok(shown));
    }
    let initial =
        Options::default().send_initial_events(true).resource_version_match("NotOlderThan").allow_watch_bookmarks(true);
    let mut events = configs.watch(&initial).await.unwrap();
    while let Some(shown) = events.next().await.map(event) {
        let last = shown == "bookmark true";
        log.note("watch what there is", Ok(shown));
        if last {
            break;
        }
    }
    let future = Options::default().resource_version("99999999");
    let refused = match configs.watch(&future).await {
        Ok(mut events) => event(events.next().await.unwrap()),
        Err(error) => error.to_string(),
    };
    log.note("watch from the future", Ok(refused));
}

async fn deletions(client: &Client, log: &mut Transcript) {
    let (configs, all) = (api(client, "", "configmaps", "ConfigMap"), Options::default());
    let deleted = |outcome: Result<Option<Object>, Error>| {
        outcome.map(|object| object.map_or("gone".to_owned(), |object| shown(&object)))
    };
    log.note("delete what is not there", deleted(configs.delete("nothing", &all).await));
    let other_uid = Options::default().precondition_uid("other");
    log.note("delete another one", deleted(configs.delete("one", &other_uid).await));
    let old = Options::default().precondition_revision(1);
    log.note("delete an old one", deleted(configs.delete("one", &old).await));
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    log.object("create what is held", configs.create(held, &all).await);
    let foreground = Options::default().propagation(Propagation::Foreground);
    log.note("delete what is held", deleted(configs.delete("held", &foreground).await));
    let release = json!({"metadata": {"finalizers": null}});
    log.object("release it", configs.patch("held", None, PatchKind::Merge, release, &all).await);
    let dry = Options::default().dry_run(true);
    log.note("delete for the look of it", deleted(configs.delete("one", &dry).await));
    log.note("delete", deleted(configs.delete("one", &all).await));
    let selected = configs.delete_collection(&Options::default().labels("app=a")).await;
    log.note("delete some", selected.map(|()| String::new()));
    log.note("what is left", configs.list(&all).await.map(list));
}

async fn subresources(client: &Client, log: &mut Transcript) {
    let all = Options::default();
    let deployments = api(client, "apps", "deployments", "Deployment");
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let web =
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    log.object("create a deployment", deployments.create(web, &all).await);
    let scale = deployments.get_subresource("web", "scale", &all).await.unwrap();
    let Content::Value(mut wanted) = scale.content else { panic!("a Scale is no stored object") };
    wanted["spec"]["replicas"] = 3.into();
    log.note("scale", {
        let scaled = deployments.replace("web", Some("scale"), wanted, &all).await;
        scaled.map(|scale| scale.to_value()["spec"].to_string())
    });
    let status = json!({"status": {"replicas": 2, "availableReplicas": 2}, "spec": {"replicas": 9}});
    log.object("status", deployments.patch("web", Some("status"), PatchKind::Merge, status, &all).await);
    let nothing = deployments.get_subresource("web", "nothing", &all).await;
    log.note("a subresource that is not there", nothing.map(response));

    let pods = api(client, "", "pods", "Pod");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    log.object("create a pod", pods.create(pod, &all).await);
    let log_of = pods.get_subresource("p", "log", &all).await;
    log.note("the log of a pod that does not run", log_of.map(response));
    let binding = |node: &str| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    log.note("bind", pods.post("p", "binding", binding("n1"), &all).await.map(response));
    log.note("bind again", pods.post("p", "binding", binding("n2"), &all).await.map(response));
    log.note("delete it gracefully", {
        let deleted = pods.delete("p", &Options::default().grace_period_seconds(5)).await;
        deleted.map(|object| object.map_or("gone".to_owned(), |object| shown(&object)))
    });
}

async fn informer(client: &Client, log: &mut Transcript) {
    let (informer, run) = client.informer::<ConfigMap>(Selection::all().namespace("default"));
    let configs = api(client, "", "configmaps", "ConfigMap");
    let following = async {
        informer.synced().await;
        let created = configs.create(json!({"metadata": {"name": "late"}}), &Options::default()).await.unwrap();
        informer.reached(created.revision()).await;
        let seen = informer.get(&ObjectKey::namespaced("default", "late"));
        log.note("an informer", Ok(seen.map_or("nothing".into(), |object| shown(&object))));
        let all: Vec<String> = informer.list().iter().map(|object| format!("{object:?}")).collect();
        log.note("all that it holds", Ok(all.join(" ")));
    };
    tokio::select! {
        biased;
        () = run => unreachable!("an informer follows until it is dropped"),
        () = following => {}
    }
}

async fn server() -> (Server, impl Future<Output = ()>) {
    let store = Arc::new(MemoryStore::default());
    Server::builder(store).entropy(Entropy::seeded(7)).open().await.unwrap()
}

async fn in_process() -> Vec<String> {
    let (server, run) = server().await;
    tokio::select! {
        biased;
        () = run => unreachable!("a server runs until it is dropped"),
        log = scenario(server.client(User::admin())) => log,
    }
}

async fn over_https() -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let (server, run) = server().await;
    let authority = Authority::open(&directory.path().join("pki"), Clock::system()).await.unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener = listener.tls(authority.server(Vec::<String>::new()).unwrap());
    let access = Access::new(listener.url(), Credentials::Token("s3cret".into())).trust(authority.certificate_pem());
    let path = directory.path().join("kubeconfig");
    Kubeconfig::new("kore", &access).write(&path).await.unwrap();
    let access = Kubeconfig::read(&path).await.unwrap().access(None).await.unwrap();
    let (remote, connections) = Remote::open(&access, Clock::system()).unwrap();
    let client = Client::new(remote, Clock::system(), Entropy::seeded(8));
    let service = ApiService::new(server, TokenAuthenticator::new([("s3cret", User::admin())]));
    tokio::select! {
        biased;
        () = run => unreachable!("a server runs until it is dropped"),
        () = listener.serve(service) => unreachable!("a listener serves until it is dropped"),
        () = connections => unreachable!("connections live until they are dropped"),
        log = scenario(client) => log,
    }
}

#[tokio::test]
async fn the_same_answers_in_process_and_over_https() {
    let (local, remote) = futures::join!(in_process(), over_https());
    let different: Vec<_> = local.iter().zip(&remote).filter(|(local, remote)| local != remote).collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(local.len(), remote.len());
    assert!(local.len() > 60, "{}", local.len());
}
