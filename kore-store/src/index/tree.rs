//! An ordered tree of entries that know their key: a B+ tree that keeps keys out of its nodes.
//!
//! Keys that are neighbours are alike, and lie somewhere else in memory. A node therefore remembers how many bytes all its
//! keys begin with in common, and of each key the eight bytes behind those, as a number: most of a search looks at numbers
//! that lie side by side, and at the one key that it finds.

use std::ops::{Bound, Range};

/// What the tree holds.
pub(crate) trait Keyed {
    /// What it is sorted by. Never changes.
    fn key(&self) -> &[u8];
}

/// Entries, or children, in a node.
const CAPACITY: usize = 64;

/// A node with fewer is joined with a neighbour, if both fit into three quarters of one.
const FEW: usize = CAPACITY / 4;

/// Entries in the order of their keys.
pub(crate) struct Tree<E> {
    root: Node<E>,
    length: usize,
}

enum Node<E> {
    Leaf(Sorted<E>),
    Inner(Inner<E>),
}

struct Inner<E> {
    /// Every key below a child is at least the separator before it, and less than the one behind it.
    separators: Sorted<Box<[u8]>>,
    children: Vec<Node<E>>,
}

/// The right part of a node that was split, and the separator before it.
type Split<E> = Option<(Box<[u8]>, Node<E>)>;

struct Upserted<R, E> {
    answer: R,
    inserted: bool,
    split: Split<E>,
}

impl<E: Keyed> Tree<E> {
    pub(crate) fn new() -> Tree<E> {
        Tree { root: Node::Leaf(Sorted::default()), length: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&E> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children[inner.child(key)],
                Node::Leaf(leaf) => return leaf.place(key).map(|at| &leaf.slots[at].of),
            }
        }
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut E> {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child(key);
                    node = &mut inner.children[at];
                }
                Node::Leaf(leaf) => return leaf.place(key).map(|at| &mut leaf.slots[at].of),
            }
        }
    }

    /// Puts an entry in, and hands it to `fresh`; or hands it to `again`, with the one of the same key that is there.
    pub(crate) fn upsert<R>(&mut self, entry: E, again: impl FnOnce(&mut E, E) -> R, fresh: impl FnOnce(&E) -> R) -> R {
        let Upserted { answer, inserted, split } = self.root.upsert(entry, again, fresh);
        self.length += usize::from(inserted);
        if let Some((separator, right)) = split {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Sorted::default()));
            let mut separators = Sorted::default();
            separators.insert(0, separator);
            self.root = Node::Inner(Inner { separators, children: vec![left, right] });
        }
        answer
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<E> {
        let removed = self.root.remove(key)?;
        self.length -= 1;
        if let Node::Inner(inner) = &mut self.root
            && inner.children.len() == 1
        {
            self.root = inner.children.pop().expect("it has one");
        }
        Some(removed)
    }

    /// The entries from a key on.
    pub(crate) fn from(&self, from: Bound<&[u8]>) -> Iter<'_, E> {
        let mut iter = Iter { right: Vec::new(), leaf: [].iter() };
        let key = match from {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &[],
        };
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child(key);
                    iter.right.push(inner.children[at + 1..].iter());
                    node = &inner.children[at];
                }
                Node::Leaf(leaf) => {
                    let at = match (leaf.find(key), from) {
                        (Ok(at), Bound::Excluded(_)) => at + 1,
                        (Ok(at) | Err(at), _) => at,
                    };
                    iter.leaf = leaf.slots[at..].iter();
                    return iter;
                }
            }
        }
    }
}

/// Goes through entries in order.
pub(crate) struct Iter<'a, E> {
    /// What is still to come on each level, the root's first.
    right: Vec<std::slice::Iter<'a, Node<E>>>,
    leaf: std::slice::Iter<'a, Slot<E>>,
}

impl<'a, E> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        loop {
            if let Some(slot) = self.leaf.next() {
                return Some(&slot.of);
            }
            let mut node = loop {
                match self.right.last_mut()?.next() {
                    Some(node) => break node,
                    None => drop(self.right.pop()),
                }
            };
            while let Node::Inner(inner) = node {
                let mut children = inner.children.iter();
                node = children.next()?;
                self.right.push(children);
            }
            if let Node::Leaf(leaf) = node {
                self.leaf = leaf.slots.iter();
            }
        }
    }
}

impl<E: Keyed> Node<E> {
    fn upsert<R>(
        &mut self,
        entry: E,
        again: impl FnOnce(&mut E, E) -> R,
        fresh: impl FnOnce(&E) -> R,
    ) -> Upserted<R, E> {
        match self {
            Node::Leaf(leaf) => match leaf.place(entry.key()).map_or_else(|| leaf.find(entry.key()), Ok) {
                Ok(at) => Upserted { answer: again(&mut leaf.slots[at].of, entry), inserted: false, split: None },
                Err(at) => Upserted { answer: fresh(&entry), inserted: true, split: leaf.add(at, entry) },
            },
            Node::Inner(inner) => {
                let at = inner.child(entry.key());
                let Upserted { answer, inserted, split } = inner.children[at].upsert(entry, again, fresh);
                let split = split.and_then(|(separator, right)| inner.insert(at, separator, right));
                Upserted { answer, inserted, split }
            }
        }
    }

    fn remove(&mut self, key: &[u8]) -> Option<E> {
        match self {
            Node::Leaf(leaf) => {
                let at = leaf.place(key)?;
                Some(leaf.slots.remove(at).of)
            }
            Node::Inner(inner) => {
                let at = inner.child(key);
                let removed = inner.children[at].remove(key)?;
                if inner.children[at].len() < FEW {
                    inner.join(at);
                }
                Some(removed)
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.slots.len(),
            Node::Inner(inner) => inner.children.len(),
        }
    }
}

/// Makes room for one more, and for little beyond that: there are many nodes.
fn grow<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact((CAPACITY / 8).min(CAPACITY.saturating_sub(vec.len())).max(1));
    }
}

impl<E: Keyed> Sorted<E> {
    /// Puts an entry in where it belongs; a full leaf is split in the middle, but behind everything when keys come in order: that
    /// leaves full leaves behind.
    fn add(&mut self, at: usize, entry: E) -> Split<E> {
        if self.slots.len() < CAPACITY {
            self.insert(at, entry);
            return None;
        }
        let middle = if at == CAPACITY { CAPACITY } else { CAPACITY / 2 };
        let mut right = self.split_off(middle);
        match at.checked_sub(middle) {
            Some(at) if at > 0 || middle == CAPACITY => right.insert(at, entry),
            _ => self.insert(at, entry),
        }
        let (last, first) = (self.slots[self.slots.len() - 1].of.key(), right.slots[0].of.key());
        // The shortest key that is greater than the last one and not greater than the first one.
        let separator = first[..=common(last, first)].into();
        Some((separator, Node::Leaf(right)))
    }
}

impl<E> Inner<E> {
    /// The child that a key is below.
    fn child(&self, key: &[u8]) -> usize {
        match self.separators.find(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }

    /// Adds a child behind the one at `at`.
    fn insert(&mut self, at: usize, separator: Box<[u8]>, right: Node<E>) -> Split<E> {
        self.separators.insert(at, separator);
        grow(&mut self.children);
        self.children.insert(at + 1, right);
        if self.children.len() <= CAPACITY {
            return None;
        }
        let in_order = at + 2 == self.children.len();
        let middle = if in_order { self.children.len() - 1 } else { self.children.len() / 2 };
        let right = Inner { separators: self.separators.split_off(middle), children: self.children.split_off(middle) };
        let separator = self.separators.slots.pop().expect("one before the right part").of;
        self.separators.look();
        Some((separator, Node::Inner(right)))
    }
}

impl<E: Keyed> Inner<E> {
    /// A child has become small: joins it with a neighbour where that fits.
    fn join(&mut self, at: usize) {
        let fits = |left: usize| {
            let pair = self.children.get(left..left + 2);
            pair.is_some_and(|pair| pair[0].len() + pair[1].len() <= CAPACITY * 3 / 4)
        };
        let left = match at {
            _ if fits(at) => at,
            1.. if fits(at - 1) => at - 1,
            // Its neighbours are full.
            _ if self.children[at].len() == 0 && self.children.len() > 1 => {
                self.children.remove(at);
                self.separators.slots.remove(at.saturating_sub(1));
                return self.separators.look();
            }
            _ => return,
        };
        let right = self.children.remove(left + 1);
        let separator = self.separators.slots.remove(left).of;
        match (&mut self.children[left], right) {
            (Node::Leaf(into), Node::Leaf(right)) => into.append(right),
            (Node::Inner(into), Node::Inner(mut right)) => {
                into.separators.insert(into.separators.slots.len(), separator);
                into.separators.append(right.separators);
                into.children.append(&mut right.children);
            }
            _ => unreachable!("all leaves are on one level"),
        }
        self.separators.look();
    }
}

impl Keyed for Box<[u8]> {
    fn key(&self) -> &[u8] {
        self
    }
}

/// What a node holds, in the order of the keys.
struct Sorted<T> {
    /// How many bytes all keys have in common, at least.
    skip: usize,
    slots: Vec<Slot<T>>,
}

struct Slot<T> {
    /// The eight bytes of the key behind those, the first one most significant, zeroes behind the key's end.
    head: u64,
    of: T,
}

impl<T> Default for Sorted<T> {
    fn default() -> Sorted<T> {
        Sorted { skip: 0, slots: Vec::new() }
    }
}

impl<T: Keyed> Sorted<T> {
    /// Looks at all keys again.
    fn look(&mut self) {
        let (Some(first), Some(last)) = (self.slots.first(), self.slots.last()) else {
            return;
        };
        self.skip = common(first.of.key(), last.of.key());
        for slot in &mut self.slots {
            slot.head = head(slot.of.key(), self.skip);
        }
    }

    fn insert(&mut self, at: usize, of: T) {
        grow(&mut self.slots);
        let other = if at == 0 { self.slots.last() } else { self.slots.first() };
        let is_alike = other.is_some_and(|other| common(of.key(), other.of.key()) >= self.skip);
        let head = if is_alike { head(of.key(), self.skip) } else { 0 };
        self.slots.insert(at, Slot { head, of });
        if !is_alike {
            self.look();
        }
    }

    fn split_off(&mut self, at: usize) -> Sorted<T> {
        let mut right = Sorted { skip: 0, slots: self.slots.split_off(at) };
        self.slots.shrink_to_fit();
        self.look();
        right.look();
        right
    }

    fn append(&mut self, mut right: Sorted<T>) {
        self.slots.reserve_exact(right.slots.len());
        self.slots.append(&mut right.slots);
        self.look();
    }

    /// Where a key is, or where it would be.
    fn find(&self, wanted: &[u8]) -> Result<usize, usize> {
        let Some(first) = self.slots.first() else { return Err(0) };
        let prefix = &first.of.key()[..self.skip];
        if !wanted.starts_with(prefix) {
            // It is before all of them, or behind.
            return Err(if wanted < prefix { 0 } else { self.slots.len() });
        }
        let alike = self.alike(head(wanted, self.skip));
        let from = alike.start;
        let found = self.slots[alike].binary_search_by(|slot| slot.of.key().cmp(wanted));
        found.map(|at| from + at).map_err(|at| from + at)
    }

    /// Where a key is. Looks only at the key that it would be: whether it begins as the others do is seen there.
    fn place(&self, wanted: &[u8]) -> Option<usize> {
        let mut alike = self.alike(head(wanted.get(self.skip..)?, 0));
        alike.find(|at| self.slots[*at].of.key() == wanted)
    }

    /// Where the keys with this head are. All heads are looked at: that waits for memory once, where a binary search, whose
    /// every step depends on the one before, would wait several times.
    fn alike(&self, head: u64) -> Range<usize> {
        let less = self.slots.iter().filter(|slot| slot.head < head).count();
        let equal = self.slots[less..].iter().take_while(|slot| slot.head == head).count();
        less..less + equal
    }
}

/// How many bytes two keys begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The eight bytes behind the first `skip`.
fn head(key: &[u8], skip: usize) -> u64 {
    let rest = &key[skip..];
    match rest.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Keyed for (Vec<u8>, u32) {
        fn key(&self) -> &[u8] {
            &self.0
        }
    }

    impl<E: Keyed> Node<E> {
        /// How many levels there are below; every promise about nodes holds.
        fn check(&self, low: Option<&[u8]>, high: Option<&[u8]>) -> usize {
            let within = |key: &[u8]| low.is_none_or(|low| low <= key) && high.is_none_or(|high| key < high);
            match self {
                Node::Leaf(leaf) => {
                    leaf.check(within);
                    assert!(leaf.slots.len() <= CAPACITY && leaf.slots.capacity() <= CAPACITY);
                    0
                }
                Node::Inner(inner) => {
                    inner.separators.check(within);
                    let separators = || inner.separators.slots.iter().map(|slot| Some(slot.of.key()));
                    assert_eq!(inner.children.len(), separators().len() + 1);
                    assert!(inner.children.len() <= CAPACITY);
                    let lows = [low].into_iter().chain(separators());
                    let highs = separators().chain([high]);
                    let bounds = lows.zip(highs);
                    let depths = inner.children.iter().zip(bounds).map(|(child, (low, high))| child.check(low, high));
                    let depths: Vec<usize> = depths.collect();
                    assert!(depths.iter().all(|depth| *depth == depths[0]), "all leaves are on one level");
                    depths[0] + 1
                }
            }
        }
    }

    impl<T: Keyed> Sorted<T> {
        fn check(&self, within: impl Fn(&[u8]) -> bool) {
            assert!(self.slots.iter().all(|slot| within(slot.of.key())));
            assert!(self.slots.is_sorted_by(|a, b| a.of.key() < b.of.key()));
            assert!(self.slots.iter().all(|slot| head(slot.of.key(), self.skip) == slot.head));
        }
    }

    /// Keys that are alike: short, long, with zeroes, one the beginning of another.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(0xff)];
        prop_oneof![
            3 => prop::collection::vec(byte.clone(), 0..14),
            2 => (prop::collection::vec(byte, 0..3), 0..400u32)
                .prop_map(|(tail, number)| [b"/a/long/prefix/", &number.to_be_bytes()[..], &tail].concat()),
            2 => (0..2000u32).prop_map(|number| format!("key-{number}").into_bytes()),
        ]
    }

    fn steps() -> impl Strategy<Value = Vec<(u8, Vec<u8>, u32)>> {
        prop::collection::vec((0..10u8, key(), any::<u32>()), 1..2500)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_an_ordered_map(steps in steps(), removals in 1..8u8) {
            let (mut tree, mut model) = (Tree::new(), BTreeMap::new());
            for (step, key, value) in steps {
                if step < removals {
                    // Something that is there, or just behind it.
                    let at = model.range(key.clone()..).next().map(|(key, _): (&Vec<u8>, &u32)| key.clone());
                    let key = at.unwrap_or(key);
                    assert_eq!(tree.remove(&key).map(|entry: (_, u32)| entry.1), model.remove(&key));
                } else {
                    let replace = |before: &mut (_, u32), now| Some(std::mem::replace(before, now).1);
                    let old = tree.upsert((key.clone(), value), replace, |_| None);
                    assert_eq!(model.insert(key, value), old);
                }
            }
            tree.root.check(None, None);
            assert_eq!(tree.len(), model.len());
            assert!(tree.from(Bound::Unbounded).map(|entry| (&entry.0, &entry.1)).eq(model.iter()));
            for key in model.keys() {
                assert_eq!(tree.get(key).map(|entry| entry.1), model.get(key).copied());
                for from in [Bound::Included(&key[..]), Bound::Excluded(&key[..])] {
                    let found = tree.from(from).map(|entry| &entry.0).take(3);
                    assert!(found.eq(model.range::<[u8], _>((from, Bound::Unbounded)).map(|(key, _)| key).take(3)));
                }
            }
            for key in model.into_keys().rev() {
                assert!(tree.remove(&key).is_some());
            }
            tree.root.check(None, None);
            assert!(tree.len() == 0 && tree.from(Bound::Unbounded).next().is_none());
        }
    }

    #[test]
    fn keys_in_order_fill_its_leaves() {
        let mut tree = Tree::new();
        for number in 0..10_000u32 {
            tree.upsert((number.to_be_bytes().to_vec(), number), |_, _| (), |_| ());
        }
        fn leaves<E>(node: &Node<E>) -> usize {
            match node {
                Node::Leaf(_) => 1,
                Node::Inner(inner) => inner.children.iter().map(leaves).sum(),
            }
        }
        tree.root.check(None, None);
        assert!(leaves(&tree.root) <= 10_000 / CAPACITY + 1, "{} leaves", leaves(&tree.root));
    }
}
