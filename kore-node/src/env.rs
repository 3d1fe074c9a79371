//! A container's environment, from all of its sources, and the `$(NAME)` references in it.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::{Container, EnvVar, ObjectFieldSelector, Pod, ResourceFieldSelector, Service};
use kore_api::schema::quantity;

/// The data of ConfigMaps and Secrets that a pod names; one that is not here does not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// What the values of an environment come from.
#[derive(Clone, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) pod_ips: &'a [IpAddr],
    pub(crate) host_ips: &'a [IpAddr],
    /// What the node has: the limit of a container without one.
    pub(crate) allocatable: &'a BTreeMap<String, String>,
    pub(crate) services: &'a [Service],
    pub(crate) data: &'a Data,
}

/// The environment, names unique, or the message of a `CreateContainerConfigError`.
pub(crate) fn environment(context: &Context<'_>, container: &Container) -> Result<Vec<(String, String)>, String> {
    let mut all = Ordered::default();
    let services = service_variables(context);
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => (Kind::ConfigMap, map.name.as_str(), map.optional),
            (None, Some(secret)) => (Kind::Secret, secret.name.as_str(), secret.optional),
            (None, None) => continue,
        };
        let Some(data) = context.find(kind, name) else {
            if optional == Some(true) {
                continue;
            }
            return Err(kind.not_found(name));
        };
        for (key, value) in data {
            let name = format!("{prefix}{key}");
            if !name.is_empty() && !name.contains('=') {
                all.set(name, text(value));
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) =
            value(context, container, variable, |name| all.get(name).or_else(|| services.get(name).cloned()))?
        {
            all.set(variable.name.clone(), value);
        }
    }
    for (name, value) in services {
        if all.get(&name).is_none() {
            all.set(name, value);
        }
    }
    Ok(all.0)
}

/// Replaces `$(NAME)` by its value; what has none stays as it is, and `$$` is a dollar.
pub(crate) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|inside| inside.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[derive(Clone, Copy)]
enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    fn not_found(self, name: &str) -> String {
        match self {
            Kind::ConfigMap => format!("configmap \"{name}\" not found"),
            Kind::Secret => format!("secret \"{name}\" not found"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::ConfigMap => "ConfigMap",
            Kind::Secret => "Secret",
        }
    }
}

#[derive(Default)]
struct Ordered(Vec<(String, String)>);

impl Ordered {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    }

    fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value of one variable; None if it is optional and there is none.
fn value(
    context: &Context<'_>,
    container: &Container,
    variable: &EnvVar,
    earlier: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else {
        let value = variable.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(value, earlier)));
    };
    if let Some(field) = &from.field_ref {
        return self::field(context, field).map(Some);
    }
    if let Some(field) = &from.resource_field_ref {
        return resource(context, container, field).map(Some);
    }
    let (kind, name, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(map), _) => (Kind::ConfigMap, &map.name, &map.key, map.optional),
        (None, Some(secret)) => (Kind::Secret, &secret.name, &secret.key, secret.optional),
        (None, None) => {
            return Err(format!("variable {} has a source of a kind that is not supported", variable.name));
        }
    };
    let optional = optional == Some(true);
    match context.find(kind, name).map(|data| data.get(key)) {
        Some(Some(value)) => Ok(Some(text(value))),
        _ if optional => Ok(None),
        Some(None) => Err(format!("couldn't find key {key} in {} {}/{name}", kind.name(), context.namespace())),
        None => Err(kind.not_found(name)),
    }
}

/// The value of a field of the pod.
pub(crate) fn field(context: &Context<'_>, selector: &ObjectFieldSelector) -> Result<String, String> {
    let metadata = &context.pod.metadata;
    let spec = context.pod.spec.as_ref();
    let join = |ips: &[IpAddr]| {
        let texts: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        texts.join(",")
    };
    let first = |ips: &[IpAddr]| ips.first().map(IpAddr::to_string).unwrap_or_default();
    let path = selector.field_path.as_str();
    let value = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "metadata.labels" => Some(lines(metadata.labels.as_ref())),
        "metadata.annotations" => Some(lines(metadata.annotations.as_ref())),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => Some(first(context.host_ips)),
        "status.hostIPs" => Some(join(context.host_ips)),
        "status.podIP" => Some(first(context.pod_ips)),
        "status.podIPs" => Some(join(context.pod_ips)),
        _ => {
            let keyed = |prefix: &str| {
                let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
                Some(key.to_owned())
            };
            let (map, key) = if let Some(key) = keyed("metadata.labels['") {
                (metadata.labels.as_ref(), key)
            } else if let Some(key) = keyed("metadata.annotations['") {
                (metadata.annotations.as_ref(), key)
            } else {
                return Err(format!("unsupported fieldPath: {path}"));
            };
            map.and_then(|map| map.get(&key).cloned())
        }
    };
    Ok(value.unwrap_or_default())
}

/// Labels or annotations as the downward API writes them: `key="value"` a line.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten();
    let lines: Vec<String> = lines.map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a container's request or limit; a limit that is not set is what the node has.
pub(crate) fn resource(
    context: &Context<'_>,
    container: &Container,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref() {
        Some(name) if !name.is_empty() => {
            crate::machine::spec::container(context.pod, name).ok_or_else(|| format!("container {name} not found"))?
        }
        _ => container,
    };
    let resources = container.resources.as_ref();
    let (kind, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource: {}", selector.resource))?;
    let set = match kind {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => {
            return Err(format!("unsupported container resource: {}", selector.resource));
        }
    };
    let set = set.and_then(|set| set.get(name)).map(|value| &value.0);
    let value = match (set, kind) {
        (Some(value), _) => value.clone(),
        (None, "limits") => context.allocatable.get(name).cloned().unwrap_or_default(),
        (None, _) => "0".into(),
    };
    let divisor = selector.divisor.as_ref().map(|divisor| divisor.0.as_str());
    let divisor = divisor.filter(|divisor| !divisor.is_empty() && *divisor != "0");
    let value = quantity::in_units_of(&value, divisor.unwrap_or("1")).ok().flatten();
    Ok(value.unwrap_or_default().to_string())
}

impl Context<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn find(&self, kind: Kind, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        match kind {
            Kind::ConfigMap => self.data.config_maps.get(name),
            Kind::Secret => self.data.secrets.get(name),
        }
    }
}

/// The variables of services: those of the pod's namespace unless the pod declines, and always the API server's.
fn service_variables(context: &Context<'_>) -> BTreeMap<String, String> {
    let links = context.pod.spec.as_ref();
    let links = links.and_then(|spec| spec.enable_service_links) != Some(false);
    let mut variables = BTreeMap::new();
    for service in context.services {
        let metadata = &service.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let api = (namespace, name) == ("default", "kubernetes");
        let wanted = api || (links && namespace == context.namespace());
        let Some(spec) = service.spec.as_ref().filter(|_| wanted) else {
            continue;
        };
        let (Some(ip), Some(ports)) = (&spec.cluster_ip, &spec.ports) else {
            continue;
        };
        let Some(first) = ports.first().filter(|_| !ip.is_empty() && ip != "None") else {
            continue;
        };
        let upper = |text: &str| text.to_uppercase().replace('-', "_");
        let prefix = upper(name);
        let mut set = |suffix: String, value: String| {
            variables.insert(format!("{prefix}_{suffix}"), value);
        };
        set("SERVICE_HOST".into(), ip.clone());
        set("SERVICE_PORT".into(), first.port.to_string());
        for port in ports {
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                set(format!("SERVICE_PORT_{}", upper(name)), port.port.to_string());
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let lower = protocol.to_lowercase();
            let url = format!("{lower}://{ip}:{}", port.port);
            if std::ptr::eq(port, first) {
                set("PORT".into(), url.clone());
            }
            let base = format!("PORT_{}_{protocol}", port.port);
            set(format!("{base}_PROTO"), lower);
            set(format!("{base}_PORT"), port.port.to_string());
            set(format!("{base}_ADDR"), ip.clone());
            set(base, url);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn run(container: Value, services: Value) -> Result<BTreeMap<String, String>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "u", "labels": {"app": "x"}, "annotations": {"note": "n"}},
            "spec": {"nodeName": "node-1", "serviceAccountName": "sa", "containers": [container]},
        }))
        .unwrap();
        let services: Vec<Service> = serde_json::from_value(services).unwrap();
        let data = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            pairs.iter().map(|(key, value)| (key.to_string(), value.as_bytes().to_vec())).collect()
        };
        let context = Context {
            pod: &pod,
            pod_ips: &["127.64.0.1".parse().unwrap()],
            host_ips: &["10.0.0.1".parse().unwrap()],
            allocatable: &[("memory".to_owned(), "2Gi".to_owned()), ("cpu".to_owned(), "4".to_owned())].into(),
            services: &services,
            data: &Data {
                config_maps: [("config".to_owned(), data(&[("greeting", "hello"), ("bad=key", "x")]))].into(),
                secrets: [("secret".to_owned(), data(&[("token", "t0p")]))].into(),
            },
        };
        environment(&context, &pod.spec.as_ref().unwrap().containers[0]).map(|all| all.into_iter().collect())
    }

    fn env(env: Value) -> Value {
        json!({"name": "app", "env": env, "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "1Mi"}}})
    }

    #[test]
    fn values_come_from_everywhere() {
        let from = |source: Value| run(env(json!([{"name": "V", "valueFrom": source}])), json!([]));
        let field = |path: &str| from(json!({"fieldRef": {"fieldPath": path}}));
        let resource =
            |name: &str, divisor: &str| from(json!({"resourceFieldRef": {"resource": name, "divisor": divisor}}));
        let cases = [
            (field("metadata.name"), "web"),
            (field("metadata.namespace"), "ns"),
            (field("metadata.uid"), "u"),
            (field("metadata.labels['app']"), "x"),
            (field("metadata.annotations['note']"), "n"),
            (field("metadata.labels['none']"), ""),
            (field("spec.nodeName"), "node-1"),
            (field("spec.serviceAccountName"), "sa"),
            (field("status.podIP"), "127.64.0.1"),
            (field("status.podIPs"), "127.64.0.1"),
            (field("status.hostIP"), "10.0.0.1"),
            (resource("limits.cpu", "0"), "2"),
            (resource("limits.cpu", "1m"), "1500"),
            (resource("limits.memory", "1Mi"), "2048"),
            (resource("requests.memory", "1"), "1048576"),
            (resource("requests.cpu", "1"), "0"),
            (from(json!({"configMapKeyRef": {"name": "config", "key": "greeting"}})), "hello"),
            (from(json!({"secretKeyRef": {"name": "secret", "key": "token"}})), "t0p"),
        ];
        for (result, expected) in cases {
            assert_eq!(result.unwrap()["V"], expected);
        }
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        let from = |source: Value| run(env(json!([{"name": "V", "valueFrom": source}])), json!([]));
        let all = |source: Value| run(json!({"name": "app", "envFrom": [source]}), json!([]));
        let cases = [
            (
                from(json!({"configMapKeyRef": {"name": "config", "key": "foo"}})),
                "couldn't find key foo in ConfigMap ns/config",
            ),
            (
                from(json!({"secretKeyRef": {"name": "secret", "key": "foo"}})),
                "couldn't find key foo in Secret ns/secret",
            ),
            (from(json!({"configMapKeyRef": {"name": "none", "key": "foo"}})), "configmap \"none\" not found"),
            (from(json!({"secretKeyRef": {"name": "none", "key": "foo"}})), "secret \"none\" not found"),
            (from(json!({"fieldRef": {"fieldPath": "spec.x"}})), "unsupported fieldPath: spec.x"),
            (all(json!({"configMapRef": {"name": "none"}})), "configmap \"none\" not found"),
            (all(json!({"secretRef": {"name": "none"}})), "secret \"none\" not found"),
        ];
        for (result, message) in cases {
            assert_eq!(result.unwrap_err(), message);
        }
        for result in [
            from(json!({"configMapKeyRef": {"name": "config", "key": "foo", "optional": true}})),
            from(json!({"secretKeyRef": {"name": "none", "key": "foo", "optional": true}})),
            all(json!({"configMapRef": {"name": "none", "optional": true}})),
        ] {
            assert_eq!(result.unwrap(), BTreeMap::new());
        }
    }

    #[test]
    fn later_values_win_and_refer_to_earlier_ones() {
        let container = json!({
            "name": "app",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "config"}}, {"secretRef": {"name": "secret"}}],
            "env": [
                {"name": "token", "value": "mine"},
                {"name": "A", "value": "$(P_greeting) $(LATER) $$(A) $5"},
                {"name": "LATER", "value": "x"},
                {"name": "HOST", "value": "http://$(DB_MAIN_SERVICE_HOST)"},
            ],
        });
        let services = json!([
            {"metadata": {"name": "db-main", "namespace": "ns"}, "spec": {"clusterIP": "10.9.0.1", "ports": [{"name": "sql", "port": 5432}]}},
            {"metadata": {"name": "other", "namespace": "elsewhere"}, "spec": {"clusterIP": "10.9.0.2", "ports": [{"port": 1}]}},
            {"metadata": {"name": "headless", "namespace": "ns"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
        ]);
        let all = run(container, services).unwrap();
        let cases = [
            ("token", "mine"),
            ("P_greeting", "hello"),
            ("A", "hello $(LATER) $(A) $5"),
            ("HOST", "http://10.9.0.1"),
            ("DB_MAIN_SERVICE_PORT", "5432"),
            ("DB_MAIN_SERVICE_PORT_SQL", "5432"),
            ("DB_MAIN_PORT", "tcp://10.9.0.1:5432"),
            ("DB_MAIN_PORT_5432_TCP_ADDR", "10.9.0.1"),
        ];
        for (name, value) in cases {
            assert_eq!(all[name], value, "{name}");
        }
        assert!(
            all.keys().all(|name| !name.starts_with("OTHER") && !name.starts_with("HEADLESS") && !name.contains('='))
        );
    }
}
