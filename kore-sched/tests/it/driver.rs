//! The scheduler against a server in the same process.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kore_api::auth::User;
use kore_api::client::{Client, Selection};
use kore_api::object::{Object, ResourceType};
use kore_api::request::Options;
use kore_api::server::Server;
use kore_api::simulation::Newer;
use kore_sched::testing::{NodeBuilder, PodBuilder, node, pod};
use kore_sched::{
    Bind, BindAnswer, BindFailure, Binding, Config, Plugin, PodKey, PostBind, PreBind, Profile, Rejection, Scheduler,
    Verdict,
};
use kore_store::MemoryStore;

/// A server; what a test does with it, as an administrator and as the scheduler.
async fn with_server<F: Future<Output = ()>>(test: impl FnOnce(Client, Client) -> F) {
    let opened = Server::builder(Arc::new(MemoryStore::default())).open().await;
    let (server, run) = opened.expect("a server over an empty store");
    let admin = server.client(User::admin());
    let scheduler = server.client(User::new("system:kube-scheduler"));
    tokio::select! {
        biased;
        () = run => panic!("the server stopped"),
        done = tokio::time::timeout(Duration::from_secs(3600), test(admin, scheduler)) => done.expect("the test hangs"),
    }
}

/// Runs `test` while `run` runs.
async fn beside(run: impl Future<Output = ()>, test: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = run => panic!("the scheduler stopped"),
        () = test => {}
    }
}

/// A node as its agent makes it: it registers, and then says what it offers.
async fn add_node(client: &Client, node: NodeBuilder) {
    let node = node.edit(|node| node.metadata.uid = None).build();
    let nodes = client.api::<Node>();
    let created = nodes.create(&node).await.expect("a good node");
    let mut offering = created.to_owned();
    offering.status = node.status;
    nodes.replace_status(&created, &offering).await.expect("a good status");
}

async fn add_pod(client: &Client, pod: PodBuilder) {
    let pod = pod.edit(|pod| {
        pod.metadata.uid = None;
        for container in &mut pod.spec.as_mut().unwrap().containers {
            container.image = Some("image".into());
        }
    });
    client.namespaced::<Pod>("default").create(&pod.build()).await.expect("a good pod");
}

/// Waits until a pod is as wanted.
async fn until(client: &Client, name: &str, wanted: impl Fn(&Pod) -> bool) -> Object {
    let (pods, run) = client.informer::<Pod>(Selection::all());
    let seen = async {
        let mut changes = pods.subscribe();
        loop {
            let change = changes.next().await.expect("the informer runs");
            let Some(object) = change.after.filter(|object| object.name() == name) else {
                continue;
            };
            if wanted(&object.view::<Pod>().expect("a pod")) {
                return object;
            }
        }
    };
    tokio::select! {
        biased;
        object = seen => object,
        () = run => panic!("the informer stopped"),
    }
}

fn is_on(pod: &Pod, node: &str) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
}

fn condition(pod: &Pod) -> Option<(String, String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Some((found.status.clone(), text(&found.reason), text(&found.message)))
}

/// Waits until there is an event of that reason, and gives its message and its source.
async fn event(client: &Client, reason: &str) -> (String, String) {
    loop {
        let events = client.namespaced::<Event>("default").list(&Options::default()).await.expect("events");
        if let Some(event) = events.items.iter().find(|event| event.reason.as_deref() == Some(reason)) {
            let source = event.source.as_ref().and_then(|source| source.component.clone());
            return (event.message.clone().unwrap_or_default(), source.unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_bound_and_users_are_told() {
    with_server(|admin, scheduler| async move {
        add_node(&admin, node("a")).await;
        add_pod(&admin, pod("web").cpu("100m")).await;
        let (handle, run) = Scheduler::open(scheduler, Config::default());
        beside(run, async {
            let bound = until(&admin, "web", |pod| is_on(pod, "a")).await;
            let (status, _, _) = condition(&bound.view::<Pod>().unwrap()).expect("a condition");
            assert_eq!(status, "True");
            let (message, source) = event(&admin, "Scheduled").await;
            assert_eq!(message, "Successfully assigned default/web to a");
            assert_eq!(source, "default-scheduler");
            let explain = handle.explain(&PodKey::new("default", "web")).await.expect("a known pod");
            assert_eq!(explain.node.as_deref(), Some("a"));
            assert_eq!(explain.best(), ["a"]);
        })
        .await;
        assert!(handle.explain(&PodKey::new("default", "web")).await.is_none(), "it does not run any more");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_says_why_and_is_bound_when_it_does() {
    with_server(|admin, scheduler| async move {
        let (_handle, run) = Scheduler::open(scheduler, Config::default());
        beside(run, async {
            add_node(&admin, node("small").cpu("1")).await;
            add_node(&admin, node("tainted").taint("k", "v", "NoSchedule")).await;
            add_pod(&admin, pod("big").cpu("2")).await;
            let told = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s).";
            until(&admin, "big", |pod| {
                condition(pod).is_some_and(|(status, reason, message)| {
                    status == "False" && reason == "Unschedulable" && message == told
                })
            })
            .await;
            assert_eq!(event(&admin, "FailedScheduling").await.0, told);
            add_node(&admin, node("large").cpu("2")).await;
            let bound = until(&admin, "big", |pod| is_on(pod, "large")).await;
            let (status, reason, _) = condition(&bound.view::<Pod>().unwrap()).unwrap();
            assert_eq!((status.as_str(), reason.as_str()), ("True", ""));
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_scheduler_counts_what_is_there() {
    with_server(|admin, scheduler| async move {
        for name in ["a", "b"] {
            add_node(&admin, node(name).cpu("1")).await;
        }
        let (_handle, run) = Scheduler::open(scheduler.clone(), Config::default());
        beside(run, async {
            add_pod(&admin, pod("one").cpu("1")).await;
            until(&admin, "one", |pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())).await;
        })
        .await;
        let one = admin.namespaced::<Pod>("default").get("one").await.unwrap();
        let other = if is_on(&one, "a") { "b" } else { "a" };
        add_pod(&admin, pod("two").cpu("1")).await;
        let (_handle, run) = Scheduler::open(scheduler, Config::default());
        beside(run, async {
            until(&admin, "two", |pod| is_on(pod, other)).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_profile_has_its_pods_and_the_rest_is_left_alone() {
    with_server(|admin, scheduler| async move {
        add_node(&admin, node("a")).await;
        for name in ["second", "third"] {
            add_pod(&admin, pod(name).scheduler(name)).await;
        }
        let profiles = [Profile::default(), Profile::default().named("second")];
        let (_handle, run) = Scheduler::open(scheduler, Config::new(profiles).unwrap());
        beside(run, async {
            until(&admin, "second", |pod| is_on(pod, "a")).await;
            assert_eq!(event(&admin, "Scheduled").await.1, "second");
            let third = admin.namespaced::<Pod>("default").get("third").await.unwrap();
            assert_eq!(third.spec.as_ref().unwrap().node_name, None);
        })
        .await;
    })
    .await;
}

/// Counts, refuses once, fails once, and binds through the default binder's way after that.
#[derive(Default)]
struct Hurdles {
    seen: Arc<std::sync::Mutex<Vec<&'static str>>>,
}

impl Hurdles {
    fn note(&self, what: &'static str) -> usize {
        let mut seen = self.seen.lock().unwrap();
        seen.push(what);
        seen.iter().filter(|other| **other == what).count()
    }
}

impl Plugin for Hurdles {
    type State = ();

    fn name(&self) -> &'static str {
        "Hurdles"
    }
}

#[async_trait::async_trait]
impl PreBind for Hurdles {
    async fn pre_bind(&self, _: &Binding<'_>, _: &mut ()) -> Verdict {
        match self.note("pre") {
            1 => Err(Rejection::error("not ready")),
            _ => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl Bind for Hurdles {
    async fn bind(&self, _: &Binding<'_>, _: &mut ()) -> Result<BindAnswer, BindFailure> {
        match self.note("bind") {
            1 => Err(BindFailure::Failed { message: "no connection".into() }),
            2 => panic!("a bug"),
            _ => Ok(BindAnswer::NotMine),
        }
    }
}

#[async_trait::async_trait]
impl PostBind for Hurdles {
    async fn post_bind(&self, binding: &Binding<'_>, _: &mut ()) {
        assert_eq!(binding.node(), "a");
        self.note("post");
    }
}

#[tokio::test(start_paused = true)]
async fn bindings_that_fail_are_tried_again() {
    with_server(|admin, scheduler| async move {
        let hurdles = Hurdles::default();
        let seen = hurdles.seen.clone();
        let profile = Profile::default().without("DefaultBinder").unwrap();
        let profile = profile
            .plugin(hurdles, |at| at.pre_bind().bind().post_bind())
            .and_then(|profile| profile.plugin(kore_sched::plugins::DefaultBinder, |at| at.bind()))
            .unwrap();
        let (_handle, run) = Scheduler::open(scheduler, Config::new([profile]).unwrap());
        beside(run, async {
            add_node(&admin, node("a").cpu("1")).await;
            add_pod(&admin, pod("p").cpu("1")).await;
            until(&admin, "p", |pod| is_on(pod, "a")).await;
            event(&admin, "Scheduled").await;
        })
        .await;
        let expected = ["pre", "pre", "bind", "pre", "bind", "pre", "bind", "post"];
        assert_eq!(*seen.lock().unwrap(), expected);
    })
    .await;
}

/// Deletes the pod, or binds it elsewhere, just before it is bound.
struct Rival {
    binds_elsewhere: bool,
}

impl Plugin for Rival {
    type State = ();

    fn name(&self) -> &'static str {
        "Rival"
    }
}

#[async_trait::async_trait]
impl PreBind for Rival {
    async fn pre_bind(&self, binding: &Binding<'_>, _: &mut ()) -> Verdict {
        let pods = binding.client().namespaced::<Pod>("default");
        let pod = binding.pod();
        if pod.key().name.starts_with("victim") {
            let done = match self.binds_elsewhere {
                true => pods.bind(&pod.key().name, pod.uid(), "elsewhere").await,
                false => pods.delete(&pod.key().name, &Options::default().grace_period_seconds(0)).await.map(drop),
            };
            done.map_err(|error| Rejection::error(error.to_string()))?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_overtaken_gives_its_place_back() {
    for binds_elsewhere in [true, false] {
        with_server(|admin, scheduler| async move {
            let profile = Profile::default().plugin(Rival { binds_elsewhere }, |at| at.pre_bind()).unwrap();
            let (_handle, run) = Scheduler::open(scheduler, Config::new([profile]).unwrap());
            beside(run, async {
                add_node(&admin, node("a").cpu("1")).await;
                add_pod(&admin, pod("victim").cpu("1")).await;
                if binds_elsewhere {
                    until(&admin, "victim", |pod| is_on(pod, "elsewhere")).await;
                }
                add_pod(&admin, pod("next").cpu("1")).await;
                until(&admin, "next", |pod| is_on(pod, "a")).await;
            })
            .await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_scheduler_writes_keeps_what_it_does_not_know() {
    with_server(|admin, scheduler| async move {
        let pods = admin.dynamic(ResourceType::of::<Pod>()).in_namespace("default");
        let body = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "p", "namespace": "default", "annotations": { "kept": "yes" } },
            "spec": { "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": "2" } } }] },
        });
        let created = pods.create(body, &Options::default()).await.unwrap();
        let newer = Newer::seeded(7, &admin);
        let scheduler = newer.client("system:kube-scheduler", &scheduler);
        let (_handle, run) = Scheduler::open(scheduler, Config::default());
        beside(run, async {
            add_node(&admin, node("small").cpu("1")).await;
            let waiting = until(&admin, "p", |pod| condition(pod).is_some()).await;
            add_node(&admin, node("large").cpu("2")).await;
            let bound = until(&admin, "p", |pod| is_on(pod, "large")).await;
            for after in [waiting, bound] {
                let (mut before, mut after) = (created.to_value(), after.to_value());
                for value in [&mut before, &mut after] {
                    value["status"]["conditions"].take();
                    value["spec"]["nodeName"].take();
                    value["metadata"]["resourceVersion"].take();
                    value["metadata"]["managedFields"].take();
                }
                assert_eq!(before, after);
            }
        })
        .await;
        assert_eq!(newer.violations(), []);
        let checked: Vec<String> = newer.checked().into_keys().map(|(_, resource)| resource).collect();
        assert!(checked.contains(&"pods/status".to_owned()), "{checked:?}");
    })
    .await;
}
