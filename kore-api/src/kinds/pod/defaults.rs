//! The defaults of pods, and of pod templates wherever they stand.

use serde_json::{Value, json};

use super::status::STATUS;
use crate::kinds::shape::Literal::{Empty, Flag, Nonzero, Number, Text};
use crate::kinds::shape::{Object, PLAIN, Shape, object_in, or_insert};

/// A whole pod.
pub(super) static POD: Shape = Shape { rule: Some(pod), parts: &[("spec", &SPEC), ("status", &STATUS)], ..PLAIN };

/// A pod template, as in a Deployment.
pub(crate) static TEMPLATE: Shape = Shape { rule: Some(template), parts: &[("spec", &SPEC)], ..PLAIN };

static SPEC: Shape = Shape {
    set: &[
        ("restartPolicy", Text("Always")),
        ("terminationGracePeriodSeconds", Number(30)),
        ("dnsPolicy", Text("ClusterFirst")),
        ("securityContext", Empty),
        ("schedulerName", Text("default-scheduler")),
    ],
    rule: Some(spec),
    parts: &[
        ("initContainers", &CONTAINER),
        ("containers", &CONTAINER),
        ("ephemeralContainers", &CONTAINER),
        ("volumes", &VOLUME),
    ],
};

static CONTAINER: Shape = Shape {
    set: &[
        ("resources", Empty),
        ("terminationMessagePath", Text("/dev/termination-log")),
        ("terminationMessagePolicy", Text("File")),
    ],
    rule: Some(container),
    parts: &[
        ("ports", &CONTAINER_PORT),
        ("env", &ENV),
        ("livenessProbe", &PROBE),
        ("readinessProbe", &PROBE),
        ("startupProbe", &PROBE),
        ("lifecycle", &LIFECYCLE),
        ("securityContext", &PLAIN),
    ],
};

static CONTAINER_PORT: Shape = Shape { set: &[("protocol", Text("TCP"))], ..PLAIN };
static ENV: Shape = Shape { parts: &[("valueFrom", &VALUE_FROM)], ..PLAIN };
static VALUE_FROM: Shape =
    Shape { rule: Some(divisor), parts: &[("fieldRef", &FIELD_REF), ("fileKeyRef", &FILE_KEY)], ..PLAIN };
static FIELD_REF: Shape = Shape { set: &[("apiVersion", Text("v1"))], ..PLAIN };
static FILE_KEY: Shape = Shape { set: &[("optional", Flag(false))], ..PLAIN };

static PROBE: Shape = Shape {
    set: &[
        ("timeoutSeconds", Nonzero(1)),
        ("periodSeconds", Nonzero(10)),
        ("successThreshold", Nonzero(1)),
        ("failureThreshold", Nonzero(3)),
    ],
    parts: &[("httpGet", &HTTP_GET), ("grpc", &GRPC)],
    ..PLAIN
};
static HTTP_GET: Shape = Shape { set: &[("path", Text("/")), ("scheme", Text("HTTP"))], ..PLAIN };
static GRPC: Shape = Shape { set: &[("service", Text(""))], ..PLAIN };
static LIFECYCLE: Shape = Shape { parts: &[("postStart", &HANDLER), ("preStop", &HANDLER)], ..PLAIN };
static HANDLER: Shape = Shape { parts: &[("httpGet", &HTTP_GET)], ..PLAIN };

/// rw-r--r--
const MODE: i64 = 0o644;
static VOLUME: Shape = Shape {
    rule: Some(volume),
    parts: &[
        ("secret", &FILES),
        ("configMap", &FILES),
        ("downwardAPI", &DOWNWARD),
        ("projected", &PROJECTED),
        ("hostPath", &HOST_PATH),
        ("iscsi", &ISCSI),
        ("rbd", &RBD),
        ("azureDisk", &AZURE_DISK),
        ("scaleIO", &SCALE_IO),
        ("ephemeral", &EPHEMERAL),
    ],
    ..PLAIN
};
/// The sources that a PersistentVolume may have, too.
pub(crate) static PERSISTENT_SOURCES: [(&str, &Shape); 5] =
    [("hostPath", &HOST_PATH), ("iscsi", &ISCSI), ("rbd", &RBD), ("azureDisk", &AZURE_DISK), ("scaleIO", &SCALE_IO)];
static FILES: Shape = Shape { set: &[("defaultMode", Number(MODE))], ..PLAIN };
static DOWNWARD: Shape = Shape { set: &[("defaultMode", Number(MODE))], parts: &[("items", &VALUE_FROM)], ..PLAIN };
static PROJECTED: Shape = Shape { set: &[("defaultMode", Number(MODE))], parts: &[("sources", &PROJECTION)], ..PLAIN };
static PROJECTION: Shape =
    Shape { parts: &[("serviceAccountToken", &TOKEN), ("downwardAPI", &DOWNWARD_ITEMS)], ..PLAIN };
static DOWNWARD_ITEMS: Shape = Shape { parts: &[("items", &VALUE_FROM)], ..PLAIN };
static TOKEN: Shape = Shape { set: &[("expirationSeconds", Number(3600))], ..PLAIN };
static HOST_PATH: Shape = Shape { set: &[("type", Text(""))], ..PLAIN };
static ISCSI: Shape = Shape { set: &[("iscsiInterface", Text("default"))], ..PLAIN };
static RBD: Shape =
    Shape { set: &[("pool", Text("rbd")), ("user", Text("admin")), ("keyring", Text("/etc/ceph/keyring"))], ..PLAIN };
static AZURE_DISK: Shape = Shape {
    set: &[
        ("cachingMode", Text("ReadWrite")),
        ("kind", Text("Shared")),
        ("fsType", Text("ext4")),
        ("readOnly", Flag(false)),
    ],
    ..PLAIN
};
static SCALE_IO: Shape = Shape { set: &[("storageMode", Text("ThinProvisioned")), ("fsType", Text("xfs"))], ..PLAIN };
static EPHEMERAL: Shape = Shape { parts: &[("volumeClaimTemplate", &CLAIM_TEMPLATE)], ..PLAIN };
static CLAIM_TEMPLATE: Shape = Shape { parts: &[("spec", &CLAIM)], ..PLAIN };
static CLAIM: Shape = Shape { set: &[("volumeMode", Text("Filesystem"))], ..PLAIN };

/// What holds for pods, but not for templates.
fn pod(pod: &mut Object) {
    let spec = object_in(pod, "spec");
    or_insert(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default();
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
}

/// A container that states a limit and no request asks for as much as it is allowed.
fn requests_from_limits(container: &mut Value) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    let requests = object_in(resources, "requests");
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
}

/// On the node's own network a container's port is the node's port.
fn host_ports(container: &mut Value) {
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(number) = port["containerPort"].as_i64() {
            let port = port.as_object_mut().expect("indexed by name above");
            if port.get("hostPort").and_then(Value::as_i64).unwrap_or_default() == 0 {
                port.insert("hostPort".to_owned(), number.into());
            }
        }
    }
}

fn template(template: &mut Object) {
    object_in(template, "spec");
}

/// The older name of the service account stays readable.
fn spec(spec: &mut Object) {
    for (from, to) in [("serviceAccount", "serviceAccountName"), ("serviceAccountName", "serviceAccount")] {
        if let Some(name) = spec.get(from).cloned().filter(|name| name.as_str().is_some_and(|name| !name.is_empty())) {
            // The newer name decides; the older one only counts when it stands alone.
            if to == "serviceAccount" {
                spec.insert(to.to_owned(), name);
            } else {
                or_insert(spec, to, name);
            }
        }
    }
}

/// An image that can change under its name is pulled each time.
fn container(container: &mut Object) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if tag(image) == "latest" { "Always" } else { "IfNotPresent" };
    or_insert(container, "imagePullPolicy", policy);
}

/// The tag of an image: `latest` when it has neither tag nor digest.
fn tag(image: &str) -> &str {
    if image.contains('@') {
        return "";
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').map_or("latest", |(_, tag)| tag)
}

fn divisor(source: &mut Object) {
    if let Some(reference) = source.get_mut("resourceFieldRef").and_then(Value::as_object_mut) {
        or_insert(reference, "divisor", "0");
    }
}

/// A volume that says nothing of its source is an empty directory.
fn volume(volume: &mut Object) {
    if !volume.iter().any(|(field, value)| field != "name" && !value.is_null()) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn filled(spec: Value) -> Value {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec});
        POD.fill(&mut pod);
        let again = {
            let mut pod = pod.clone();
            POD.fill(&mut pod);
            pod
        };
        assert_eq!(again, pod, "filling twice changes nothing");
        let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), pod, "the typed view holds all that was filled in");
        pod["spec"].take()
    }

    #[test]
    fn the_smallest_pod_gets_the_usual_values() {
        assert_eq!(
            filled(json!({"containers": [{"name": "c", "image": "nginx"}]})),
            json!({
                "containers": [{
                    "name": "c", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
            })
        );
    }

    #[test]
    fn each_part_of_a_pod_has_its_defaults() {
        let container = |container: Value| {
            let mut whole = json!({"name": "c", "image": "a:1"});
            whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
            filled(json!({"containers": [whole]}))["containers"][0].take()
        };
        for (image, policy) in [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:1", "IfNotPresent"),
            ("host:5000/a", "Always"),
            ("host:5000/a:1", "IfNotPresent"),
            ("a@sha256:0", "IfNotPresent"),
        ] {
            assert_eq!(container(json!({"image": image}))["imagePullPolicy"], policy, "{image}");
        }
        let probes =
            container(json!({"livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"timeoutSeconds": 9}}));
        assert_eq!(
            probes["livenessProbe"],
            json!({
                "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            })
        );
        assert_eq!(probes["readinessProbe"]["timeoutSeconds"], 9);
        assert_eq!(container(json!({"ports": [{"containerPort": 1}]}))["ports"][0]["protocol"], "TCP");
        let env = container(json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}));
        assert_eq!(env["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
        let resources =
            container(json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}));
        assert_eq!(resources["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
    }

    #[test]
    fn volumes_host_network_and_the_older_name_of_the_account() {
        let spec = filled(json!({
            "hostNetwork": true,
            "serviceAccount": "old",
            "containers": [{"name": "c", "image": "a:1", "ports": [{"containerPort": 8080}]}],
            "volumes": [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}},
                {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        }));
        assert_eq!(spec["containers"][0]["ports"][0]["hostPort"], 8080);
        assert_eq!(spec["serviceAccountName"], "old");
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 420);
        assert_eq!(spec["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3600);
        assert_eq!(spec["volumes"][2]["projected"]["defaultMode"], 420);
    }

    #[test]
    fn a_template_is_no_pod() {
        let mut template = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
        TEMPLATE.fill(&mut template);
        assert!(template["spec"].get("enableServiceLinks").is_none());
        assert!(template["spec"]["containers"][0]["resources"].get("requests").is_none());
        assert_eq!(template["spec"]["restartPolicy"], "Always");
    }
}
