//! The built-in kinds on a server, in the typed client's hands.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kore_api::kinds;
use kore_api::object::ResourceType;
use kore_api::patch::PatchKind;
use kore_api::request::{Content, Options};
use serde_json::{Value, json};

use crate::harness::*;

async fn with_kinds<T>(work: impl AsyncFnOnce(kore_api::server::Server) -> T) -> T {
    open(builder(&memory()).registry(kinds::builtin()), work).await
}

#[tokio::test(start_paused = true)]
async fn every_server_has_its_namespaces_and_its_own_service() {
    let store = memory();
    for _ in 0..2 {
        open(builder(&store).registry(kinds::builtin()), async |server| {
            let client = admin(&server);
            let namespaces = client.api::<Namespace>().list(&Options::default()).await.unwrap();
            let names: Vec<&str> = namespaces.items.iter().map(|item| item.object().name()).collect();
            assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
            assert!(namespaces.items.iter().all(|item| item.object().label("kubernetes.io/metadata.name").is_some()));
            let service = client.namespaced::<Service>("default").get("kubernetes").await.unwrap();
            assert_eq!(service.spec.as_ref().unwrap().cluster_ip.as_deref(), Some("127.96.0.1"));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_service_leads_to_where_it_is_served() {
    with_kinds(async |server| {
        let slices = admin(&server).namespaced::<EndpointSlice>("default");
        for (address, host, port) in [
            ("127.0.0.1:6443", "127.0.0.1", 6443),
            ("127.0.0.1:7443", "127.0.0.1", 7443),
            ("[::1]:7443", "::1", 7443),
            ("[::]:7443", "::1", 7443),
            ("0.0.0.0:6443", "127.0.0.1", 6443),
        ] {
            server.advertise(address.parse().unwrap()).await.unwrap();
            let slice = slices.get("kubernetes").await.unwrap();
            let value = slice.object().to_value();
            let (endpoint, its_port) = (&value["endpoints"][0]["addresses"][0], &value["ports"][0]["port"]);
            assert_eq!((endpoint, its_port), (&host.into(), &port.into()), "{address}");
            assert_eq!(slice.object().label("kubernetes.io/service-name"), Some("kubernetes"));
        }
    })
    .await;
}

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

#[tokio::test(start_paused = true)]
async fn services_get_addresses_and_ports() {
    with_kinds(async |server| {
        let services = api(&server, ResourceType::of::<Service>());
        let create = async |name: &str, spec: Value| services.create(service(name, spec), &Options::default()).await;
        let mut addresses = BTreeSet::new();
        for at in 0..20 {
            let made = create(&format!("s{at}"), json!({})).await.unwrap().to_value();
            let address = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
            assert_eq!(made["spec"]["clusterIPs"], json!([address]));
            assert!(address.starts_with("127.96.") && addresses.insert(address));
        }
        let headless = create("headless", json!({"clusterIP": "None"})).await.unwrap().to_value();
        assert_eq!(headless["spec"]["clusterIP"], "None");
        let external = create("external", json!({"type": "ExternalName", "externalName": "a.example"})).await.unwrap();
        assert!(external.to_value()["spec"].get("clusterIP").is_none());

        let node_port = create("np", json!({"type": "NodePort"})).await.unwrap().to_value();
        let port = node_port["spec"]["ports"][0]["nodePort"].clone();
        assert!(port.as_i64().is_some_and(|port| (30_000..30_040).contains(&port)));
        let same = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
        let taken = refused(create("np2", same.clone()).await);
        assert!(taken.message.ends_with("provided port is already allocated"), "{taken}");
        // Another type gives the port up; its address stays.
        let plain = json!({"spec": {"type": "ClusterIP"}});
        let plain = services.patch("np", None, PatchKind::Merge, plain, &Options::default()).await.unwrap().to_value();
        assert_eq!(plain["spec"]["clusterIP"], node_port["spec"]["clusterIP"]);
        assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
        create("np2", same).await.unwrap();
        let wanted = refused(create("w", json!({"clusterIP": "127.96.0.1"})).await);
        assert!(wanted.message.contains("provided IP is already allocated"), "{wanted}");
        let outside = refused(create("w", json!({"clusterIP": "10.1.2.3"})).await);
        assert!(outside.message.contains("The range of valid IPs is 127.96.0.0/16"), "{outside}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_patched_and_scaled() {
    with_kinds(async |server| {
        let deployments = api(&server, ResourceType::of::<Deployment>());
        let sent = json!({"metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]},
            },
        }});
        let made = deployments.create(sent, &Options::default()).await.unwrap();
        assert_eq!(made.to_value()["spec"]["replicas"], 1);
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}}});
        let patched = deployments.patch("web", None, PatchKind::Strategic, image, &Options::default()).await.unwrap();
        let containers = patched.to_value()["spec"]["template"]["spec"]["containers"].clone();
        assert_eq!((containers.as_array().unwrap().len(), &containers[1]["image"]), (2, &json!("b:2")));
        assert_eq!(patched.generation(), 2);
        let scale = json!({"spec": {"replicas": 3}});
        deployments.patch("web", Some("scale"), PatchKind::Merge, scale, &Options::default()).await.unwrap();
        let response = deployments.get_subresource("web", "scale", &Options::default()).await.unwrap();
        let Content::Value(scale) = response.content else { panic!("a Scale") };
        assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(3), &json!("app=web")));
        let wrong = json!({"spec": {"replicas": -2}});
        let status = refused(deployments.patch("web", None, PatchKind::Merge, wrong, &Options::default()).await);
        assert!(status.message.contains("spec.replicas: Invalid value: -2"), "{status}");
        let word = json!({"spec": {"replicas": "x"}});
        assert_eq!(
            refused(deployments.patch("web", None, PatchKind::Merge, word, &Options::default()).await).code,
            400
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_reports_as_itself_only() {
    with_kinds(async |server| {
        let client = server.client(kore_api::auth::User::node("n1"));
        let nodes = client.api::<Node>();
        let node = |name: &str| json!({"metadata": {"name": name}});
        nodes.dynamic().create(node("n1"), &Options::default()).await.unwrap();
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        nodes.patch_status("n1", PatchKind::Strategic, status.clone()).await.unwrap();
        admin(&server).api::<Node>().dynamic().create(node("n2"), &Options::default()).await.unwrap();
        assert!(nodes.patch_status("n2", PatchKind::Strategic, status).await.unwrap_err().is_forbidden());
        let pods = client.namespaced::<Pod>("default");
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let made = pods.dynamic().create(pod, &Options::default()).await;
        assert!(made.unwrap_err().is_forbidden(), "CVE-2025-4563: no mirror pods");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_path_reaches_into_another_namespace() {
    with_kinds(async |server| {
        let pods = admin(&server).dynamic(ResourceType::of::<Pod>());
        for (namespace, name) in [("default/x", "y"), ("..", "y"), ("default", "x/y"), ("", "y")] {
            let outcome = pods.in_namespace(namespace).get(name).await;
            assert_eq!(refused(outcome).code, 404, "{namespace} {name}");
        }
        // CVE-2019-11247.
        let nodes = admin(&server).dynamic(ResourceType::of::<Node>());
        let mut request = kore_api::request::Request::new(kore_api::request::Verb::Get, nodes.resource().clone());
        request.namespace = Some("default".into());
        request.name = Some("n".into());
        assert_eq!(server.handle(&kore_api::auth::User::admin(), request).await.unwrap_err().code, 404);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_opened_server_can_be_read_before_it_is_driven() {
    let (server, _run) = builder(&memory()).registry(kinds::builtin()).open().await.unwrap();
    let namespaces = admin(&server).api::<Namespace>().list(&Options::default()).await.unwrap();
    assert_eq!(namespaces.items.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_with_its_status() {
    with_kinds(async |server| {
        let nodes = admin(&server).dynamic(ResourceType::of::<Node>());
        let status = json!({"capacity": {"cpu": "4"}});
        let node = json!({"metadata": {"name": "n"}, "status": status});
        let created = nodes.create(node, &Options::default()).await.unwrap().to_value();
        assert_eq!(created["status"]["capacity"]["cpu"], "4");
    })
    .await;
}
