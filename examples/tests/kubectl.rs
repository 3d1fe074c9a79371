//! The real kubectl, unmodified, against the standalone cluster: what it prints and how it exits.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::process::Stdio;

use support::{Standalone, line_with, lines_of};

const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/standalone/hello.yaml");

/// The words of a table's row that begins with `name`.
#[track_caller]
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let row = table.lines().find(|line| line.split_whitespace().next().is_some_and(|first| first.starts_with(name)));
    row.unwrap_or_else(|| panic!("no row {name} in\n{table}")).split_whitespace().collect()
}

#[track_caller]
fn heading(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split("  ").map(str::trim).filter(|word| !word.is_empty()).collect()
}

#[test]
#[ignore = "needs kubectl"]
fn everyday_use() {
    let cluster = Standalone::start(&[]);
    let k = |line: &str| cluster.kubectl(&line.split(' ').collect::<Vec<_>>());

    // apply
    let applied = k(&format!("apply -f {HELLO}")).ok();
    for line in
        ["namespace/hello created", "configmap/greeting created", "deployment.apps/web created", "service/web created"]
    {
        assert!(applied.lines().any(|other| other == line), "{applied}");
    }
    assert!(k("rollout status deployment/web -n hello --timeout=60s").ok().contains("successfully rolled out"));
    assert!(k(&format!("apply -f {HELLO}")).ok().lines().all(|line| line.ends_with("unchanged")));

    // get
    let table = k("get deployments -n hello").ok();
    assert_eq!(heading(&table), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    assert_eq!(row(&table, "web")[1..4], ["3/3", "3", "3"]);
    let wide = k("get deployments -n hello -o wide").ok();
    assert_eq!(heading(&wide)[5..], ["CONTAINERS", "IMAGES", "SELECTOR"]);
    assert_eq!(row(&wide, "web")[5..], ["server", "kore.dev/hello", "app=web"]);
    let pods = k("get pods -n hello -o wide").ok();
    assert_eq!(heading(&pods)[..7], ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]);
    assert_eq!(pods.lines().filter(|line| line.starts_with("web-") && line.contains("Running")).count(), 3, "{pods}");
    let everything = k("get all -A").ok();
    assert!(everything.contains("service/web") && everything.contains("replicaset.apps/web-"), "{everything}");
    let yaml = k("get configmap greeting -n hello -o yaml").ok();
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  greeting: Hello\n"), "{yaml}");
    assert_eq!(k("get pods -n hello -l app=web --field-selector=status.phase=Running -o name").ok().lines().count(), 3);
    assert!(k("get nodes").ok().contains("Ready"));
    assert!(k("get pods -n hello nope").failed(1).contains("pods \"nope\" not found"));

    // describe
    let described = k("describe deployment web -n hello").ok();
    for text in
        ["Replicas:", "3 desired | 3 updated | 3 total | 3 available | 0 unavailable", "ScalingReplicaSet", "Available"]
    {
        assert!(described.contains(text), "no {text} in\n{described}");
    }
    let pod = k("get pods -n hello -o jsonpath={.items[0].metadata.name}").ok();
    let described = k(&format!("describe pod -n hello {pod}")).ok();
    for text in [
        "Successfully assigned hello/web-",
        "Started",
        "\n  Ready                       True",
        "GREETING:  <set to the key 'greeting' of config map 'greeting'>",
    ] {
        assert!(described.contains(text), "no {text} in\n{described}");
    }

    // create
    assert_eq!(k("create ns other").ok(), "namespace/other created\n");
    assert_eq!(k("create configmap c --from-literal=a=1 -n other").ok(), "configmap/c created\n");
    assert_eq!(k("create secret generic s --from-literal=password=x -n other").ok(), "secret/s created\n");
    assert_eq!(k("get secret s -n other -o jsonpath={.data.password}").ok(), "eA==");
    assert_eq!(
        k("create deployment d --image=kore.dev/hello --replicas=2 -n other").ok(),
        "deployment.apps/d created\n"
    );
    // Without a word on where to listen, each of its pods is on its own address.
    k("rollout status deployment/d -n other --timeout=60s").ok();
    assert_eq!(k("expose deployment d -n other --port=8080").ok(), "service/d exposed\n");
    let address = k("get service d -n other -o jsonpath={.spec.clusterIP}").ok();
    assert!(until(|| std::net::TcpStream::connect((&*address, 8080)).ok()).is_some());
    assert!(k("create ns other").failed(1).contains("namespaces \"other\" already exists"));

    // logs
    assert!(k(&format!("logs -n hello {pod}")).ok().contains("serving on 127."));
    let mut follow =
        cluster.kubectl_command(&["logs", "-f", "-n", "hello", &pod]).stdout(Stdio::piped()).spawn().expect("kubectl");
    let lines = lines_of(follow.stdout.take().expect("piped"));
    line_with(&lines, "serving on");
    let address = k("get service web -n hello -o jsonpath={.spec.clusterIP}").ok();
    let (mut answers, mut asked) = (std::collections::BTreeSet::new(), 0);
    while answers.len() < 3 {
        asked += 1;
        assert!(asked < 30, "only {answers:?} answer");
        answers.insert(support_http(&address));
    }
    assert!(answers.iter().all(|answer| answer.contains("Hello from web-") && answer.contains("three replicas")));
    line_with(&lines, "answering");
    let _ = follow.kill();
    let _ = follow.wait();

    // node ports
    k("patch service web -n hello -p {\"spec\":{\"type\":\"NodePort\"}}").ok();
    let port = k("get service web -n hello -o jsonpath={.spec.ports[0].nodePort}").ok();
    let port: u16 = port.parse().expect("a port");
    until(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok()).expect("the node port is served");

    // scale, set image, rollout
    assert_eq!(k("scale deployment web -n hello --replicas=5").ok(), "deployment.apps/web scaled\n");
    k("rollout status deployment/web -n hello --timeout=60s").ok();
    assert_eq!(row(&k("get deployments -n hello").ok(), "web")[1], "5/5");
    assert_eq!(
        k("set image deployment/web server=kore.dev/hello:2 -n hello").ok(),
        "deployment.apps/web image updated\n"
    );
    k("rollout status deployment/web -n hello --timeout=60s").ok();
    let history = k("rollout history deployment/web -n hello").ok();
    assert!(history.contains("REVISION") && history.lines().any(|line| line.starts_with("2 ")), "{history}");
    assert_eq!(k("rollout undo deployment/web -n hello").ok(), "deployment.apps/web rolled back\n");
    k("rollout status deployment/web -n hello --timeout=60s").ok();
    let image = k("get deployment web -n hello -o jsonpath={.spec.template.spec.containers[0].image}").ok();
    assert_eq!(image, "kore.dev/hello");
    k("rollout restart deployment/web -n hello").ok();
    k("rollout status deployment/web -n hello --timeout=60s").ok();

    // label, annotate, patch, wait, get -w
    assert_eq!(k("label configmap greeting -n hello tier=front").ok(), "configmap/greeting labeled\n");
    assert!(k("get configmaps -n hello -l tier=front --show-labels").ok().contains("tier=front"));
    k("annotate configmap greeting -n hello note=hi").ok();
    k("patch deployment web -n hello -p {\"spec\":{\"replicas\":2}}").ok();
    k("patch deployment web -n hello --type=merge -p {\"metadata\":{\"annotations\":{\"x\":\"y\"}}}").ok();
    k("patch deployment web -n hello --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3}]")
        .ok();
    k("wait deployment/web -n hello --for=condition=Available --timeout=60s").ok();
    let mut watch = cluster
        .kubectl_command(&["get", "configmaps", "-n", "other", "-w"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let lines = lines_of(watch.stdout.take().expect("piped"));
    line_with(&lines, "c ");
    k("create configmap later --from-literal=a=1 -n other").ok();
    line_with(&lines, "later");
    let _ = watch.kill();
    let _ = watch.wait();

    // explain, api-resources
    let explained = k("explain deployment.spec.replicas").ok();
    assert!(explained.contains("FIELD: replicas <integer>"), "{explained}");
    let resources = k("api-resources").ok();
    assert_eq!(row(&resources, "deployments"), ["deployments", "deploy", "apps/v1", "true", "Deployment"]);
    assert_eq!(row(&resources, "namespaces"), ["namespaces", "ns", "v1", "false", "Namespace"]);
    assert!(k("api-versions").ok().contains("apps/v1"));
    assert!(k("version").ok().contains("Server Version"));

    // delete
    assert!(k("delete deployment web -n hello").ok().starts_with("deployment.apps \"web\" deleted"));
    k("wait pods -n hello -l app=web --for=delete --timeout=60s").ok();
    assert!(k("delete namespace other --timeout=60s").ok().starts_with("namespace \"other\" deleted"));
    assert!(k("get configmap c -n other").failed(1).contains("not found"));
    assert_eq!(cluster.workloads(), [], "workloads of what was deleted");
}

/// For a `kind: List`, kubectl validates by itself, by the OpenAPI v2 document.
#[test]
#[ignore = "needs kubectl"]
fn lists() {
    let cluster = Standalone::start(&["--nodes", "0"]);
    let file = cluster.data_dir().join("list.yaml");
    let list = |data: &str| {
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: a}}\n  {data}\n\
             - apiVersion: apps/v1\n  kind: Deployment\n  metadata: {{name: web}}\n  spec:\n    selector: {{matchLabels: {{app: web}}}}\n    \
             strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 25%}}}}\n    template:\n      metadata: {{labels: {{app: web}}}}\n      \
             spec:\n        containers:\n        - name: c\n          image: kore.dev/hello\n          resources: {{requests: {{cpu: 1, memory: 1Gi}}}}\n"
        )
    };
    let k = |verb: &str| cluster.kubectl(&[verb, "-f", &file.to_string_lossy()]);
    fs::write(&file, list("data: {x: \"1\"}")).expect("written");
    for (verb, outcome) in [("create", "created"), ("apply", "configured"), ("replace", "replaced")] {
        let printed = k(verb).ok();
        let expected = [format!("configmap/a {outcome}"), format!("deployment.apps/web {outcome}")];
        assert!(expected.iter().all(|line| printed.contains(line)), "{verb}: {printed}");
    }
    for (data, message) in [
        ("datum: {x: \"1\"}", "unknown field \"datum\""),
        ("data: {x: 1}\n  immutable: \"no\"", "invalid type for io.k8s.api.core.v1.ConfigMap.immutable"),
    ] {
        fs::write(&file, list(data)).expect("written");
        let error = k("apply").failed(1);
        assert!(error.contains(message), "{data}: {error}");
    }
}

/// One GET on a connection of its own.
fn support_http(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((address, 8080)).expect("the service accepts");
    write!(stream, "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "needs kubectl"]
fn bad_input() {
    let cluster = Standalone::start(&[]);
    let file = cluster.data_dir().join("bad.yaml");
    let deployment = |changes: &[(&str, &str)]| {
        let mut text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: NAME\nspec:\n  replicas: REPLICAS\n  selector:\n    \
            matchLabels: {app: SELECTOR}\n  EXTRA\n  template:\n    metadata:\n      labels: {app: web}\n    spec:\n      containers:\n      \
            - {name: c, image: kore.dev/hello}\n"
            .to_owned();
        let defaults = [("NAME", "web"), ("REPLICAS", "1"), ("SELECTOR", "web"), ("EXTRA", "minReadySeconds: 0")];
        for (name, default) in defaults {
            let value = changes.iter().find(|(changed, _)| *changed == name).map_or(default, |(_, value)| value);
            text = text.replace(name, value);
        }
        text
    };
    for (name, manifest, message) in [
        ("unknown field", deployment(&[("EXTRA", "replicaz: 3")]), "unknown field \"spec.replicaz\""),
        ("wrong type", deployment(&[("REPLICAS", "many")]), "spec.replicas"),
        ("invalid name", deployment(&[("NAME", "Web_1")]), "metadata.name: Invalid value: \"Web_1\""),
        ("selector", deployment(&[("SELECTOR", "other")]), "`selector` does not match template `labels`"),
        (
            "negative replicas",
            deployment(&[("REPLICAS", "-1")]),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        ("malformed", "{\"apiVersion\": \"v1\", \"kind\"".to_owned(), "error"),
    ] {
        fs::write(&file, manifest).expect("written");
        let error = cluster.kubectl(&["apply", "-f", &file.to_string_lossy()]).failed(1);
        assert!(error.contains(message), "{name}: {error}");
    }

    let pods = pods_that_cannot_run();
    fs::write(&file, &pods).expect("written");
    cluster.kubectl(&["apply", "-f", &file.to_string_lossy()]).ok();
    for (name, reason, message) in [
        ("unknown-image", "ImagePullBackOff", "Failed to pull image \"nginx\": image \"nginx\" not found"),
        ("no-command", "CrashLoopBackOff", "exec: \"does-not-exist\": executable file not found in $PATH"),
        ("no-key", "CreateContainerConfigError", "couldn't find key missing in ConfigMap default/config"),
        ("no-map", "ContainerCreating", "configmap \"nope\" not found"),
        ("too-large", "Pending", "0/1 nodes are available: 1 Insufficient cpu."),
        ("port", "CrashLoopBackOff", "Back-off restarting failed container"),
    ] {
        let described = until(|| {
            let listed = cluster.kubectl(&["get", "pod", name]).ok();
            let described = cluster.kubectl(&["describe", "pod", name]).ok();
            (listed.contains(reason) && described.contains(message)).then_some(described)
        });
        assert!(described.is_some(), "{name}: {}", cluster.kubectl(&["describe", "pod", name]).ok());
    }
    let logs = until(|| {
        let of = |container: &str| cluster.kubectl(&["logs", "port", "-c", container, "--previous"]).out;
        Some(of("a") + &of("b")).filter(|logs| logs.contains("in use"))
    });
    assert!(logs.is_some(), "the second server says that its port is taken");

    let big = cluster.data_dir().join("big");
    fs::write(&big, "x".repeat(10 << 20)).expect("written");
    let argument = format!("--from-file={}", big.display());
    let error = cluster.kubectl(&["create", "configmap", "big", &argument]).failed(1);
    assert!(error.to_lowercase().contains("too large") || error.contains("Too long"), "{error}");

    let raw = cluster
        .kubectl(&["get", "--raw", "/api/v1/pods?watch=true&resourceVersion=1&timeoutSeconds=1&labelSelector=a%20b"])
        .failed(1);
    assert!(raw.contains("unable to parse requirement"), "{raw}");
}

#[test]
#[ignore = "needs kubectl"]
fn a_watch_from_a_compacted_revision() {
    let cluster = Standalone::start(&["--history", "100ms", "--nodes", "0"]);
    let watch = "/api/v1/namespaces?watch=true&resourceVersion=2&timeoutSeconds=1";
    let answer = until(|| {
        // Revisions go on: what is compacted is never the present.
        cluster.kubectl(&["create", "configmap", "--from-literal=a=b", &format!("c{}", support::tick())]).ok();
        let watched = cluster.kubectl(&["get", "--raw", watch]);
        watched.out.contains("too old resource version").then_some(watched)
    });
    // As upstream: the watch begins, and its one event says why it cannot go on.
    let events = answer.expect("the revision is compacted away").ok();
    let event: serde_json::Value = serde_json::from_str(&events).expect("one event");
    let status = &event["object"];
    assert_eq!((&event["type"], &status["reason"], &status["code"]), (&"ERROR".into(), &"Expired".into(), &410.into()));
    assert!(status["message"].as_str().is_some_and(|message| message.starts_with("too old resource version: 2 (")));
}

/// One of each kind of mistake.
fn pods_that_cannot_run() -> String {
    let pod = |name: &str, spec: &str| {
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {}\n", spec.replace('\n', "\n  "))
    };
    let sleep = "image: kore.dev/host, command: [sleep, \"100\"]";
    let key = "env: [{name: X, valueFrom: {configMapKeyRef: {name: config, key: missing}}}]";
    let address = "env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]";
    [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {a: b}\n".to_owned(),
        pod("unknown-image", "containers: [{name: c, image: nginx}]"),
        pod("no-command", "containers: [{name: c, image: kore.dev/host, command: [does-not-exist]}]"),
        pod("no-key", &format!("containers: [{{name: c, {sleep}, {key}}}]")),
        pod(
            "no-map",
            &format!("containers: [{{name: c, {sleep}, volumeMounts: [{{name: v, mountPath: /x}}]}}]\nvolumes: [{{name: v, configMap: {{name: nope}}}}]"),
        ),
        pod("too-large", &format!("containers: [{{name: c, {sleep}, resources: {{requests: {{cpu: \"1000\"}}}}}}]")),
        pod("port", &format!("containers:\n- {{name: a, image: kore.dev/hello, {address}}}\n- {{name: b, image: kore.dev/hello, {address}}}")),
    ]
    .concat()
}

/// Asks again until there is an answer, or nobody has any patience left.
fn until<T>(mut answer: impl FnMut() -> Option<T>) -> Option<T> {
    let tries = support::PATIENCE.as_secs() * 5;
    (0..tries).find_map(|_| {
        answer().or_else(|| {
            support::pause(std::time::Duration::from_millis(200));
            None
        })
    })
}

#[test]
#[ignore = "needs kubectl"]
fn apply_on_the_servers_side() {
    let cluster = Standalone::start(&["--nodes", "0"]);
    let k = |line: &str| cluster.kubectl(&line.split(' ').collect::<Vec<_>>());
    let path = cluster.data_dir().join("web.yaml");
    let file = path.display();
    let write = |replicas: &str, image: &str| {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  {replicas}\n  selector: {{matchLabels: {{app: \
             web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n      - {{name: web, image: {image}}}\n"
        );
        fs::write(&path, text).expect("written");
    };
    let replicas = || k("get deployment web -o jsonpath={.spec.replicas}").ok();

    write("replicas: 1", "web:1");
    assert_eq!(k(&format!("apply --server-side -f {file}")).ok().trim(), "deployment.apps/web serverside-applied");
    k(&format!("diff --server-side -f {file}")).ok();
    write("replicas: 2", "web:2");
    let difference = k(&format!("diff --server-side -f {file}"));
    assert_eq!(difference.code, Some(1), "{}", difference.err);
    let difference = difference.out;
    assert!(difference.contains("+  replicas: 2") && difference.contains("web:2"), "{difference}");
    assert_eq!(replicas(), "1");
    assert!(k(&format!("apply --server-side --dry-run=server -f {file}")).ok().contains("(server dry run)"));
    assert_eq!(replicas(), "1");

    // Who scales owns the number from then on.
    k("scale deployment web --replicas=3").ok();
    let conflict = k(&format!("apply --server-side -f {file}")).failed(1);
    let expected = "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas";
    assert!(conflict.contains(expected), "{conflict}");
    write("paused: false", "web:2");
    k(&format!("apply --server-side -f {file}")).ok();
    assert_eq!(replicas(), "3");
    write("replicas: 2", "web:2");
    k(&format!("apply --server-side --force-conflicts -f {file}")).ok();
    assert_eq!(replicas(), "2");

    // What is not applied any more is removed: the number goes back to its default.
    write("paused: false", "web:2");
    k(&format!("apply --server-side -f {file}")).ok();
    assert_eq!(replicas(), "1");
    let shown = k("get deployment web -o yaml --show-managed-fields").ok();
    assert!(shown.contains("manager: kubectl\n") && shown.contains("operation: Apply"), "{shown}");
    assert!(!k("get deployment web -o yaml").ok().contains("managedFields"));

    // From the client's side to the server's: fields that were applied there are no conflict.
    let config = cluster.data_dir().join("config.yaml");
    let file = config.display();
    fs::write(&config, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '2'}\n")
        .expect("written");
    k(&format!("apply -f {file}")).ok();
    fs::write(&config, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '3'}\n").expect("written");
    k(&format!("apply --server-side -f {file}")).ok();
    assert_eq!(k("get configmap c -o jsonpath={.data}").ok(), "{\"a\":\"3\"}");
    // And back.
    fs::write(&config, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {c: '4'}\n").expect("written");
    k(&format!("apply -f {file}")).ok();
    assert_eq!(k("get configmap c -o jsonpath={.data}").ok(), "{\"c\":\"4\"}");

    fs::write(&config, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {c: '4'}\nnope: 1\n")
        .expect("written");
    let refused = k(&format!("apply --server-side -f {file}")).failed(1);
    assert!(refused.contains(".nope: field not declared in schema"), "{refused}");
}
