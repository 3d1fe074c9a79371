//! What the built-in stages of admission make of pods, and what they refuse.

use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod, ServiceAccount};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kore_api::admission::ServiceAccounts;
use kore_api::client::DynamicApi;
use kore_api::kinds;
use kore_api::object::ResourceType;
use kore_api::request::Options;
use kore_api::server::Server;
use serde_json::{Value, json};

use crate::harness::*;

async fn with_kinds<T>(work: impl AsyncFnOnce(Server) -> T) -> T {
    open(builder(&memory()).registry(kinds::builtin()), work).await
}

fn options() -> Options {
    Options::default()
}

fn pods(server: &Server) -> DynamicApi {
    api(server, ResourceType::of::<Pod>())
}

fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    change(&mut pod["spec"]);
    pod
}

#[tokio::test(start_paused = true)]
async fn pods_are_as_urgent_as_their_class() {
    with_kinds(async |server| {
        let classes = admin(&server).api::<PriorityClass>().dynamic().clone();
        let spec = async |name: &str, change: &dyn Fn(&mut Value)| {
            let made = pods(&server).create(pod(name, |spec| change(spec)), &options()).await;
            made.map(|made| made.to_value()["spec"].clone())
        };
        let plain = spec("a", &|_| {}).await.unwrap();
        assert_eq!((&plain["priority"], &plain["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
        let high = json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
        classes.create(high, &options()).await.unwrap();
        let named = spec("b", &|spec| spec["priorityClassName"] = json!("high")).await.unwrap();
        assert_eq!((&named["priority"], &named["preemptionPolicy"]), (&json!(1000), &json!("Never")));
        let critical = spec("c", &|spec| spec["priorityClassName"] = json!("system-node-critical")).await.unwrap();
        assert_eq!(critical["priority"], 2_000_001_000);
        let missing = refused(spec("d", &|spec| spec["priorityClassName"] = json!("none")).await);
        assert!(
            missing.code == 403 && missing.message.contains("no PriorityClass with name none was found"),
            "{missing}"
        );
        let own = refused(spec("d", &|spec| spec["priority"] = json!(7)).await);
        assert!(own.message.contains("the integer value of priority (7) must not be provided"), "{own}");
        let default = |name: &str| json!({"metadata": {"name": name}, "value": 5, "globalDefault": true});
        classes.create(default("usual"), &options()).await.unwrap();
        let status = refused(classes.create(default("other"), &options()).await);
        assert!(status.message.contains("PriorityClass usual is already marked as default"), "{status}");
        let usual = spec("e", &|_| {}).await.unwrap();
        assert_eq!((&usual["priority"], &usual["priorityClassName"]), (&json!(5), &json!("usual")));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn containers_are_held_to_the_limits_of_their_namespace() {
    with_kinds(async |server| {
        let ranges = api(&server, ResourceType::of::<LimitRange>());
        let limits = json!([
            {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"},
                "min": {"cpu": "50m"}, "maxLimitRequestRatio": {"cpu": "10"}},
            {"type": "Pod", "max": {"cpu": "1500m"}},
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}},
        ]);
        ranges.create(json!({"metadata": {"name": "r"}, "spec": {"limits": limits}}), &options()).await.unwrap();
        let made = pods(&server).create(pod("a", |_| {}), &options()).await.unwrap().to_value();
        assert_eq!(made["spec"]["containers"][0]["resources"], json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}));
        assert_eq!(
            made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
        );
        assert_eq!(made["status"]["qosClass"], "Burstable");
        let with = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
        for (resources, problem) in [
            (with("100m", "2"), "maximum cpu usage per Container is 1, but limit is 2"),
            (with("10m", "100m"), "minimum cpu usage per Container is 50m, but request is 10m"),
            (with("50m", "1"), "cpu max limit to request ratio per Container is 10, but provided ratio is 20.000000"),
        ] {
            let outcome = pods(&server).create(pod("b", |spec| spec["containers"][0]["resources"] = resources.clone()), &options()).await;
            let status = refused(outcome);
            assert!(status.code == 403 && status.message.contains(problem), "{status}");
        }
        let two = pod("b", |spec| {
            spec["containers"] = json!([
                {"name": "c", "image": "i", "resources": with("500m", "1")}, {"name": "d", "image": "i", "resources": with("500m", "1")},
            ]);
        });
        let status = refused(pods(&server).create(two, &options()).await);
        assert!(status.message.contains("maximum cpu usage per Pod is 1500m, but limit is 2"), "{status}");
        let claims = api(&server, ResourceType::of::<PersistentVolumeClaim>());
        let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "9Gi"}}}});
        let status = refused(claims.create(claim, &options()).await);
        assert!(status.message.contains("maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 9Gi"), "{status}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pods_run_as_an_account_that_is_there() {
    let builder = || builder(&memory()).registry(kinds::builtin());
    open(builder().admission(ServiceAccounts::default().with_tokens()), async |server| {
        let accounts = api(&server, ResourceType::of::<ServiceAccount>());
        let status = refused(pods(&server).create(pod("a", |_| {}), &options()).await);
        let problem = "error looking up service account default/default: serviceaccount \"default\" not found";
        assert!(status.code == 403 && status.message.contains(problem), "{status}");
        let default = json!({"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "registry"}]});
        // It waits for the one that is about to be made.
        let api = pods(&server);
        let (made, _) = tokio::join!(api.create_pod("a"), async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            accounts.create(default, &options()).await.unwrap()
        });
        let spec = made["spec"].clone();
        assert_eq!(
            (&spec["serviceAccountName"], &spec["imagePullSecrets"]),
            (&json!("default"), &json!([{"name": "registry"}]))
        );
        let mount = &spec["containers"][0]["volumeMounts"][0];
        assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
        assert_eq!(mount["name"], spec["volumes"][0]["name"]);
        assert_eq!(spec["volumes"][0]["projected"]["sources"].as_array().unwrap().len(), 3);
        let quiet = json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false});
        accounts.create(quiet, &options()).await.unwrap();
        let made = pods(&server)
            .create(pod("b", |spec| spec["serviceAccountName"] = json!("quiet")), &options())
            .await
            .unwrap();
        assert_eq!(made.to_value()["spec"].get("volumes"), None);
    })
    .await;
    open(builder().admission(ServiceAccounts::default()), async |server| {
        let accounts = api(&server, ResourceType::of::<ServiceAccount>());
        accounts.create(json!({"metadata": {"name": "default"}}), &options()).await.unwrap();
        assert_eq!(pods(&server).create_pod("a").await["spec"].get("volumes"), None, "tokens are for nodes that can");
    })
    .await;
}

trait CreatePod {
    async fn create_pod(&self, name: &str) -> Value;
}

impl CreatePod for DynamicApi {
    async fn create_pod(&self, name: &str) -> Value {
        self.create(pod(name, |_| {}), &options()).await.unwrap().to_value()
    }
}
