//! What the server does not let through, whoever asks: rights that do not follow from others, other nodes' objects, bodies that no
//! reader could read; and what goes by itself.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, Service};
use kore_api::auth::{Attributes, Authorizer, Decision, User};
use kore_api::client::DynamicApi;
use kore_api::kinds;
use kore_api::object::{Kind, ResourceType, Scope};
use kore_api::registry::{Registry, ResourceInfo};
use kore_api::request::Options;
use kore_api::server::Server;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::harness::*;

async fn with_kinds<T>(work: impl AsyncFnOnce(Server) -> T) -> T {
    open(builder(&memory()).registry(kinds::builtin()), work).await
}

/// May change everything, and make nothing.
struct Changes;

#[async_trait::async_trait]
impl Authorizer for Changes {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let makes = attributes.verb == "create" && attributes.user.name == "editor";
        if makes { Decision::NoOpinion(String::new()) } else { Decision::Allow }
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_change_objects_may_not_therefore_make_them() {
    open(builder(&memory()).registry(kinds::builtin()).authorizer(Changes), async |server| {
        let editor = server.client(User::new("editor")).dynamic(ResourceType::of::<Service>()).in_namespace("default");
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
        let status = refused(editor.replace("s", None, service.clone(), &Options::default()).await);
        assert_eq!(status.code, 403);
        assert!(status.message.contains("cannot create resource \"services\""), "{status}");
        let services = api(&server, ResourceType::of::<Service>());
        services.replace("s", None, service.clone(), &Options::default()).await.expect("others may");
        editor.replace("s", None, service, &Options::default()).await.expect("now it is a change");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_update_can_say_which_object_it_means() {
    with_kinds(async |server| {
        let maps = api(&server, ResourceType::of::<k8s_openapi::api::core::v1::ConfigMap>());
        let made = maps.create(json!({"metadata": {"name": "c"}}), &Options::default()).await.unwrap();
        let (this, another) =
            (Options::default().precondition_uid(made.uid()), Options::default().precondition_uid("x"));
        let change = json!({"metadata": {"name": "c"}, "data": {"a": "b"}});
        assert_eq!(refused(maps.replace("c", None, change.clone(), &another).await).code, 409);
        maps.replace("c", None, change, &this).await.expect("it is this one");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_nodes_agent_writes_what_is_its_own_nodes() {
    with_kinds(async |server| {
        let pods = admin(&server).namespaced::<Pod>("default").dynamic().clone();
        let pod = |name: &str, node: &str| {
            json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
        };
        pods.create(pod("here", "n1"), &Options::default()).await.unwrap();
        pods.create(pod("there", "n2"), &Options::default()).await.unwrap();

        let agent = server.client(User::node("n1"));
        let of = |resource: ResourceType, namespace: &str| agent.dynamic(resource).in_namespace(namespace);
        let nodes = agent.dynamic(ResourceType::of::<Node>());
        let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": "n1"}});
        let create = async |api: &DynamicApi, object| api.create(object, &Options::default()).await.map(drop);
        let (own, other) = (json!({"metadata": {"name": "n1"}}), json!({"metadata": {"name": "n2"}}));
        create(&nodes, own).await.expect("its own node");
        assert_eq!(refused(create(&nodes, other).await).code, 403);
        let leases = of(ResourceType::of::<Lease>(), "kube-node-lease");
        create(&leases, lease("n1")).await.expect("its own heartbeat");
        assert_eq!(refused(create(&leases, lease("n2")).await).code, 403);
        let elections = of(ResourceType::of::<Lease>(), "kube-system");
        assert_eq!(refused(create(&elections, lease("n1")).await).code, 403);

        let pods = of(ResourceType::of::<Pod>(), "default");
        let status = |name: &str| json!({"metadata": {"name": name}, "status": {"phase": "Running"}});
        pods.replace("here", Some("status"), status("here"), &Options::default()).await.expect("its own pod");
        let stranger = pods.replace("there", Some("status"), status("there"), &Options::default()).await;
        assert_eq!(refused(stranger).code, 403);
        let at_once = Options::default().grace_period_seconds(0);
        assert_eq!(refused(pods.delete("there", &at_once).await).code, 403);
        pods.delete("here", &at_once).await.expect("its own pod");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn events_go_after_an_hour_also_when_the_server_restarts() {
    let store = memory();
    let event = |name: &str| {
        let about = json!({"kind": "Pod", "namespace": "default", "name": "p"});
        json!({"metadata": {"name": name, "namespace": "default"}, "involvedObject": about, "reason": "R"})
    };
    let minutes = async |minutes: u64| tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
    open(builder(&store).registry(kinds::builtin()), async |server| {
        let events = api(&server, ResourceType::of::<Event>());
        for name in ["once", "again"] {
            events.create(event(name), &Options::default()).await.unwrap();
        }
        let dry = Options::default().dry_run(true);
        events.create(event("never"), &dry).await.unwrap();
        minutes(40).await;
        // Written anew, it lives anew.
        let mut again = event("again");
        again["count"] = 2.into();
        events.replace("again", None, again, &Options::default()).await.unwrap();
        assert_eq!(events.list(&Options::default()).await.unwrap().items.len(), 2);
    })
    .await;
    minutes(30).await;
    open(builder(&store).registry(kinds::builtin()), async |server| {
        let events = api(&server, ResourceType::of::<Event>());
        let names: Vec<String> =
            names(&events.list(&Options::default()).await.unwrap().items).into_iter().map(str::to_owned).collect();
        assert_eq!(names, ["again"]);
        minutes(40).await;
        assert!(events.list(&Options::default()).await.unwrap().items.is_empty());
        events.create(event("later"), &Options::default()).await.expect("under a lease of its own");
    })
    .await;
}

/// A kind of a team's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Light {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    wanted: bool,
}

impl Kind for Light {
    const GROUP: &'static str = "example.com";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Light";
    const PLURAL: &'static str = "lights";
    const SCOPE: Scope = Scope::Cluster;
    fn metadata(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        &mut self.metadata
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_typed_reader_could_not_read_is_not_taken() {
    let registry = Registry::new().with(ResourceInfo::of::<Light>());
    open(builder(&memory()).registry(registry), async |server| {
        let lights = admin(&server).api::<Light>();
        let untyped = lights.dynamic();
        for (object, problem) in [
            (
                json!({"metadata": {"name": "a"}, "wanted": "yes"}),
                "Light in version \"example.com/v1\" cannot be handled as a Light",
            ),
            (json!({"metadata": {"name": "a"}}), "missing field `wanted`"),
            (json!({"metadata": {"name": "a", "annotations": {"x": 1}}, "wanted": true}), "cannot unmarshal number"),
            (json!({"metadata": {"name": "a", "labels": ["x"]}, "wanted": true}), "cannot unmarshal array"),
        ] {
            let status = refused(untyped.create(object, &Options::default()).await);
            assert_eq!(status.code, 400);
            assert!(status.message.contains(problem), "{status}");
        }
        untyped.create(json!({"metadata": {"name": "a"}, "wanted": true}), &Options::default()).await.unwrap();
        let patch = json!({"wanted": "no"});
        let patched = untyped.patch("a", None, kore_api::patch::PatchKind::Merge, patch, &Options::default()).await;
        assert_eq!(refused(patched).code, 400);
        assert_eq!(lights.list(&Options::default()).await.unwrap().items.len(), 1);
    })
    .await;

    with_kinds(async |server| {
        let namespaces = admin(&server).dynamic(ResourceType::of::<Namespace>());
        let body = json!({"metadata": {"name": "default"}, "spec": {"finalizers": [1]}});
        assert_eq!(refused(namespaces.replace("default", Some("finalize"), body, &Options::default()).await).code, 400);
        let pods = api(&server, ResourceType::of::<Pod>());
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        pods.create(pod, &Options::default()).await.unwrap();
        let binding = json!({"metadata": {"name": "p", "annotations": {"a": 1}}, "target": {"name": "n"}});
        assert_eq!(refused(pods.post("p", "binding", binding, &Options::default()).await).code, 400);
    })
    .await;
}
