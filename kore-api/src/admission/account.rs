//! As whom pods run.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Admission, Write};
use crate::error::Status;
use crate::object::{Object, ObjectKey, ResourceType};

const ACCOUNTS: ResourceType = ResourceType::of::<ServiceAccount>();
const DEFAULT: &str = "default";
/// Where containers find the token, as every client library has it.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// For how long a token in a pod is good, before the node has it renewed.
const TOKEN_SECONDS: i64 = 3607;
/// The names of volumes end in so many characters.
const SUFFIX: usize = 5;
/// Marks the pods that nodes show of what they run by themselves.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// How long a pod waits for its account: the one of a new namespace is about to be made.
const WAIT_MAX: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Lets every new pod run as a ServiceAccount of its namespace: the one that it names, else `default`, which has to be there (something
/// has to make the default ones: kore-controller has a controller for it). The pod gets the account's `imagePullSecrets` if it has none
/// of its own. Upstream's admission plugin of the same name.
///
/// With [`ServiceAccounts::with_tokens`] containers get a token, the cluster's certificate and the namespace at
/// `/var/run/secrets/kubernetes.io/serviceaccount`, unless the pod or its account says otherwise: for nodes that can project
/// `serviceAccountToken`, with `kube-root-ca.crt` ConfigMaps in every namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceAccounts {
    tokens: bool,
}

impl ServiceAccounts {
    /// With tokens in the containers.
    #[must_use]
    pub fn with_tokens(self) -> Self {
        Self { tokens: true }
    }

    async fn account(&self, write: &Write<'_>, name: &str) -> Result<Object, Status> {
        let key = ObjectKey::namespaced(write.namespace, name);
        let until = Instant::now() + WAIT_MAX;
        loop {
            if let Some(account) = write.lookup.cached(&ACCOUNTS, &key) {
                return Ok(account);
            }
            if let Some(account) = write.lookup.get(&ACCOUNTS, &key).await? {
                return Ok(account);
            }
            if name != DEFAULT || Instant::now() >= until {
                let namespace = write.namespace;
                let problem =
                    format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
                return Err(Status::forbidden(write.resource, write.name, problem));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

#[async_trait]
impl Admission for ServiceAccounts {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        if !write.is_new_pod() || !write.lookup.knows(&ACCOUNTS) {
            return Ok(());
        }
        let is_mirror = !write.object["metadata"]["annotations"][MIRROR].is_null();
        let named = write.object["spec"]["serviceAccountName"].as_str().unwrap_or_default().to_owned();
        if is_mirror {
            if !named.is_empty() {
                let problem = "a mirror pod may not reference service accounts";
                return Err(Status::forbidden(write.resource, write.name, problem));
            }
            return Ok(());
        }
        let name = if named.is_empty() { DEFAULT } else { &named };
        let account = self.account(write, name).await?.to_value();
        let suffix = write.lookup.suffix(SUFFIX);
        let Some(spec) = write.object.get_mut("spec").and_then(Value::as_object_mut) else {
            return Ok(());
        };
        // The older name of the same field.
        for field in ["serviceAccountName", "serviceAccount"] {
            spec.insert(field.to_owned(), name.into());
        }
        let without = |field: &str| spec.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty);
        if without("imagePullSecrets")
            && let Some(secrets) = account.get("imagePullSecrets").filter(|secrets| secrets.is_array())
        {
            spec.insert("imagePullSecrets".to_owned(), secrets.clone());
        }
        let wanted = [spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")];
        let wanted = wanted.into_iter().flatten().find_map(Value::as_bool).unwrap_or(true);
        if self.tokens && wanted {
            mount(&mut write.object["spec"], &format!("kube-api-access-{suffix}"));
        }
        Ok(())
    }
}

/// Mounts the token in each container that has nothing there.
fn mount(spec: &mut Value, volume: &str) {
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().all(|mount| mount["mountPath"] != MOUNT) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT}));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let namespace = json!({"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]);
    let Some(spec) = spec.as_object_mut() else {
        return;
    };
    if let Some(volumes) = spec.entry("volumes").or_insert_with(|| json!([])).as_array_mut() {
        volumes.push(json!({"name": volume, "projected": {"defaultMode": 0o644, "sources": sources}}));
    }
}
