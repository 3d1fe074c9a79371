//! The built-in kinds: names, defaults, rules and columns, as entries of the registry.
//!
//! [`builtin`] is all of them. A kind is an `Entry`: data, with a function where something depends on something.
//!
//! | file | holds |
//! |---|---|
//! | `entry.rs` | the form of an entry, and the one strategy that does what an entry says |
//! | `shape.rs` | defaults as data |
//! | `field.rs`, `names.rs`, `meta.rs`, `quantity.rs`, `counts.rs` | what rules are written in |
//! | `row.rs`, [`duration`] | what the cells of tables are written in |
//! | `tests/` | what holds of every kind |
//!
//! | of the kinds | hold |
//! |---|---|
//! | `pod/`, `scaled/`, `batch/`, `templates.rs` | Pod; ReplicaSet, Deployment, StatefulSet, DaemonSet, ReplicationController; Job, CronJob; PodTemplate, ControllerRevision |
//! | `service/`, `endpoint_slice.rs`, `endpoints.rs`, `networking/` | Service, EndpointSlice, Endpoints; Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR |
//! | `config.rs`, `volumes/`, `storage/` | ConfigMap, Secret; PersistentVolumeClaim, PersistentVolume; the classes, drivers and attachments of storage |
//! | `namespace.rs`, `quota.rs`, `limit_range.rs`, `service_account.rs`, `rbac/` | Namespace, and what is allowed in one and to whom |
//! | `node.rs`, `classes.rs`, `devices/`, `lease.rs` | Node; PriorityClass, RuntimeClass; devices and claims to them; Lease |
//! | `autoscaler/`, `disruption.rs`, `event.rs` | HorizontalPodAutoscaler; PodDisruptionBudget; Event |
//! | `webhooks/`, `flow/`, `certificates.rs`, `api_service.rs`, `definition.rs` | kinds about the server itself, which it keeps and does not heed |
//!
//! Of what upstream serves in several forms there is one: HorizontalPodAutoscaler is autoscaling/v2, Event is v1.
//!
//! Semantics are those of Kubernetes 1.37. Nothing here does I/O.

mod api_service;
mod autoscaler;
mod batch;
mod certificates;
mod classes;
mod config;
mod counts;
mod definition;
mod devices;
mod disruption;
pub mod duration;
mod endpoint_slice;
mod endpoints;
mod entry;
mod event;
pub(crate) mod field;
mod flow;
mod lease;
mod limit_range;
pub(crate) mod meta;
pub(crate) mod names;
mod namespace;
mod networking;
mod node;
mod pod;
mod quantity;
mod quota;
mod rbac;
mod row;
mod scaled;
mod service;
mod service_account;
mod shape;
mod storage;
mod templates;
#[cfg(test)]
mod testing;
mod versions;
mod volumes;
mod webhooks;

pub(crate) use classes::CRITICAL;
pub(crate) use pod::qos_class;

use crate::registry::Registry;
use entry::Entry;

/// Every built-in kind.
static ENTRIES: [&Entry; 58] = [
    &api_service::API_SERVICE,
    &autoscaler::HORIZONTAL_POD_AUTOSCALER,
    &batch::CRON_JOB,
    &batch::JOB,
    &certificates::CERTIFICATE_SIGNING_REQUEST,
    &classes::PRIORITY_CLASS,
    &classes::RUNTIME_CLASS,
    &config::CONFIG_MAP,
    &config::SECRET,
    &definition::CUSTOM_RESOURCE_DEFINITION,
    &devices::DEVICE_CLASS,
    &devices::RESOURCE_CLAIM,
    &devices::RESOURCE_CLAIM_TEMPLATE,
    &devices::RESOURCE_SLICE,
    &disruption::POD_DISRUPTION_BUDGET,
    &endpoint_slice::ENDPOINT_SLICE,
    &endpoints::ENDPOINTS,
    &event::EVENT,
    &flow::FLOW_SCHEMA,
    &flow::PRIORITY_LEVEL,
    &lease::LEASE,
    &limit_range::LIMIT_RANGE,
    &namespace::NAMESPACE,
    &networking::INGRESS,
    &networking::INGRESS_CLASS,
    &networking::IP_ADDRESS,
    &networking::NETWORK_POLICY,
    &networking::SERVICE_CIDR,
    &node::NODE,
    &pod::POD,
    &quota::RESOURCE_QUOTA,
    &rbac::CLUSTER_ROLE,
    &rbac::CLUSTER_ROLE_BINDING,
    &rbac::ROLE,
    &rbac::ROLE_BINDING,
    &scaled::DAEMON_SET,
    &scaled::DEPLOYMENT,
    &scaled::REPLICA_SET,
    &scaled::REPLICATION_CONTROLLER,
    &scaled::STATEFUL_SET,
    &service::SERVICE,
    &service_account::SERVICE_ACCOUNT,
    &storage::CSI_DRIVER,
    &storage::CSI_NODE,
    &storage::CSI_STORAGE_CAPACITY,
    &storage::STORAGE_CLASS,
    &storage::VOLUME_ATTACHMENT,
    &storage::VOLUME_ATTRIBUTES_CLASS,
    &templates::CONTROLLER_REVISION,
    &templates::POD_TEMPLATE,
    &volumes::CLAIM,
    &volumes::VOLUME,
    &webhooks::MUTATING_POLICY,
    &webhooks::MUTATING_POLICY_BINDING,
    &webhooks::MUTATING_WEBHOOKS,
    &webhooks::VALIDATING_POLICY,
    &webhooks::VALIDATING_POLICY_BINDING,
    &webhooks::VALIDATING_WEBHOOKS,
];

/// A registry of all built-in kinds. More are added, or some replaced, by [`Registry::with`].
///
/// ```
/// let registry = kore_api::kinds::builtin();
/// let pods = registry.get("", "v1", "pods").expect("pods are built in");
/// assert_eq!(pods.short_names, ["po"]);
/// assert!(pods.selectable_fields.contains(&"spec.nodeName".into()));
/// ```
pub fn builtin() -> Registry {
    versions::add(ENTRIES.iter().fold(Registry::new(), |registry, entry| registry.with(entry.info())))
}

#[cfg(test)]
mod tests;
