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

const OPERATOR_CHART: &str = "apiVersion: v2\nname: operator\nversion: 0.1.0\n";
/// A chart with a definition, objects of it, hooks that are Pods, and a test.
const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: backups.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: backups, singular: backup, kind: Backup, shortNames: [bk]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Schedule, type: string, jsonPath: .spec.schedule}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [schedule]
            properties:
              schedule: {type: string}
              keep: {type: integer, minimum: 1, default: 7}
              targets:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, path: {type: string}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;
const OPERATOR_TEMPLATES: &str = r#"
apiVersion: example.com/v1
kind: Backup
metadata: {name: {{ .Release.Name }}}
spec:
  schedule: {{ .Values.schedule | quote }}
  targets: [{name: data, path: /data}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: {{ .Release.Name }}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: {{ .Release.Name }}}
rules: [{apiGroups: [example.com], resources: [backups], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: {{ .Release.Name }}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .Release.Name }}}
subjects: [{kind: ServiceAccount, name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}]
{{- range $hook := list "pre-install" "post-install" "pre-upgrade" "post-delete" "test" }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ $.Release.Name }}-{{ $hook }}
  annotations: {helm.sh/hook: {{ $hook }}, helm.sh/hook-delete-policy: {{ if eq $hook "test" }}before-hook-creation{{ else }}hook-succeeded{{ end }}}
spec:
  restartPolicy: Never
  containers: [{name: hook, image: kore.dev/host, command: [sh, -c, "echo {{ $hook }}; {{ $.Values.hook }}"]}]
{{- end }}
"#;
/// A chart of what keeps state: an identity for each pod, a budget, an hourly job.
const STATEFUL_CHART: &str = "apiVersion: v2\nname: db\nversion: 0.1.0\n";
const STATEFUL_TEMPLATES: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}}
stringData: {password: {{ .Values.password | quote }}}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {clusterIP: None, selector: {app: {{ .Release.Name }}}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: {{ .Release.Name }}}
spec:
  serviceName: {{ .Release.Name }}
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
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: {{ .Release.Name }}, key: password}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: {{ .Release.Name }}}
spec: {minAvailable: 1, selector: {matchLabels: {app: {{ .Release.Name }}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: {{ .Release.Name }}}
spec:
  schedule: "0 * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: dump, image: kore.dev/host, command: [sh, -c, "true"]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: {{ .Release.Name }}}
spec:
  rules: [{host: db.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: {{ .Release.Name }}, port: {number: 8080}}}}]}}]
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

fn chart(dir: &Path, chart: &str, values: &str, templates: &str) {
    fs::create_dir_all(dir.join("templates")).expect("made");
    fs::write(dir.join("Chart.yaml"), chart).expect("written");
    fs::write(dir.join("values.yaml"), values).expect("written");
    fs::write(dir.join("templates/all.yaml"), templates).expect("written");
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
    chart(&dir, CHART, VALUES, TEMPLATES);
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

#[test]
#[ignore = "needs helm"]
fn a_chart_with_definitions_and_hooks() {
    let cluster = Standalone::start(&[]);
    let dir = cluster.data_dir().join("operator");
    chart(&dir, OPERATOR_CHART, "schedule: hourly\nhook: \"true\"\n", OPERATOR_TEMPLATES);
    fs::create_dir_all(dir.join("crds")).expect("made");
    fs::write(dir.join("crds/backups.yaml"), DEFINITION).expect("written");
    let dir = dir.to_string_lossy().into_owned();
    let ok = |arguments: &[&str]| {
        let (succeeded, printed) = helm(&cluster, arguments);
        assert!(succeeded, "helm {arguments:?}\n{printed}");
        printed
    };
    let spec = || cluster.kubectl(&["get", "backup", "op", "-o", "jsonpath={.spec.schedule} {.spec.keep}"]).ok();

    assert!(ok(&["install", "op", &dir, "--wait"]).contains("STATUS: deployed"));
    assert_eq!(spec(), "hourly 7");
    let shown = cluster.kubectl(&["get", "bk"]).ok();
    assert!(shown.contains("SCHEDULE") && shown.contains("hourly"), "{shown}");
    let pods = cluster.kubectl(&["get", "pods", "-o", "name"]).ok();
    assert_eq!(pods.trim(), "", "hooks that succeeded are gone");
    assert!(ok(&["test", "op"]).contains("Phase:          Succeeded"));
    // A hook that fails is the end of the upgrade, and nothing has been changed by then.
    let (succeeded, printed) =
        helm(&cluster, &["upgrade", "op", &dir, "--set", "schedule=never", "--set", "hook=exit 3"]);
    assert!(!succeeded && printed.contains("pre-upgrade hooks failed"), "{printed}");
    assert_eq!(spec(), "hourly 7");
    cluster.kubectl(&["delete", "pods", "--all"]).ok();
    ok(&["upgrade", "op", &dir, "--wait", "--set", "schedule=daily"]);
    assert_eq!(spec(), "daily 7");
    // What the schema does not allow is refused, and the release is as it was.
    let (succeeded, printed) = helm(&cluster, &["upgrade", "op", &dir, "--set", "schedule=null"]);
    assert!(!succeeded && printed.contains("spec.schedule"), "{printed}");
    ok(&["rollback", "op", "1", "--wait"]);
    assert_eq!(spec(), "hourly 7");
    ok(&["uninstall", "op", "--wait"]);
    assert!(cluster.kubectl(&["get", "backup", "op"]).failed(1).contains("not found"));
    // Definitions outlive the release.
    assert!(cluster.kubectl(&["get", "crd", "backups.example.com"]).ok().contains("backups.example.com"));
}

#[test]
#[ignore = "needs helm"]
fn a_chart_of_what_keeps_state() {
    let cluster = Standalone::start(&[]);
    let dir = cluster.data_dir().join("db");
    chart(&dir, STATEFUL_CHART, "replicas: 1\npassword: first\n", STATEFUL_TEMPLATES);
    let dir = dir.to_string_lossy().into_owned();
    let ok = |arguments: &[&str]| {
        let (succeeded, printed) = helm(&cluster, arguments);
        assert!(succeeded, "helm {arguments:?}\n{printed}");
        printed
    };
    let password = || cluster.kubectl(&["get", "secret", "db", "-o", "jsonpath={.data.password}"]).ok();
    assert!(ok(&["install", "db", &dir]).contains("STATUS: deployed"));
    assert_eq!(password(), "Zmlyc3Q=");
    for (kind, name) in [("statefulset", "db"), ("service", "db"), ("pdb", "db"), ("cronjob", "db"), ("ingress", "db")]
    {
        cluster.kubectl(&["get", kind, name]).ok();
    }
    ok(&["upgrade", "db", &dir, "--reuse-values", "--set", "password=second"]);
    assert_eq!(password(), "c2Vjb25k");
    let history = ok(&["history", "db", "-o", "json"]);
    assert!(history.contains("\"revision\":2") && history.contains("superseded"), "{history}");
    assert!(ok(&["get", "manifest", "db"]).contains("kind: StatefulSet"));
    ok(&["rollback", "db"]);
    assert_eq!(password(), "Zmlyc3Q=");
    ok(&["uninstall", "db"]);
    assert!(
        cluster.kubectl(&["get", "all,pdb,ingress", "-o", "name"]).ok().lines().all(|line| line.contains("kubernetes"))
    );
}
