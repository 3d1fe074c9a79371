//! The agent with containers that are tasks, under a paused clock, against a real API server.

mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Event, Node, Pod},
};
use kore_api::{auth::User, client::Client, object::ObjectKey, request::Options, server::Server};
use kore_node::{
    agent::Agent,
    runtime::{Error, ExecOutput, Runtime},
    task::TaskRuntime,
};
use serde_json::{Value, json};
use support::{faulty::Faulty, silent::Silent, *};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tower::ServiceExt;

/// Runs `test` beside a server, a runtime with some images, and an agent.
async fn cluster(test: impl AsyncFnOnce(&Server, &TaskRuntime, &Agent, &Path)) {
    faulty_cluster(|_, _| None, test).await;
}

/// The same with an agent that sees faults in the runtime.
async fn faulty_cluster(
    fault: impl Fn(&str, &str) -> Option<Error> + Send + Sync + 'static,
    test: impl AsyncFnOnce(&Server, &TaskRuntime, &Agent, &Path),
) {
    with_server(async |server| {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, run) = tasks(server);
        tokio::select! {
            biased;
            () = with_agent(server, Faulty::new(runtime.clone(), fault), dir.path(), async |agent| {
                test(server, &runtime, agent, dir.path()).await;
            }) => {}
            () = run => panic!("the runtime ended"),
        }
    })
    .await;
}

fn tasks(server: &Server) -> (TaskRuntime, impl Future<Output = ()>) {
    let (runs, counted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    TaskRuntime::builder(*server.clock())
        .image("sleep:1", async |task| {
            task.log(format!("{} says {}", task.env("POD").unwrap_or("-"), task.env("GREETING").unwrap_or("-")));
            task.stopped().await;
            0
        })
        .image("fail:1", async |task| {
            task.log("failing");
            3
        })
        .image("count:1", move |task| {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                task.log(format!("run {run}"));
                3
            }
        })
        .image("succeed:1", async |_| 0)
        .image("deaf:1", async |_| std::future::pending().await)
        .image("serve:1", async |task| {
            let Ok(listener) = tokio::net::TcpListener::bind((task.address(), 8080)).await else {
                return 1;
            };
            tokio::select! {
                biased;
                () = task.stopped() => 0,
                () = serve(listener) => 1,
            }
        })
        .image("serve-tls:1", async |task| {
            let Ok(listener) = tokio::net::TcpListener::bind((task.address(), 8443)).await else {
                return 1;
            };
            tokio::select! {
                biased;
                () = task.stopped() => 0,
                () = serve_tls(listener) => 1,
            }
        })
        // Ready from the second probe on.
        .exec(move |_, _| {
            let code = i32::from(runs.fetch_add(1, Ordering::SeqCst) == 0);
            std::future::ready(ExecOutput::new(code, "", "not yet"))
        })
        .open()
        .unwrap()
}

async fn serve(listener: tokio::net::TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        answer(stream).await;
    }
}

/// With a certificate that nobody has signed, for another name.
async fn serve_tls(listener: tokio::net::TcpListener) {
    let own = rcgen::generate_simple_self_signed(["somebody.else".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        if let Ok(stream) = acceptor.accept(stream).await {
            answer(stream).await;
        }
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let good = request[..length].starts_with(b"GET /healthz HTTP/1.1\r\n");
    let status = if good { "204 No Content" } else { "500 No" };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn container(image: &str, more: Value) -> Value {
    let mut container = json!({"name": "app", "image": image});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"containers": [container]})
}

async fn get(agent: &Agent, path: &str) -> (u16, String) {
    let request = http::Request::get(path).body(()).unwrap();
    let response = agent.service().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_node_registers_and_renews_its_lease() {
    cluster(async |server, _, _, _| {
        let client = admin(server);
        let key = ObjectKey::cluster(NODE);
        let node = until::<Node, Node>(&client, key, "the node is ready", |node| {
            let conditions = node?.status.as_ref()?.conditions.as_ref()?;
            let ready = conditions.iter().find(|one| one.type_ == "Ready")?;
            (ready.status == "True").then(|| node.unwrap().clone())
        })
        .await;
        let labels = node.metadata.labels.unwrap();
        assert_eq!(labels["kubernetes.io/hostname"], NODE);
        assert_eq!(labels["kubernetes.io/os"], "linux");
        let status = node.status.unwrap();
        assert_eq!(status.allocatable.unwrap()["pods"].0, "110");
        assert!(status.node_info.unwrap().container_runtime_version.starts_with("task://"));
        let lease = ObjectKey::namespaced("kube-node-lease", NODE);
        let renewed = |lease: Option<&Lease>| lease?.spec.as_ref()?.renew_time.as_ref().map(|time| time.0);
        let first = until(&client, lease.clone(), "the lease is there", renewed).await;
        let wait = |lease: Option<&Lease>| renewed(lease).filter(|time| *time > first);
        let second = until(&client, lease, "the lease is renewed", wait).await;
        assert_eq!(second.duration_since(first).as_secs(), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_is_logged_and_goes() {
    cluster(async |server, runtime, agent, dir| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        let env = json!({"env": [
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "GREETING", "value": "hi from $(POD)"},
        ]});
        pods.create(&pod("web", container("sleep:1", env))).await.unwrap();
        let pod = until_ready(&client, "web").await;
        let status = pod.status.clone().unwrap();
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert!(status.pod_ip.unwrap().starts_with("127.65."));
        for condition in ["Initialized", "Ready", "ContainersReady", "PodReadyToStartContainers"] {
            assert!(is_true(&pod, condition), "{condition}");
        }
        let (code, log) = get(agent, "/containerLogs/default/web/app").await;
        assert_eq!((code, log.as_str()), (200, "web says hi from web\n"));
        let (code, text) = get(agent, "/containerLogs/default/web/none").await;
        assert_eq!((code, text.as_str()), (400, "container none is not valid for pod web\n"));
        assert_eq!(get(agent, "/containerLogs/default/none/app").await.0, 404);
        assert_eq!(get(agent, "/healthz").await, (200, "ok".into()));
        assert!(get(agent, "/pods").await.1.contains("\"name\":\"web\""));

        pods.delete("web", &Options::default()).await.unwrap();
        until_gone(&client, "web").await;
        assert_eq!(runtime.list(None).await.unwrap(), Default::default());
        for kept in ["pods", "logs"] {
            assert_eq!(std::fs::read_dir(dir.join(kept)).unwrap().count(), 0, "{kept}");
        }
        let events = client.namespaced::<Event>("default").list(&Options::default()).await.unwrap();
        let reasons: Vec<String> = events.items.iter().filter_map(|event| event.reason.clone()).collect();
        for reason in ["Pulled", "Created", "Started", "Killing"] {
            assert!(reasons.iter().any(|one| one == reason), "{reason} in {reasons:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named_and_noticed_when_it_comes() {
    cluster(async |server, _, agent, _| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        let from = json!({"env": [{"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "greeting"}}}]});
        pods.create(&pod("web", container("sleep:1", from))).await.unwrap();
        let message = until_waiting(&client, "web", "CreateContainerConfigError").await;
        assert_eq!(message, "configmap \"config\" not found");
        let maps = client.namespaced::<ConfigMap>("default");
        let map = |data: Value| object::<ConfigMap>(json!({"metadata": {"name": "config", "namespace": "default"}, "data": data}));
        let created = maps.create(&map(json!({"other": "x"}))).await.unwrap();
        until_container(&client, "web", "the message names the key", |_, status| {
            let message = status.state.as_ref()?.waiting.as_ref()?.message.as_deref()?;
            (message == "couldn't find key greeting in ConfigMap default/config").then_some(())
        })
        .await;
        let mut with_key = created.to_owned();
        with_key.data = map(json!({"greeting": "at last"})).data;
        maps.replace(&created, &with_key).await.unwrap();
        until_ready(&client, "web").await;
        assert_eq!(get(agent, "/containerLogs/default/web/app").await.1, "- says at last\n");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn volumes_follow_what_they_are_made_from() {
    cluster(async |server, runtime, _, _| {
        let client = admin(server);
        let maps = client.namespaced::<ConfigMap>("default");
        let map: ConfigMap =
            object(json!({"metadata": {"name": "config", "namespace": "default"}, "data": {"greeting": "one"}}));
        let created = maps.create(&map).await.unwrap();
        let mut spec = container("sleep:1", json!({"volumeMounts": [{"name": "v", "mountPath": "/etc/app"}]}));
        spec["volumes"] = json!([{"name": "v", "projected": {"sources": [
            {"configMap": {"name": "config"}},
            {"downwardAPI": {"items": [{"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}}]}},
        ]}}]);
        client.namespaced::<Pod>("default").create(&pod("web", spec)).await.unwrap();
        let pod = until_ready(&client, "web").await;
        let uid = pod.metadata.uid.unwrap();
        let dir = server_dir(runtime, &uid).await;
        let read =
            |file: &str| std::fs::read_to_string(dir.join("pods").join(&uid).join("volumes/v").join(file)).unwrap();
        assert_eq!((read("greeting"), read("app")), ("one".into(), "web".into()));
        let follows = async |file: &str, wanted: &str| {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            let follows = async {
                while read(file) != wanted {
                    tick.tick().await;
                }
            };
            tokio::time::timeout(PATIENCE, follows).await.expect("the volume follows");
        };
        let mut changed = created.to_owned();
        changed.data = Some([("greeting".to_owned(), "two".to_owned())].into());
        maps.replace(&created, &changed).await.unwrap();
        follows("greeting", "two").await;
        let pods = client.namespaced::<Pod>("default");
        let now = pods.get("web").await.unwrap();
        let mut labelled = now.to_owned();
        labelled.metadata.labels = Some([("app".to_owned(), "other".to_owned())].into());
        pods.replace(&now, &labelled).await.unwrap();
        follows("app", "other").await;
    })
    .await;
}

/// The agent's directory, found from where a container logs.
async fn server_dir(runtime: &TaskRuntime, uid: &str) -> std::path::PathBuf {
    let listing = runtime.list(Some(uid)).await.unwrap();
    let log = listing.containers[0].log_path.clone();
    log.ancestors().nth(4).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_unknown_image_is_named() {
    cluster(async |server, _, agent, _| {
        let client = admin(server);
        client.namespaced::<Pod>("default").create(&pod("web", container("nobody/knows:1", json!({})))).await.unwrap();
        assert_eq!(until_waiting(&client, "web", "ErrImagePull").await, "image \"nobody/knows:1\" not found");
        let message = until_waiting(&client, "web", "ImagePullBackOff").await;
        assert!(message.starts_with("Back-off pulling image \"nobody/knows:1\": ErrImagePull"), "{message}");
        let (code, text) = get(agent, "/containerLogs/default/web/app").await;
        assert_eq!(code, 400);
        assert_eq!(text, "container \"app\" in pod \"web\" is waiting to start: trying and failing to pull image\n");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_restarted_with_growing_waits_and_keeps_its_last_log() {
    cluster(async |server, _, agent, _| {
        let client = admin(server);
        client.namespaced::<Pod>("default").create(&pod("web", container("fail:1", json!({})))).await.unwrap();
        let begun = tokio::time::Instant::now();
        let restarts = |number: i32| {
            until_container(&client, "web", "it is restarted", move |_, status| {
                let last = status.last_state.as_ref()?.terminated.as_ref()?;
                (status.restart_count == number && last.exit_code == 3).then_some(())
            })
        };
        until_waiting(&client, "web", "CrashLoopBackOff").await;
        restarts(3).await;
        // At once, after 10 s and after 20 s, and never more than a relist late.
        let seconds = begun.elapsed().as_secs();
        assert!((30..34).contains(&seconds), "{seconds}");
        let (code, log) = get(agent, "/containerLogs/default/web/app?previous=true").await;
        assert_eq!((code, log.as_str()), (200, "failing\n"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_started_and_came_to_nothing_is_not_asked_for_without_a_pause() {
    let asked = Arc::new(AtomicUsize::new(0));
    let fault = {
        let asked = asked.clone();
        move |call: &str, about: &str| {
            (call == "start").then(|| {
                asked.fetch_add(1, Ordering::SeqCst);
                Error::already_exists("container", about)
            })
        }
    };
    faulty_cluster(fault, async |server, _, _, _| {
        let client = admin(server);
        client.namespaced::<Pod>("default").create(&pod("web", container("sleep:1", json!({})))).await.unwrap();
        let message = until_waiting(&client, "web", "RunContainerError").await;
        assert_eq!(message, "container app was started and does not run");
        tokio::time::sleep(Duration::from_secs(35)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 4, "every ten seconds");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_previous_log_is_that_of_the_last_state() {
    cluster(async |server, _, agent, _| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        pods.create(&pod("web", container("count:1", json!({})))).await.unwrap();
        // It has run twice, and waits for the third time.
        until_waiting(&client, "web", "CrashLoopBackOff").await;
        let previous = "/containerLogs/default/web/app?previous=true";
        assert_eq!(get(agent, previous).await, (200, "run 1\n".into()));

        let mut spec = container("count:1", json!({}));
        spec["restartPolicy"] = json!("Never");
        pods.create(&pod("once", spec)).await.unwrap();
        until_container(&client, "once", "it is over", |_, status| status.state.as_ref()?.terminated.clone()).await;
        let (code, text) = get(agent, "/containerLogs/default/once/app?previous=true").await;
        assert_eq!((code, text.as_str()), (400, "previous terminated container \"app\" in pod \"once\" not found\n"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn jobs_end_and_stay() {
    cluster(async |server, runtime, _, _| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        for (name, image, phase) in [("good", "succeed:1", "Succeeded"), ("bad", "fail:1", "Failed")] {
            let mut spec = container(image, json!({}));
            spec["restartPolicy"] = json!("Never");
            pods.create(&pod(name, spec)).await.unwrap();
            let key = ObjectKey::namespaced("default", name);
            let found = until::<Pod, Pod>(&client, key, phase, |pod| {
                let found = pod?.status.as_ref()?.phase.as_deref() == Some(phase);
                found.then(|| pod.unwrap().clone())
            })
            .await;
            assert!(!is_true(&found, "Ready"));
        }
        let listing = runtime.list(None).await.unwrap();
        assert_eq!(listing.containers.len(), 2, "each ran once, and is kept for its log");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn probes_of_all_sorts() {
    cluster(async |server, _, _, _| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        let ports = json!([{"name": "web", "containerPort": 8080}]);
        let cases = [
            ("http", "serve:1", json!({"httpGet": {"path": "/healthz", "port": "web"}})),
            ("https", "serve-tls:1", json!({"httpGet": {"path": "/healthz", "port": 8443, "scheme": "HTTPS"}})),
            ("tcp", "serve:1", json!({"tcpSocket": {"port": 8080}})),
            ("exec", "sleep:1", json!({"exec": {"command": ["check"]}})),
        ];
        for (name, image, action) in cases {
            let mut probe = action;
            probe["periodSeconds"] = json!(1);
            let spec = container(image, json!({"ports": ports, "readinessProbe": probe}));
            pods.create(&pod(name, spec)).await.unwrap();
            until_ready(&client, name).await;
        }
        let probe = json!({"httpGet": {"path": "/wrong", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2});
        let spec = container("serve:1", json!({"livenessProbe": probe}));
        pods.create(&pod("sick", spec)).await.unwrap();
        until_container(&client, "sick", "it is restarted", |_, status| (status.restart_count > 0).then_some(())).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_cannot_ask_says_so_and_restarts_nothing() {
    let fault = |call: &str, _: &str| (call == "exec").then(|| Error::Transient("no process is left".into()));
    faulty_cluster(fault, async |server, _, _, _| {
        let client = admin(server);
        let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1});
        let spec = container("sleep:1", json!({"livenessProbe": probe}));
        client.namespaced::<Pod>("default").create(&pod("web", spec)).await.unwrap();
        until_running(&client, "web").await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let status = until_ready(&client, "web").await.status.unwrap();
        assert_eq!(status.container_statuses.unwrap()[0].restart_count, 0);
        let events = client.namespaced::<Event>("default").list(&Options::default()).await.unwrap();
        let mut texts = events.items.iter().filter_map(|event| event.message.as_deref());
        let told = "Liveness probe errored and resulted in unknown state: no process is left";
        assert!(texts.any(|text| text == told));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deaf_container_is_killed_when_its_grace_is_over() {
    cluster(async |server, _, _, _| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        pods.create(&pod("web", container("deaf:1", json!({})))).await.unwrap();
        until_ready(&client, "web").await;
        let begun = tokio::time::Instant::now();
        pods.delete("web", &Options::default()).await.unwrap();
        until_gone(&client, "web").await;
        assert!((4..7).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_agent_adopts_what_runs_and_ends_what_was_deleted_meanwhile() {
    with_server(async |server| {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, run) = tasks(server);
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        let work = async {
            with_agent(server, runtime.clone(), dir.path(), async |_| {
                for name in ["stays", "goes"] {
                    pods.create(&pod(name, container("sleep:1", json!({})))).await.unwrap();
                    until_ready(&client, name).await;
                }
            })
            .await;
            let before = runtime.list(None).await.unwrap();
            let now = Options::default().grace_period_seconds(0);
            pods.delete("goes", &now).await.unwrap();
            with_agent(server, runtime.clone(), dir.path(), async |_| {
                let mut tick = tokio::time::interval(Duration::from_millis(100));
                let ends = async {
                    while runtime.list(None).await.unwrap().sandboxes.len() > 1 {
                        tick.tick().await;
                    }
                };
                tokio::time::timeout(PATIENCE, ends).await.expect("the orphan is ended");
                let after = runtime.list(None).await.unwrap();
                let kept = before.containers.iter().find(|one| one.pod.name == "stays");
                assert_eq!(after.containers.first(), kept, "untouched");
                assert_eq!(
                    until_ready(&client, "stays").await.status.unwrap().container_statuses.unwrap()[0].restart_count,
                    0
                );
            })
            .await;
        };
        tokio::select! {
            biased;
            () = work => {}
            () = run => panic!("the runtime ended"),
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_trips_its_worker_is_tried_again_and_harms_nobody() {
    let trips = AtomicUsize::new(0);
    let fault = move |call: &str, about: &str| {
        // The first pod that anything is asked about, three times.
        assert!(call != "list" || about.is_empty() || trips.fetch_add(1, Ordering::SeqCst) >= 3, "a mistake");
        None
    };
    faulty_cluster(fault, async |server, _, _, _| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        let begun = tokio::time::Instant::now();
        pods.create(&pod("bad", container("sleep:1", json!({})))).await.unwrap();
        until_ready(&client, "bad").await;
        assert!((7..10).contains(&begun.elapsed().as_secs()), "after 1, 2 and 4 s: {:?}", begun.elapsed());
        pods.create(&pod("good", container("sleep:1", json!({})))).await.unwrap();
        until_ready(&client, "good").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_agent_removes_what_is_left_of_pods_that_nobody_has() {
    with_server(async |server| {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, run) = tasks(server);
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        let names = |kept: &str| -> Vec<String> {
            let entries = std::fs::read_dir(dir.path().join(kept)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let work = async {
            with_agent(server, runtime.clone(), dir.path(), async |_| {
                for name in ["stays", "orphan", "gone"] {
                    pods.create(&pod(name, container("sleep:1", json!({})))).await.unwrap();
                    until_ready(&client, name).await;
                }
            })
            .await;
            // Two are deleted while no agent runs, and one of them is lost to the runtime.
            for name in ["orphan", "gone"] {
                pods.delete(name, &Options::default().grace_period_seconds(0)).await.unwrap();
            }
            for sandbox in runtime.list(None).await.unwrap().sandboxes.iter().filter(|one| one.pod.name == "gone") {
                runtime.remove_sandbox(&sandbox.id).await.unwrap();
            }
            assert_eq!((names("pods").len(), names("logs").len()), (3, 3));
            with_agent(server, runtime.clone(), dir.path(), async |_| {
                let mut tick = tokio::time::interval(Duration::from_millis(100));
                let ends = async {
                    while names("pods").len() > 1 || names("logs").len() > 1 {
                        tick.tick().await;
                    }
                };
                tokio::time::timeout(PATIENCE, ends).await.expect("the others' are removed");
                let uid = pods.get("stays").await.unwrap().metadata.uid.clone().unwrap();
                assert_eq!(names("logs"), [format!("default_stays_{uid}")]);
                assert_eq!(names("pods"), [uid]);
            })
            .await;
        };
        tokio::select! {
            biased;
            () = work => {}
            () = run => panic!("the runtime ended"),
        }
    })
    .await;
}

/// Runs `test` beside an agent that is shut down after it, within this grace; how long that took.
async fn until_shut_down(
    fault: impl Fn(&str, &str) -> Option<Error> + Send + Sync + 'static,
    grace: Duration,
    test: impl AsyncFnOnce(&Client),
    after: impl AsyncFnOnce(&Client, &TaskRuntime, Duration),
) {
    with_server(async |server| {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, run) = tasks(server);
        let client = admin(server);
        let agent =
            Agent::builder(server.client(User::node(NODE)), Faulty::new(runtime.clone(), fault), NODE, dir.path());
        let (agent, agent_run) = agent.open().await.unwrap();
        let work = async {
            test(&client).await;
            let begun = tokio::time::Instant::now();
            tokio::time::timeout(PATIENCE, agent.shutdown(grace)).await.expect("a shutdown ends");
            begun.elapsed()
        };
        let took = tokio::select! {
            biased;
            (took, ()) = async { tokio::join!(work, agent_run) } => took,
            () = run => panic!("the runtime ended"),
        };
        after(&client, &runtime, took).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_containers_and_keeps_pods() {
    let test = async |client: &Client| {
        client.namespaced::<Pod>("default").create(&pod("web", container("sleep:1", json!({})))).await.unwrap();
        until_ready(client, "web").await;
    };
    until_shut_down(
        |_, _| None,
        Duration::from_secs(2),
        test,
        async |client, runtime, took| {
            assert!(took < Duration::from_secs(1), "{took:?}");
            let listing = runtime.list(None).await.unwrap();
            assert!(listing.containers[0].state.exit().is_some());
            let pod = client.namespaced::<Pod>("default").get("web").await.unwrap();
            assert!(pod.metadata.deletion_timestamp.is_none());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn neither_hooks_nor_stops_nor_deaf_containers_hold_a_shutdown_up() {
    let sleep = json!({"sleep": {"seconds": 1000}});
    let test = async |client: &Client| {
        let pods = client.namespaced::<Pod>("default");
        let cases = [
            ("starting", "sleep:1", json!({"lifecycle": {"postStart": sleep}})),
            ("hooked", "sleep:1", json!({"lifecycle": {"preStop": sleep}})),
            ("deaf", "deaf:1", json!({})),
        ];
        for (name, image, more) in cases {
            let mut spec = container(image, more);
            spec["terminationGracePeriodSeconds"] = json!(3600);
            pods.create(&pod(name, spec)).await.unwrap();
            until_running(client, name).await;
        }
        for name in ["hooked", "deaf"] {
            pods.delete(name, &Options::default()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    };
    until_shut_down(
        |_, _| None,
        Duration::from_secs(2),
        test,
        async |_, runtime, took| {
            assert!(took < Duration::from_secs(5), "{took:?}");
            for container in runtime.list(None).await.unwrap().containers {
                assert!(container.state.exit().is_some(), "{container:?}");
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_does_not_answer_does_not_hold_a_shutdown_up() {
    let mute = Arc::new(AtomicBool::new(false));
    let fault = {
        let mute = mute.clone();
        move |call: &str, _: &str| {
            (call == "list" && mute.load(Ordering::SeqCst)).then(|| Error::Transient("no".into()))
        }
    };
    let test = async |client: &Client| {
        client.namespaced::<Pod>("default").create(&pod("web", container("sleep:1", json!({})))).await.unwrap();
        until_ready(client, "web").await;
        mute.store(true, Ordering::SeqCst);
        client.namespaced::<Pod>("default").delete("web", &Options::default()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
    };
    until_shut_down(fault, Duration::from_secs(2), test, async |_, _, took| {
        assert!(took < Duration::from_secs(10), "{took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_shortens_stops_and_hooks_under_way() {
    cluster(async |server, _, _, _| {
        let client = admin(server);
        let pods = client.namespaced::<Pod>("default");
        let hook = json!({"sleep": {"seconds": 1000}});
        let cases = [
            ("stopping", "deaf:1", json!({})),
            ("hooked", "sleep:1", json!({"lifecycle": {"preStop": hook}})),
            ("starting", "sleep:1", json!({"lifecycle": {"postStart": hook}})),
        ];
        for (name, image, more) in &cases {
            let mut spec = container(image, more.clone());
            spec["terminationGracePeriodSeconds"] = json!(3600);
            if *name != "starting" {
                spec["activeDeadlineSeconds"] = json!(1);
            }
            pods.create(&pod(name, spec)).await.unwrap();
            until_running(&client, name).await;
        }
        // By now two are being stopped, within an hour.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for (name, _, _) in cases {
            let begun = tokio::time::Instant::now();
            pods.delete(name, &Options::default().grace_period_seconds(2)).await.unwrap();
            until_gone(&client, name).await;
            assert!(begun.elapsed() < Duration::from_secs(7), "{name}: {:?}", begun.elapsed());
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_restarted_while_no_status_can_be_written() {
    with_server(async |server| {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, run) = tasks(server);
        let client = admin(server);
        let way = Silent::new(server.client(User::node(NODE)));
        let test = async |_: &Agent| {
            client.namespaced::<Pod>("default").create(&pod("web", container("fail:1", json!({})))).await.unwrap();
            until_waiting(&client, "web", "CrashLoopBackOff").await;
            way.begin();
            tokio::time::sleep(Duration::from_secs(60)).await;
            let attempts = runtime.list(None).await.unwrap().containers.into_iter().map(|one| one.attempt);
            assert!(attempts.max().unwrap() >= 3, "after 10 and 20 more seconds");
        };
        tokio::select! {
            biased;
            () = with_agent_of(way.client(), runtime.clone(), dir.path(), test) => {}
            () = run => panic!("the runtime ended"),
        }
    })
    .await;
}
