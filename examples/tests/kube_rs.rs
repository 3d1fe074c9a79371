//! kube-rs, unmodified, as a client: over HTTPS with a kubeconfig, and in the server's own process.

use std::pin::pin;
use std::sync::Arc;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kore_api::Clock;
use kore_api::auth::{TokenAuthenticator, User};
use kore_api::http::layer::ActAsLayer;
use kore_api::http::{ApiService, Listener};
use kore_api::kubeconfig::{Access, Credentials, Kubeconfig};
use kore_api::server::Server;
use kore_api::tls::Authority;
use kore_store::MemoryStore;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tower::Layer;

/// What any program does: writes, reads, patches, follows, deletes.
async fn program(client: Client) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let created = pods.create(&PostParams::default(), &pod).await.unwrap();
    assert!(created.uid().is_some());
    let again = pods.create(&PostParams::default(), &pod).await.unwrap_err();
    assert!(matches!(again, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists"));

    let mut events = pin!(watcher(pods.clone(), watcher::Config::default()).applied_objects());
    assert_eq!(events.try_next().await.unwrap().unwrap().name_any(), "p");
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    pods.patch("p", &PatchParams::default(), &label).await.unwrap();
    assert_eq!(events.try_next().await.unwrap().unwrap().labels()["a"], "b");
    let mut streaming = pin!(watcher(pods.clone(), watcher::Config::default().streaming_lists()).applied_objects());
    assert_eq!(streaming.try_next().await.unwrap().unwrap().name_any(), "p");

    let selected = ListParams::default().labels("a=b").fields("status.phase=Pending");
    assert_eq!(pods.list(&selected).await.unwrap().items.len(), 1);
    assert_eq!(pods.list_metadata(&ListParams::default()).await.unwrap().items[0].name_any(), "p");
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(pods.get_opt("p").await.unwrap().is_none());

    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let config = ConfigMap { data: Some([("k".into(), "v".into())].into()), ..ConfigMap::default() };
    let mut config =
        ConfigMap { metadata: kube::api::ObjectMeta { name: Some("c".into()), ..Default::default() }, ..config };
    config.metadata.resource_version =
        configs.create(&PostParams::default(), &config).await.unwrap().resource_version();
    let replaced = configs.replace("c", &PostParams::default(), &config).await.unwrap();
    assert_eq!(replaced.data.unwrap()["k"], "v");
    let discovery = kube::discovery::Discovery::new(client.clone()).run().await.unwrap();
    let (deployments, _) = discovery.get("apps").unwrap().recommended_kind("Deployment").unwrap();
    assert_eq!(deployments.plural, "deployments");
    assert!(client.apiserver_version().await.unwrap().git_version.starts_with("v1."));
}

/// A server with an empty store, for as long as `using` works.
async fn with_server(using: impl AsyncFnOnce(ApiService)) {
    let (server, run) = Server::builder(Arc::new(MemoryStore::default())).open().await.unwrap();
    let service = ApiService::new(server, TokenAuthenticator::new([("s3cret", User::admin())]));
    tokio::select! {
        biased;
        () = run => unreachable!("a server runs until it is dropped"),
        () = using(service) => {}
    }
}

#[tokio::test]
async fn in_process() {
    with_server(async |service| {
        let service = ActAsLayer::new(User::admin()).layer(service);
        program(Client::new(service, "default")).await;
    })
    .await;
}

#[tokio::test]
async fn over_https() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(&directory.path().join("pki"), Clock::system()).await.unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener = listener.tls(authority.server(Vec::<String>::new()).unwrap());
    let access = Access::new(listener.url(), Credentials::Token("s3cret".into()));
    let path = directory.path().join("kubeconfig");
    Kubeconfig::new("kore", &access.trust(authority.certificate_pem())).write(&path).await.unwrap();
    with_server(async |service| {
        let config = kube::config::Kubeconfig::read_from(&path).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
        tokio::select! {
            biased;
            () = listener.serve(service) => unreachable!("a listener serves until it is dropped"),
            () = program(Client::try_from(config).unwrap()) => {}
        }
    })
    .await;
}
