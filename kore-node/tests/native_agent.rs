//! The agent with real processes.

mod support;

use std::{fs, path::Path, sync::Mutex};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kore_api::{client::Selection, request::Options};
use kore_node::{
    native::{NativeRuntime, Program},
    shim::Shim,
};
use serde_json::json;
use support::*;

async fn native(dir: &Path) -> NativeRuntime {
    let shim = Shim::path(env!("CARGO_BIN_EXE_kore-shim")).unwrap();
    let builder = NativeRuntime::builder(dir.join("runtime"), shim).addresses("127.71.0.0/24");
    let builder = builder.image("kore.dev/host", Program::host());
    builder.open().await.unwrap()
}

#[tokio::test]
async fn a_pod_of_processes_survives_its_agent() {
    with_server(async |server| {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let client = admin(server);
        let map: ConfigMap = object(json!({"metadata": {"name": "config", "namespace": "default"}, "data": {"greeting": "hello"}}));
        client.namespaced::<ConfigMap>("default").create(&map).await.unwrap();
        let script = format!(
            "echo $IP $(cat $KORE_ROOT/etc/kore-test/greeting) >> {}; echo done > $KORE_ROOT/dev/termination-log; exec sleep 1000",
            out.display()
        );
        let spec = json!({
            "containers": [{
                "name": "app",
                "image": "kore.dev/host",
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", script],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "volumeMounts": [{"name": "v", "mountPath": "/etc/kore-test"}],
                "readinessProbe": {"exec": {"command": ["test", "-s", out]}, "periodSeconds": 1},
            }],
            "volumes": [{"name": "v", "configMap": {"name": "config"}}],
        });
        let pods = client.namespaced::<Pod>("default");
        let mut ip = String::new();
        with_agent(server, native(dir.path()).await, dir.path(), async |_| {
            pods.create(&pod("web", spec.clone())).await.unwrap();
            ip = until_ready(&client, "web").await.status.unwrap().pod_ip.unwrap();
        })
        .await;
        // Every status from here on: readiness may not dip because the agent that saw it is gone.
        let (statuses, follow) = client.informer::<Pod>(Selection::all());
        let dips = Mutex::new(vec![]);
        let record = async {
            statuses.synced().await;
            let mut changes = statuses.subscribe();
            while let Some(change) = changes.next().await {
                let pod = change.after.filter(|pod| pod.name() == "web").map(|pod| pod.view::<Pod>().unwrap());
                if let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none())
                    && !is_true(&pod, "Ready")
                {
                    dips.lock().unwrap().push(pod.status.clone());
                }
            }
        };
        let restarted = with_agent(server, native(dir.path()).await, dir.path(), async |_| {
            let missing = json!({"containers": [{"name": "app", "image": "kore.dev/host", "imagePullPolicy": "IfNotPresent", "command": ["foo"]}]});
            pods.create(&pod("bad", missing)).await.unwrap();
            let last = until_container(&client, "bad", "it fails to start", |_, status| status.last_state.as_ref()?.terminated.clone()).await;
            assert_eq!(last.reason.as_deref(), Some("StartError"));
            assert_eq!(last.message.as_deref(), Some("exec: \"foo\": executable file not found in $PATH"));
            let status = until_ready(&client, "web").await.status.unwrap();
            assert_eq!(status.container_statuses.unwrap()[0].restart_count, 0);
            for name in ["web", "bad"] {
                pods.delete(name, &Options::default().grace_period_seconds(1)).await.unwrap();
                until_gone(&client, name).await;
            }
        });
        tokio::select! {
            biased;
            () = restarted => {}
            _ = async { tokio::join!(record, follow) } => panic!("the informer ended"),
        }
        assert!(dips.lock().unwrap().is_empty(), "{:#?}", dips.lock().unwrap());
        assert_eq!(fs::read_to_string(out).unwrap(), format!("{ip} hello\n"), "it ran once");
    })
    .await;
}

/// As root: a container that runs as another user has its volumes, its last word, and nothing of other pods.
#[tokio::test]
async fn a_pod_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    with_server(async |server| {
        let dir = tempfile::tempdir().unwrap();
        let client = admin(server);
        let map: ConfigMap =
            object(json!({"metadata": {"name": "config", "namespace": "default"}, "data": {"greeting": "hello"}}));
        client.namespaced::<ConfigMap>("default").create(&map).await.unwrap();
        let script = format!(
            "echo $(id -u) $(cat $KORE_ROOT/etc/kore-test/greeting) $(touch $KORE_ROOT/scratch/file && echo yes) \
             $(ls {}/pods 2>/dev/null || echo no) > $KORE_ROOT/dev/termination-log",
            dir.path().display()
        );
        let spec = json!({
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 65534, "runAsGroup": 65534, "runAsNonRoot": true},
            "containers": [{
                "name": "app",
                "image": "kore.dev/host",
                "command": ["sh", "-c", script],
                "volumeMounts": [{"name": "v", "mountPath": "/etc/kore-test"}, {"name": "s", "mountPath": "/scratch"}],
            }],
            "volumes": [{"name": "v", "configMap": {"name": "config"}}, {"name": "s", "emptyDir": {}}],
        });
        with_agent(server, native(dir.path()).await, dir.path(), async |_| {
            client.namespaced::<Pod>("default").create(&pod("other", spec.clone())).await.unwrap();
            let message = until_container(&client, "other", "it has ended", |_, status| {
                status.state.as_ref()?.terminated.as_ref().map(|ended| ended.message.clone().unwrap_or_default())
            })
            .await;
            assert_eq!(message.trim(), "65534 hello yes no");
            let mut root = spec.clone();
            root["securityContext"] = json!({"runAsNonRoot": true});
            client.namespaced::<Pod>("default").create(&pod("root", root)).await.unwrap();
            let problem = until_waiting(&client, "root", "CreateContainerConfigError").await;
            assert!(problem.contains("runAsNonRoot"), "{problem}");
        })
        .await;
    })
    .await;
}
