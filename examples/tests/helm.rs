//! The real Helm, unmodified, against the standalone cluster: it applies on the server's side unless it is told not to.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::Standalone;

const VALUES: &str = "replicas: 2\ngreeting: Hello\n";
const CHART: &str = "apiVersion: v2\nname: web\nversion: 0.1.0\n";
const TEMPLATES: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {greeting: {{ .Values.greeting | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: server
        image: kore.dev/hello
        env:
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: GREETING, valueFrom: {configMapKeyRef: {name: {{ .Release.Name }}, key: greeting}}}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 8080}]}
"#;

/// Runs Helm; what it prints, and whether it succeeded.
fn helm(cluster: &Standalone, arguments: &[&str]) -> (bool, String) {
    let helm = std::env::var_os("KORE_HELM").unwrap_or_else(|| "helm".into());
    let mut command = Command::new(helm);
    command.args(arguments).env("KUBECONFIG", cluster.kubeconfig()).env("HOME", cluster.data_dir());
    let output = command.output().expect("Helm starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), printed)
}

fn chart(dir: &Path) {
    fs::create_dir_all(dir.join("templates")).expect("made");
    fs::write(dir.join("Chart.yaml"), CHART).expect("written");
    fs::write(dir.join("values.yaml"), VALUES).expect("written");
    fs::write(dir.join("templates/all.yaml"), TEMPLATES).expect("written");
}

#[test]
#[ignore = "needs helm"]
fn a_release_and_its_life_on_the_servers_side() {
    a_release_and_its_life("--server-side=true");
}

#[test]
#[ignore = "needs helm"]
fn a_release_and_its_life_on_the_clients_side() {
    a_release_and_its_life("--server-side=false");
}

fn a_release_and_its_life(side: &str) {
    let cluster = Standalone::start(&[]);
    let dir = cluster.data_dir().join("chart");
    chart(&dir);
    let dir = dir.to_string_lossy().into_owned();
    let ok = |arguments: &[&str]| {
        let (succeeded, printed) = helm(&cluster, arguments);
        assert!(succeeded, "helm {arguments:?}\n{printed}");
        printed
    };
    let greeting = || cluster.kubectl(&["get", "configmap", "shop", "-o", "jsonpath={.data.greeting}"]).ok();

    assert!(ok(&["install", "shop", &dir, side, "--wait"]).contains("STATUS: deployed"));
    assert_eq!(greeting(), "Hello");
    let upgraded = ok(&["upgrade", "shop", &dir, side, "--wait", "--set", "greeting=Bye,replicas=3"]);
    assert!(upgraded.contains("REVISION: 2") || upgraded.contains("has been upgraded"), "{upgraded}");
    assert_eq!(greeting(), "Bye");
    assert_eq!(cluster.workloads().len(), 3);
    let owners = "jsonpath={range .metadata.managedFields[*]}{.manager} {.operation}{\"\\n\"}{end}";
    let owners = cluster.kubectl(&["get", "configmap", "shop", "-o", owners]).ok();
    let expected = if side.ends_with("true") { "helm Apply" } else { "helm Update" };
    assert_eq!(owners.trim(), expected);
    // What somebody else has changed meanwhile is a conflict on the server's side, and is overwritten on the client's.
    cluster.kubectl(&["patch", "configmap", "shop", "-p", "{\"data\":{\"greeting\":\"Hm\"}}"]).ok();
    let (succeeded, printed) = helm(&cluster, &["upgrade", "shop", &dir, side, "--set", "greeting=Hi"]);
    if side.ends_with("true") {
        assert!(!succeeded && printed.contains("conflict with \"kubectl-patch\""), "{printed}");
        ok(&["upgrade", "shop", &dir, side, "--force-conflicts", "--set", "greeting=Hi"]);
    } else {
        assert!(succeeded, "{printed}");
    }
    assert_eq!(greeting(), "Hi");
    ok(&["rollback", "shop", "1", side, "--wait"]);
    assert_eq!(greeting(), "Hello");
    assert!(ok(&["list"]).contains("deployed"));
    assert!(ok(&["history", "shop"]).contains("Rollback to 1"));
    assert!(ok(&["status", "shop"]).contains("STATUS: deployed"));
    ok(&["uninstall", "shop", "--wait"]);
    assert!(cluster.kubectl(&["get", "configmap", "shop"]).failed(1).contains("not found"));
}
