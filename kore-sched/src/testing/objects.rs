//! Nodes and pods in a few words.

use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, Node, NodeAffinity, NodeSelector, NodeSelectorTerm, NodeSpec, NodeStatus, Pod,
    PodSchedulingGate, PodSpec, PreferredSchedulingTerm, ResourceRequirements, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A node of 4 cores, 32 GiB and 110 pods.
pub fn node(name: &str) -> NodeBuilder {
    let node = NodeBuilder(Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(format!("node-{name}")),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus::default()),
    });
    node.cpu("4").memory("32Gi").pods(110)
}

/// A node in the making.
#[derive(Clone, Debug)]
pub struct NodeBuilder(Node);

impl NodeBuilder {
    /// Offers that much CPU.
    #[must_use]
    pub fn cpu(self, amount: &str) -> NodeBuilder {
        self.resource("cpu", amount)
    }

    /// Offers that much memory.
    #[must_use]
    pub fn memory(self, amount: &str) -> NodeBuilder {
        self.resource("memory", amount)
    }

    /// Takes so many pods.
    #[must_use]
    pub fn pods(self, amount: u32) -> NodeBuilder {
        self.resource("pods", &amount.to_string())
    }

    /// Offers that much of a resource.
    #[must_use]
    pub fn resource(mut self, name: &str, amount: &str) -> NodeBuilder {
        let status = self.0.status.get_or_insert_default();
        let allocatable = status.allocatable.get_or_insert_default();
        allocatable.insert(name.to_owned(), Quantity(amount.to_owned()));
        self
    }

    /// Has that label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> NodeBuilder {
        let labels = self.0.metadata.labels.get_or_insert_default();
        labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Has that taint.
    #[must_use]
    pub fn taint(mut self, key: &str, value: &str, effect: &str) -> NodeBuilder {
        let taints = self.0.spec.get_or_insert_default().taints.get_or_insert_default();
        taints.push(Taint {
            key: key.to_owned(),
            value: (!value.is_empty()).then(|| value.to_owned()),
            effect: effect.to_owned(),
            ..Taint::default()
        });
        self
    }

    /// Is cordoned.
    #[must_use]
    pub fn cordoned(mut self) -> NodeBuilder {
        self.0.spec.get_or_insert_default().unschedulable = Some(true);
        self
    }

    /// Anything else.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Node)) -> NodeBuilder {
        edit(&mut self.0);
        self
    }

    /// The node.
    pub fn build(self) -> Node {
        self.0
    }
}

impl From<NodeBuilder> for Node {
    fn from(builder: NodeBuilder) -> Node {
        builder.0
    }
}

/// A pod in namespace `default` of one container that asks for nothing.
pub fn pod(name: &str) -> PodBuilder {
    PodBuilder(Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some(format!("pod-{name}")),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { containers: vec![container("main", &[])], ..PodSpec::default() }),
        status: None,
    })
}

fn container(name: &str, requests: &[(&str, &str)]) -> Container {
    let quantity = |(name, amount): &(&str, &str)| ((*name).to_owned(), Quantity((*amount).to_owned()));
    Container {
        name: name.to_owned(),
        resources: Some(ResourceRequirements {
            requests: (!requests.is_empty()).then(|| requests.iter().map(quantity).collect()),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    }
}

/// A pod in the making.
#[derive(Clone, Debug)]
pub struct PodBuilder(Pod);

impl PodBuilder {
    fn spec(&mut self) -> &mut PodSpec {
        self.0.spec.get_or_insert_default()
    }

    fn main(&mut self) -> &mut Container {
        &mut self.spec().containers[0]
    }

    fn affinity(&mut self) -> &mut NodeAffinity {
        let affinity: &mut Affinity = self.spec().affinity.get_or_insert_default();
        affinity.node_affinity.get_or_insert_default()
    }

    /// Is in that namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> PodBuilder {
        self.0.metadata.namespace = Some(namespace.to_owned());
        self
    }

    /// Asks for that much CPU in its first container.
    #[must_use]
    pub fn cpu(self, amount: &str) -> PodBuilder {
        self.resource("cpu", amount)
    }

    /// Asks for that much memory in its first container.
    #[must_use]
    pub fn memory(self, amount: &str) -> PodBuilder {
        self.resource("memory", amount)
    }

    /// Asks for that much of a resource in its first container.
    #[must_use]
    pub fn resource(mut self, name: &str, amount: &str) -> PodBuilder {
        let resources = self.main().resources.get_or_insert_default();
        let requests = resources.requests.get_or_insert_default();
        requests.insert(name.to_owned(), Quantity(amount.to_owned()));
        self
    }

    /// Has one more container.
    #[must_use]
    pub fn container(mut self, requests: &[(&str, &str)]) -> PodBuilder {
        let name = format!("c{}", self.spec().containers.len());
        self.spec().containers.push(container(&name, requests));
        self
    }

    /// Has one more init container.
    #[must_use]
    pub fn init_container(mut self, requests: &[(&str, &str)]) -> PodBuilder {
        let list = self.spec().init_containers.get_or_insert_default();
        list.push(container(&format!("i{}", list.len()), requests));
        self
    }

    /// Has one more sidecar: an init container that is restarted always.
    #[must_use]
    pub fn sidecar(self, requests: &[(&str, &str)]) -> PodBuilder {
        let mut pod = self.init_container(requests);
        let last = pod.spec().init_containers.iter_mut().flatten().last();
        last.expect("just added").restart_policy = Some("Always".to_owned());
        pod
    }

    /// Costs that much in addition.
    #[must_use]
    pub fn overhead(mut self, name: &str, amount: &str) -> PodBuilder {
        let overhead = self.spec().overhead.get_or_insert_default();
        overhead.insert(name.to_owned(), Quantity(amount.to_owned()));
        self
    }

    /// Has that label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> PodBuilder {
        let labels = self.0.metadata.labels.get_or_insert_default();
        labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Has that priority.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> PodBuilder {
        self.spec().priority = Some(priority);
        self
    }

    /// Tolerates that taint; without a value, whatever its value.
    #[must_use]
    pub fn toleration(mut self, key: &str, value: &str, effect: &str) -> PodBuilder {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let operator = if value.is_empty() { "Exists" } else { "Equal" };
        self.spec().tolerations.get_or_insert_default().push(Toleration {
            key: given(key),
            operator: Some(operator.to_owned()),
            value: given(value),
            effect: given(effect),
            ..Toleration::default()
        });
        self
    }

    /// Wants nodes with that label.
    #[must_use]
    pub fn select(mut self, key: &str, value: &str) -> PodBuilder {
        let selector = self.spec().node_selector.get_or_insert_default();
        selector.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Wants nodes that match one of the terms.
    #[must_use]
    pub fn require(mut self, terms: Vec<NodeSelectorTerm>) -> PodBuilder {
        self.affinity().required_during_scheduling_ignored_during_execution =
            Some(NodeSelector { node_selector_terms: terms });
        self
    }

    /// Prefers nodes that match the term, with that weight.
    #[must_use]
    pub fn prefer(mut self, weight: i32, term: NodeSelectorTerm) -> PodBuilder {
        let preferred = &mut self.affinity().preferred_during_scheduling_ignored_during_execution;
        preferred.get_or_insert_default().push(PreferredSchedulingTerm { weight, preference: term });
        self
    }

    /// Takes that port on its node.
    #[must_use]
    pub fn host_port(mut self, protocol: &str, address: &str, port: i32) -> PodBuilder {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.main().ports.get_or_insert_default().push(ContainerPort {
            container_port: port,
            host_port: Some(port),
            host_ip: given(address),
            protocol: given(protocol),
            ..ContainerPort::default()
        });
        self
    }

    /// Is held back by that scheduling gate.
    #[must_use]
    pub fn gate(mut self, name: &str) -> PodBuilder {
        let gates = self.spec().scheduling_gates.get_or_insert_default();
        gates.push(PodSchedulingGate { name: name.to_owned() });
        self
    }

    /// Is for the scheduler of that name.
    #[must_use]
    pub fn scheduler(mut self, name: &str) -> PodBuilder {
        self.spec().scheduler_name = Some(name.to_owned());
        self
    }

    /// Is on that node already.
    #[must_use]
    pub fn on(mut self, node: &str) -> PodBuilder {
        self.spec().node_name = Some(node.to_owned());
        self
    }

    /// Anything else.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Pod)) -> PodBuilder {
        edit(&mut self.0);
        self
    }

    /// The pod.
    pub fn build(self) -> Pod {
        self.0
    }
}

impl From<PodBuilder> for Pod {
    fn from(builder: PodBuilder) -> Pod {
        builder.0
    }
}
