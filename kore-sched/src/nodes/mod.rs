//! The cluster as the engine holds it: dense columns and indexes over them.
//!
//! - here: [`Nodes`], the rows and columns, and how pods and nodes enter and leave them
//! - `labels`: which nodes have which label
//! - `changes`: the log of rows that changed, which caches catch up with
//!
//! One writer, no locks; nothing here knows a plugin, a queue or the time.

mod changes;
mod labels;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use rustc_hash::FxHashMap;

use crate::node::{NodeIndex, NodeInfo};
use crate::node_set::NodeSet;
use crate::pod::{HostPort, PodInfo, PodKey};
use crate::resources::Resources;
use crate::selector::Term;

use changes::Changes;
use labels::Labels;

/// One resource of every node: two columns, indexed by [`NodeIndex::row`]. Rows of no node hold zeros.
#[derive(Clone, Debug, Default)]
pub struct Column {
    capacity: Vec<i64>,
    used: Vec<i64>,
}

impl Column {
    /// What each node offers.
    pub fn capacity(&self) -> &[i64] {
        &self.capacity
    }

    /// What the pods on each node, assumed ones included, have asked for.
    pub fn used(&self) -> &[i64] {
        &self.used
    }

    fn grow(&mut self, rows: usize) {
        if self.capacity.len() < rows {
            self.capacity.resize(rows, 0);
            self.used.resize(rows, 0);
        }
    }
}

/// All nodes, with what runs on them: the snapshot that plugins see.
#[derive(Default)]
pub struct Nodes {
    infos: Vec<Option<Arc<NodeInfo>>>,
    rows: FxHashMap<Arc<str>, NodeIndex>,
    free: BTreeSet<NodeIndex>,
    all: NodeSet,
    cpu: Column,
    memory: Column,
    ephemeral: Column,
    pods: Column,
    /// The scoring requests: only `used` differs from the columns above, so only that is kept.
    scoring_cpu: Vec<i64>,
    scoring_memory: Vec<i64>,
    extended: BTreeMap<Arc<str>, Column>,
    unschedulable: NodeSet,
    taints: Vec<(Taint, NodeSet)>,
    labels: Labels,
    ports: BTreeMap<NodeIndex, Vec<(PodKey, HostPort)>>,
    running: Vec<Vec<Arc<PodInfo>>>,
    /// Pods bound to a node that is not known, or not known yet.
    homeless: FxHashMap<Arc<str>, Vec<Arc<PodInfo>>>,
    changes: Changes,
}

impl Nodes {
    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of rows, which is one more than the largest index in use.
    pub fn rows(&self) -> usize {
        self.infos.len()
    }

    /// Every node.
    pub fn all(&self) -> &NodeSet {
        &self.all
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.rows.get(name).copied()
    }

    /// What is known of a node.
    ///
    /// # Panics
    /// When the index is of no node: indices are valid within one cycle.
    pub fn info(&self, node: NodeIndex) -> &Arc<NodeInfo> {
        self.infos[node.row()].as_ref().expect("an index is used within the cycle that gave it")
    }

    /// The pods on a node, assumed ones included.
    pub fn pods_on(&self, node: NodeIndex) -> &[Arc<PodInfo>] {
        &self.running[node.row()]
    }

    /// The columns of one resource: `cpu` (thousandths), `memory` and `ephemeral-storage` (bytes), `pods`, or an extended
    /// resource; `None` when no node offers it and no pod holds it.
    pub fn column(&self, resource: &str) -> Option<&Column> {
        match resource {
            "cpu" => Some(&self.cpu),
            "memory" => Some(&self.memory),
            "ephemeral-storage" => Some(&self.ephemeral),
            "pods" => Some(&self.pods),
            _ => self.extended.get(resource),
        }
    }

    /// What the pods on each node count with in scores: thousandths of a core, and bytes of memory. Containers that state
    /// nothing count with 100 m and 200 MiB.
    pub fn scoring_used(&self) -> (&[i64], &[i64]) {
        (&self.scoring_cpu, &self.scoring_memory)
    }

    /// The cordoned nodes.
    pub fn unschedulable(&self) -> &NodeSet {
        &self.unschedulable
    }

    /// Every distinct taint (key, value, effect) with the nodes that have it.
    pub fn taints(&self) -> impl Iterator<Item = (&Taint, &NodeSet)> {
        self.taints.iter().filter(|(_, nodes)| !nodes.is_empty()).map(|(taint, nodes)| (taint, nodes))
    }

    /// The ports taken by pods, by node; nodes where none is taken are left out.
    pub fn host_ports(&self) -> impl Iterator<Item = (NodeIndex, impl Iterator<Item = &HostPort>)> {
        self.ports.iter().map(|(node, ports)| (*node, ports.iter().map(|(_, port)| port)))
    }

    /// The ports taken on one node.
    pub fn host_ports_on(&self, node: NodeIndex) -> impl Iterator<Item = &HostPort> {
        self.ports.get(&node).into_iter().flatten().map(|(_, port)| port)
    }

    /// The nodes with that label.
    pub fn with_label(&self, key: &str, value: &str) -> NodeSet {
        self.labels.with_value(key, value)
    }

    /// The nodes that meet a term, found by the label index.
    pub fn matching(&self, term: &Term) -> NodeSet {
        let mut found = self.all.clone();
        if term.is_empty() {
            found.clear();
        }
        for requirement in &term.labels {
            self.labels.restrict(&mut found, requirement);
        }
        for requirement in &term.fields {
            match requirement.key.as_str() {
                "metadata.name" => found.retain(|n| requirement.is_met_by(Some(&self.info(n).name))),
                _ => found.retain(|_| requirement.is_met_by(None)),
            }
        }
        found
    }

    /// Adds a node or replaces what was known of it; what was known before.
    pub(crate) fn set_node(&mut self, info: Arc<NodeInfo>) -> Option<Arc<NodeInfo>> {
        if let Some(node) = self.find(&info.name) {
            let before = self.infos[node.row()].replace(info.clone()).expect("a row in use");
            self.unindex(node, &before);
            self.index(node, &info);
            return Some(before);
        }
        let node = match self.free.pop_first() {
            Some(node) => node,
            None => self.grow(),
        };
        self.rows.insert(info.name.clone(), node);
        self.all.insert(node);
        self.infos[node.row()] = Some(info.clone());
        self.index(node, &info);
        for pod in self.homeless.remove(&info.name).unwrap_or_default() {
            self.place(node, pod);
        }
        None
    }

    /// Takes a node out. Its pods stay known: they return with the node.
    pub(crate) fn remove_node(&mut self, name: &str) -> Option<Arc<NodeInfo>> {
        let (name, node) = self.rows.remove_entry(name)?;
        let pods = self.running[node.row()].clone();
        for pod in &pods {
            self.displace(node, pod.key());
        }
        if !pods.is_empty() {
            self.homeless.insert(name, pods);
        }
        let info = self.infos[node.row()].take().expect("a row in use");
        self.unindex(node, &info);
        self.all.remove(node);
        self.free.insert(node);
        Some(info)
    }

    /// Puts a pod on a node, in place of an older version of itself there.
    pub(crate) fn add_pod(&mut self, node: &Arc<str>, pod: Arc<PodInfo>) {
        self.remove_pod(node, pod.key());
        match self.find(node) {
            Some(node) => self.place(node, pod),
            None => self.homeless.entry(node.clone()).or_default().push(pod),
        }
    }

    /// Takes a pod off a node.
    pub(crate) fn remove_pod(&mut self, node: &Arc<str>, pod: &PodKey) {
        if let Some(node) = self.find(node) {
            self.displace(node, pod);
        } else if let Some(pods) = self.homeless.get_mut(node) {
            pods.retain(|known| known.key() != pod);
            if pods.is_empty() {
                self.homeless.remove(node);
            }
        }
    }

    /// Where the log of changed rows stands now.
    pub(crate) fn cursor(&self) -> u64 {
        self.changes.end()
    }

    /// The rows changed since a cursor, oldest first, possibly repeated; `None` when the log does not reach back so far.
    pub(crate) fn changed_since(&self, cursor: u64) -> Option<&[NodeIndex]> {
        self.changes.since(cursor)
    }

    fn grow(&mut self) -> NodeIndex {
        let node = NodeIndex(self.infos.len() as u32);
        let rows = self.infos.len() + 1;
        self.infos.push(None);
        self.running.push(Vec::new());
        self.scoring_cpu.push(0);
        self.scoring_memory.push(0);
        let fixed = [&mut self.cpu, &mut self.memory, &mut self.ephemeral, &mut self.pods];
        for column in fixed.into_iter().chain(self.extended.values_mut()) {
            column.grow(rows);
        }
        node
    }

    fn index(&mut self, node: NodeIndex, info: &NodeInfo) {
        self.set_capacity(node, &info.allocatable, info.pods_allowed);
        if info.unschedulable {
            self.unschedulable.insert(node);
        }
        for taint in &info.taints {
            let known = self.taints.iter_mut().find(|(known, _)| is_same(known, taint));
            match known {
                Some((_, nodes)) => {
                    nodes.insert(node);
                }
                None => self.taints.push((taint.clone(), NodeSet::from_iter([node]))),
            }
        }
        self.labels.insert(node, &info.labels);
        self.changes.push(node, self.infos.len());
    }

    fn unindex(&mut self, node: NodeIndex, info: &NodeInfo) {
        let nothing = Resources {
            extended: info.allocatable.extended.iter().map(|(name, _)| (name.clone(), 0)).collect(),
            ..Resources::default()
        };
        self.set_capacity(node, &nothing, 0);
        self.unschedulable.remove(node);
        for taint in &info.taints {
            for (_, nodes) in self.taints.iter_mut().filter(|(known, _)| is_same(known, taint)) {
                nodes.remove(node);
            }
        }
        self.taints.retain(|(_, nodes)| !nodes.is_empty());
        self.labels.remove(node, &info.labels);
        self.changes.push(node, self.infos.len());
    }

    fn set_capacity(&mut self, node: NodeIndex, offered: &Resources, pods: i64) {
        let row = node.row();
        self.cpu.capacity[row] = offered.cpu_milli;
        self.memory.capacity[row] = offered.memory_bytes;
        self.ephemeral.capacity[row] = offered.ephemeral_bytes;
        self.pods.capacity[row] = pods;
        for (name, amount) in &offered.extended {
            self.extended_column(name).capacity[row] = *amount;
        }
    }

    fn extended_column(&mut self, name: &Arc<str>) -> &mut Column {
        let rows = self.infos.len();
        let column = self.extended.entry(name.clone()).or_default();
        column.grow(rows);
        column
    }

    fn place(&mut self, node: NodeIndex, pod: Arc<PodInfo>) {
        self.charge(node, &pod);
        let taken = &pod.class().host_ports;
        if !taken.is_empty() {
            let on_node = self.ports.entry(node).or_default();
            on_node.extend(taken.iter().map(|port| (pod.key().clone(), port.clone())));
        }
        self.running[node.row()].push(pod);
        self.changes.push(node, self.infos.len());
    }

    fn displace(&mut self, node: NodeIndex, key: &PodKey) {
        let running = &mut self.running[node.row()];
        let Some(at) = running.iter().position(|pod| pod.key() == key) else {
            return;
        };
        let pod = running.swap_remove(at);
        self.release(node, &pod);
        if let Some(ports) = self.ports.get_mut(&node) {
            ports.retain(|(holder, _)| holder != key);
            if ports.is_empty() {
                self.ports.remove(&node);
            }
        }
        self.changes.push(node, self.infos.len());
    }

    /// Adds what a pod takes. Sums end at the largest number: more than that is taken nowhere.
    fn charge(&mut self, node: NodeIndex, pod: &PodInfo) {
        self.each_use(node, pod, |used, amount| *used = used.saturating_add(amount));
    }

    /// Takes off again what a pod that is no longer among the running ones took.
    fn release(&mut self, node: NodeIndex, pod: &PodInfo) {
        let mut is_full = false;
        self.each_use(node, pod, |used, amount| {
            is_full |= *used == i64::MAX;
            *used -= amount;
        });
        if is_full {
            // A sum that has ended at the largest number cannot be taken apart: it is made anew.
            self.each_use(node, pod, |used, _| *used = 0);
            let running = std::mem::take(&mut self.running[node.row()]);
            running.iter().for_each(|other| self.each_use(node, other, |used, _| *used = 0));
            running.iter().for_each(|other| self.charge(node, other));
            self.running[node.row()] = running;
        }
    }

    /// Every count of a node that a pod takes part in, and by how much.
    fn each_use(&mut self, node: NodeIndex, pod: &PodInfo, mut change: impl FnMut(&mut i64, i64)) {
        let row = node.row();
        let class = pod.class();
        change(&mut self.cpu.used[row], class.requests.cpu_milli);
        change(&mut self.memory.used[row], class.requests.memory_bytes);
        change(&mut self.ephemeral.used[row], class.requests.ephemeral_bytes);
        change(&mut self.pods.used[row], 1);
        change(&mut self.scoring_cpu[row], class.scoring_requests.cpu_milli);
        change(&mut self.scoring_memory[row], class.scoring_requests.memory_bytes);
        for (name, amount) in &class.requests.extended {
            change(&mut self.extended_column(name).used[row], *amount);
        }
    }
}

fn is_same(a: &Taint, b: &Taint) -> bool {
    a.key == b.key && a.value == b.value && a.effect == b.effect
}
