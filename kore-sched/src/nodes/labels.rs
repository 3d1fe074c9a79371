//! Which nodes have which label.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::node::NodeIndex;
use crate::node_set::NodeSet;
use crate::selector::{Operator, Requirement};

/// A list of nodes of one value turns into a bitmap when it grows beyond this, so that keys with a value for each node
/// (hostname) cost a few bytes a node and not a bitmap a node.
const LONGEST_LIST: usize = 64;

/// The nodes by label.
#[derive(Default)]
pub(super) struct Labels {
    keys: FxHashMap<String, Key>,
}

#[derive(Default)]
struct Key {
    with: NodeSet,
    values: FxHashMap<String, Found>,
}

/// The nodes with one value.
enum Found {
    List(Vec<NodeIndex>),
    Bitmap(NodeSet),
}

impl Found {
    fn insert(&mut self, node: NodeIndex) {
        match self {
            Found::List(list) if list.len() >= LONGEST_LIST => {
                let mut set: NodeSet = list.iter().copied().collect();
                set.insert(node);
                *self = Found::Bitmap(set);
            }
            Found::List(list) => list.push(node),
            Found::Bitmap(set) => {
                set.insert(node);
            }
        }
    }

    /// Whether nothing is left.
    fn remove(&mut self, node: NodeIndex) -> bool {
        match self {
            Found::List(list) => {
                list.retain(|known| *known != node);
                list.is_empty()
            }
            Found::Bitmap(set) => {
                set.remove(node);
                set.is_empty()
            }
        }
    }

    fn add_to(&self, set: &mut NodeSet) {
        match self {
            Found::List(list) => list.iter().for_each(|node| {
                set.insert(*node);
            }),
            Found::Bitmap(found) => set.unite(found),
        }
    }
}

impl Labels {
    pub(super) fn insert(&mut self, node: NodeIndex, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            if !self.keys.contains_key(key) {
                self.keys.insert(key.clone(), Key::default());
            }
            let key = self.keys.get_mut(key).expect("just inserted");
            key.with.insert(node);
            match key.values.get_mut(value) {
                Some(found) => found.insert(node),
                None => {
                    key.values.insert(value.clone(), Found::List(vec![node]));
                }
            }
        }
    }

    pub(super) fn remove(&mut self, node: NodeIndex, labels: &BTreeMap<String, String>) {
        for (name, value) in labels {
            let Some(key) = self.keys.get_mut(name) else {
                continue;
            };
            key.with.remove(node);
            if key.values.get_mut(value).is_some_and(|found| found.remove(node)) {
                key.values.remove(value);
            }
            if key.values.is_empty() {
                self.keys.remove(name);
            }
        }
    }

    pub(super) fn with_value(&self, key: &str, value: &str) -> NodeSet {
        let mut set = NodeSet::new();
        if let Some(found) = self.keys.get(key).and_then(|key| key.values.get(value)) {
            found.add_to(&mut set);
        }
        set
    }

    /// Keeps the nodes that meet the requirement.
    pub(super) fn restrict(&self, nodes: &mut NodeSet, requirement: &Requirement) {
        let Some(key) = self.keys.get(&requirement.key) else {
            if !requirement.is_met_by(None) {
                nodes.clear();
            }
            return;
        };
        let any_of_values = || {
            let mut set = NodeSet::new();
            for value in &requirement.values {
                if let Some(found) = key.values.get(value) {
                    found.add_to(&mut set);
                }
            }
            set
        };
        match requirement.operator {
            Operator::In => nodes.intersect(&any_of_values()),
            Operator::NotIn => nodes.subtract(&any_of_values()),
            Operator::Exists => nodes.intersect(&key.with),
            Operator::DoesNotExist => nodes.subtract(&key.with),
            Operator::Gt | Operator::Lt | Operator::Unknown => {
                let mut set = NodeSet::new();
                for (value, found) in &key.values {
                    if requirement.is_met_by(Some(value)) {
                        found.add_to(&mut set);
                    }
                }
                nodes.intersect(&set);
            }
        }
    }
}
