//! A set of nodes as a bitmap over their dense indices.

use crate::NodeIndex;

/// A set of nodes: one bit for each dense index. 5,000 nodes are 625 bytes, a million are 125 kB.
///
/// Sets that take part in one operation may differ in length; what lies beyond a set's end is not in it.
///
/// ```
/// use kore_sched::{NodeIndex, NodeSet};
///
/// let mut set = NodeSet::new();
/// set.insert(NodeIndex(3));
/// set.insert(NodeIndex(200));
/// set.retain(|node| node.0 > 100);
/// assert_eq!(set.iter().collect::<Vec<_>>(), [NodeIndex(200)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct NodeSet {
    words: Vec<u64>,
}

impl NodeSet {
    /// The empty set.
    pub fn new() -> NodeSet {
        NodeSet::default()
    }

    /// Adds a node; whether it was not there before.
    pub fn insert(&mut self, node: NodeIndex) -> bool {
        let (word, bit) = position(node);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Takes a node out; whether it was there.
    pub fn remove(&mut self, node: NodeIndex) -> bool {
        let (word, bit) = position(node);
        match self.words.get_mut(word) {
            Some(bits) => {
                let was = *bits & bit != 0;
                *bits &= !bit;
                was
            }
            None => false,
        }
    }

    /// Whether the node is in the set.
    pub fn contains(&self, node: NodeIndex) -> bool {
        let (word, bit) = position(node);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// The number of nodes in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Whether no node is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|bits| *bits == 0)
    }

    /// The node in the set, if it is the only one.
    pub fn only(&self) -> Option<NodeIndex> {
        let mut nodes = self.iter();
        let first = nodes.next()?;
        nodes.next().is_none().then_some(first)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Keeps what is also in `other`.
    pub fn intersect(&mut self, other: &NodeSet) {
        self.words.truncate(other.words.len());
        for (bits, other) in self.words.iter_mut().zip(&other.words) {
            *bits &= other;
        }
    }

    /// Takes out what is in `other`.
    pub fn subtract(&mut self, other: &NodeSet) {
        for (bits, other) in self.words.iter_mut().zip(&other.words) {
            *bits &= !other;
        }
    }

    /// Adds what is in `other`.
    pub fn unite(&mut self, other: &NodeSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (bits, other) in self.words.iter_mut().zip(&other.words) {
            *bits |= other;
        }
    }

    /// Keeps the nodes for which `keep` says so, asked in the order of the indices.
    pub fn retain(&mut self, mut keep: impl FnMut(NodeIndex) -> bool) {
        for (at, bits) in self.words.iter_mut().enumerate() {
            let mut rest = *bits;
            while rest != 0 {
                let low = rest.trailing_zeros();
                rest &= rest - 1;
                if !keep(NodeIndex((at * 64) as u32 + low)) {
                    *bits &= !(1 << low);
                }
            }
        }
    }

    /// The nodes in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.words.iter().enumerate().flat_map(|(at, bits)| {
            let mut rest = *bits;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let low = rest.trailing_zeros();
                    rest &= rest - 1;
                    NodeIndex((at * 64) as u32 + low)
                })
            })
        })
    }
}

impl PartialEq for NodeSet {
    fn eq(&self, other: &NodeSet) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for NodeSet {}

impl FromIterator<NodeIndex> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeIndex>>(nodes: I) -> NodeSet {
        let mut set = NodeSet::new();
        for node in nodes {
            set.insert(node);
        }
        set
    }
}

fn position(node: NodeIndex) -> (usize, u64) {
    (node.0 as usize / 64, 1 << (node.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(of: &BTreeSet<u32>) -> NodeSet {
        of.iter().copied().map(NodeIndex).collect()
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(a in proptest::collection::btree_set(0u32..300, 0..60), b in proptest::collection::btree_set(0u32..300, 0..60)) {
            let mut both = set(&a);
            both.intersect(&set(&b));
            prop_assert_eq!(&both, &set(&a.intersection(&b).copied().collect()));
            let mut any = set(&a);
            any.unite(&set(&b));
            prop_assert_eq!(any.len(), a.union(&b).count());
            let mut only = set(&a);
            only.subtract(&set(&b));
            prop_assert_eq!(&only, &set(&a.difference(&b).copied().collect()));
            let mut even = set(&a);
            even.retain(|node| node.0 % 2 == 0);
            prop_assert!(even.iter().map(|n| n.0).eq(a.iter().copied().filter(|n| n % 2 == 0)));
        }
    }
}
