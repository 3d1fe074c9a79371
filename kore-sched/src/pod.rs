//! What the scheduler knows of a pod: its identity, and the class it shares with the pods of its template.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, NodeSelectorTerm, Pod, PodSpec, Taint};
use rustc_hash::FxHashMap;

use crate::resources::{self, Resources};
use crate::selector::Term;

/// A pod's namespace and name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl PodKey {
    /// The key of the pod of that namespace and name.
    pub fn new(namespace: &str, name: &str) -> PodKey {
        PodKey { namespace: namespace.into(), name: name.into() }
    }

    /// The key of that pod.
    pub fn of(pod: &Pod) -> PodKey {
        PodKey::new(
            pod.metadata.namespace.as_deref().unwrap_or_default(),
            pod.metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Everything of a pod that the plugins of this crate look at, interned: pods of one template share one class.
///
/// A plugin that declares a [`Depends`](crate::Depends) other than `Everything` promises to read of a pod only this.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PodClass {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// What must be set aside for the pod (KEP-753: sidecars count; KEP-688: overhead counts).
    pub requests: Resources,
    /// The same for scores: containers that state no CPU or memory count with 100 m and 200 MiB.
    pub scoring_requests: Resources,
    /// What the pod tolerates.
    pub tolerations: Vec<Toleration>,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity: one of the terms must match. `None` demands nothing, `Some` of no terms matches no node.
    pub required_affinity: Option<Vec<Term>>,
    /// Preferred node affinity: terms with their weights.
    pub preferred_affinity: Vec<(i32, Term)>,
    /// The ports the pod takes on its node.
    pub host_ports: Vec<HostPort>,
    /// `spec.schedulingGates`, by name.
    pub scheduling_gates: Vec<String>,
}

impl PodClass {
    fn read(pod: &Pod) -> PodClass {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required = affinity
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())
            .map(|selector| terms(&selector.node_selector_terms));
        let preferred = affinity
            .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref())
            .into_iter()
            .flatten()
            .map(|term| (term.weight, Term::read(&term.preference)))
            .collect();
        PodClass {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            requests: resources::of_pod(pod),
            scoring_requests: resources::of_pod_for_scores(pod),
            tolerations: spec.tolerations.iter().flatten().map(Toleration::read).collect(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required_affinity: required,
            preferred_affinity: preferred,
            host_ports: HostPort::of_spec(spec),
            scheduling_gates: spec.scheduling_gates.iter().flatten().map(|gate| gate.name.clone()).collect(),
        }
    }
}

fn terms(list: &[NodeSelectorTerm]) -> Vec<Term> {
    list.iter().map(Term::read).collect()
}

/// One toleration of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Toleration {
    /// The taint's key; empty tolerates every key.
    pub key: String,
    /// `Exists` or `Equal`; empty means `Equal`.
    pub operator: String,
    /// The taint's value.
    pub value: String,
    /// The taint's effect; empty tolerates every effect.
    pub effect: String,
}

impl Toleration {
    fn read(from: &k8s_openapi::api::core::v1::Toleration) -> Toleration {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Toleration {
            key: text(&from.key),
            operator: text(&from.operator),
            value: text(&from.value),
            effect: text(&from.effect),
        }
    }

    /// Whether a pod with this toleration puts up with the taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        (self.effect.is_empty() || self.effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && match self.operator.as_str() {
                "" | "Equal" => self.value == taint.value.as_deref().unwrap_or_default(),
                "Exists" => true,
                _ => false,
            }
    }
}

/// A port a pod takes on its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port, 1 to 65,535.
    pub port: i32,
    /// The address; `0.0.0.0` is all of them.
    pub address: String,
}

impl HostPort {
    /// Whether two pods on one node cannot both have their port.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        const ALL: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == ALL || other.address == ALL)
    }

    fn of_spec(spec: &PodSpec) -> Vec<HostPort> {
        let is_sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
        let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
        let text = |field: &Option<String>, default: &str| match field.as_deref() {
            None | Some("") => default.to_owned(),
            Some(stated) => stated.to_owned(),
        };
        spec.containers
            .iter()
            .chain(sidecars)
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(|port| {
                Some(HostPort {
                    port: port.host_port.filter(|port| *port > 0)?,
                    protocol: text(&port.protocol, "TCP"),
                    address: text(&port.host_ip, "0.0.0.0"),
                })
            })
            .collect()
    }
}

/// One pod as the engine knows it. Immutable; a changed pod is a new one.
#[derive(Debug)]
pub struct PodInfo {
    key: PodKey,
    uid: Arc<str>,
    priority: i32,
    scheduler: Arc<str>,
    node: Option<Arc<str>>,
    ended: bool,
    deleting: bool,
    class: Arc<PodClass>,
    class_id: ClassId,
    object: Option<Arc<Pod>>,
}

/// The number of an interned class; unique within one engine, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClassId(pub(crate) u64);

impl PodInfo {
    /// Namespace and name.
    pub fn key(&self) -> &PodKey {
        &self.key
    }

    /// The pod's uid.
    pub fn uid(&self) -> &Arc<str> {
        &self.uid
    }

    /// `spec.priority`; 0 when there is none.
    pub fn priority(&self) -> i32 {
        self.priority
    }

    /// `spec.schedulerName`.
    pub fn scheduler_name(&self) -> &str {
        &self.scheduler
    }

    /// The node the API says the pod is bound to.
    pub fn node_name(&self) -> Option<&Arc<str>> {
        self.node.as_ref()
    }

    /// What the pod shares with the pods of its template.
    pub fn class(&self) -> &PodClass {
        &self.class
    }

    /// The whole object: there for a pod that waits for a node, dropped once it has one.
    pub fn object(&self) -> Option<&Pod> {
        self.object.as_deref()
    }

    /// Whether somebody deleted the pod, which may still be stopping.
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// The same pod as if it had no node yet.
    pub(crate) fn without_node(&self) -> PodInfo {
        PodInfo {
            key: self.key.clone(),
            uid: self.uid.clone(),
            scheduler: self.scheduler.clone(),
            node: None,
            class: self.class.clone(),
            object: self.object.clone(),
            ..*self
        }
    }

    /// Whether the pod ran to its end, and holds nothing any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn class_id(&self) -> ClassId {
        self.class_id
    }
}

/// The classes of all pods, each once.
#[derive(Default)]
pub(crate) struct Classes {
    known: FxHashMap<Arc<PodClass>, ClassId>,
    next: u64,
    sweep_at: usize,
}

impl Classes {
    /// Reads a pod, interning its class.
    pub(crate) fn read(&mut self, pod: Arc<Pod>) -> PodInfo {
        let class = Arc::new(PodClass::read(&pod));
        let (class, class_id) = match self.known.get_key_value(&class) {
            Some((known, id)) => (known.clone(), *id),
            None => {
                let id = ClassId(self.next);
                self.next += 1;
                self.known.insert(class.clone(), id);
                (class, id)
            }
        };
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let node = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty());
        let scheduler = spec.and_then(|spec| spec.scheduler_name.as_deref());
        PodInfo {
            key: PodKey::of(&pod),
            uid: pod.metadata.uid.as_deref().unwrap_or_default().into(),
            priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
            scheduler: scheduler.unwrap_or(crate::DEFAULT_SCHEDULER_NAME).into(),
            node: node.map(Arc::from),
            ended: matches!(phase, Some("Succeeded" | "Failed")),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            class,
            class_id,
            object: node.is_none().then_some(pod),
        }
    }

    /// Forgets classes no pod has any more, now and then; whether a class is still known can be asked afterwards.
    pub(crate) fn sweep(&mut self) -> bool {
        if self.known.len() <= self.sweep_at {
            return false;
        }
        self.known.retain(|class, _| Arc::strong_count(class) > 1);
        self.sweep_at = (2 * self.known.len()).max(1024);
        true
    }

    pub(crate) fn ids(&self) -> std::collections::BTreeSet<ClassId> {
        self.known.values().copied().collect()
    }
}
