//! Sets of fields, and their algebra.

use std::cmp::Ordering;
use std::fmt;

use super::element::Element;
use super::place::Place;

/// A set of paths, as a tree. A path may be a member without its children being members, and the other way round: who owns
/// an item of a list owns the item's own path, and each of its fields besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// Sorted. No node is there for nothing: it is a member, or has children.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    element: Element,
    is_member: bool,
    children: FieldSet,
}

/// The set without members.
pub(crate) static EMPTY: FieldSet = FieldSet { nodes: Vec::new() };

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many paths are members.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.is_member) + node.children.len()).sum()
    }

    fn find(&self, element: &Element) -> Result<usize, usize> {
        // Sets are mostly made in order.
        match self.nodes.last().map(|last| last.element.cmp(element)) {
            None | Some(Ordering::Less) => Err(self.nodes.len()),
            Some(Ordering::Equal) => Ok(self.nodes.len() - 1),
            Some(Ordering::Greater) => self.nodes.binary_search_by(|node| node.element.cmp(element)),
        }
    }

    fn node(&mut self, element: Element) -> &mut Node {
        let at = match self.find(&element) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, Node { element, is_member: false, children: Self::default() });
                at
            }
        };
        &mut self.nodes[at]
    }

    /// Makes a direct child a member.
    pub(crate) fn insert(&mut self, element: Element) {
        self.node(element).is_member = true;
    }

    /// Makes a path a member; the empty one never is.
    #[cfg(test)]
    pub(crate) fn insert_path(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => self.insert(last.clone()),
            [first, rest @ ..] => self.node(first.clone()).children.insert_path(rest),
        }
    }

    /// Adds what is below a direct child.
    pub(crate) fn add_below(&mut self, element: Element, children: FieldSet) {
        if !children.is_empty() {
            let node = self.node(element);
            node.children.merge_in(children);
        }
    }

    /// Whether a direct child is a member.
    pub(crate) fn contains(&self, element: &Element) -> bool {
        self.find(element).is_ok_and(|at| self.nodes[at].is_member)
    }

    /// Whether a path is a member.
    #[cfg(test)]
    pub(crate) fn contains_path(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.contains(last),
            [first, rest @ ..] => self.below(first).contains_path(rest),
        }
    }

    /// What is below a direct child.
    pub(crate) fn below(&self, element: &Element) -> &FieldSet {
        self.find(element).map_or(&EMPTY, |at| &self.nodes[at].children)
    }

    /// The direct children: each with whether it is a member, and what is below it.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&Element, bool, &FieldSet)> {
        self.nodes.iter().map(|node| (&node.element, node.is_member, &node.children))
    }

    /// Every member, parents before their children.
    pub(crate) fn paths(&self) -> Vec<Vec<Element>> {
        fn walk(set: &FieldSet, path: &mut Vec<Element>, found: &mut Vec<Vec<Element>>) {
            for node in &set.nodes {
                path.push(node.element.clone());
                if node.is_member {
                    found.push(path.clone());
                }
                walk(&node.children, path, found);
                path.pop();
            }
        }
        let mut found = Vec::new();
        walk(self, &mut Vec::new(), &mut found);
        found
    }

    fn from_nodes(nodes: impl Iterator<Item = Node>) -> Self {
        Self { nodes: nodes.filter(|node| node.is_member || !node.children.is_empty()).collect() }
    }

    /// Walks both in order: what is only here, only there, in both.
    fn zip<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = (Option<&'s Node>, Option<&'s Node>)> {
        let (mut left, mut right) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        std::iter::from_fn(move || match (left.peek(), right.peek()) {
            (None, None) => None,
            (Some(_), None) => Some((left.next(), None)),
            (None, Some(_)) => Some((None, right.next())),
            (Some(here), Some(there)) => Some(match here.element.cmp(&there.element) {
                Ordering::Less => (left.next(), None),
                Ordering::Greater => (None, right.next()),
                Ordering::Equal => (left.next(), right.next()),
            }),
        })
    }

    /// Adds what is in another.
    pub(crate) fn merge_in(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for node in other.nodes {
            let here = self.node(node.element);
            here.is_member |= node.is_member;
            here.children.merge_in(node.children);
        }
    }

    /// Takes away what is in another, path by path.
    pub(crate) fn subtract(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let mut there = other.nodes.iter().peekable();
        self.nodes.retain_mut(|here| {
            while there.next_if(|node| node.element < here.element).is_some() {}
            if let Some(node) = there.next_if(|node| node.element == here.element) {
                here.is_member &= !node.is_member;
                here.children.subtract(&node.children);
            }
            here.is_member || !here.children.is_empty()
        });
    }

    /// All but a direct child and what is below it.
    pub(crate) fn without(mut self, element: &Element) -> Self {
        if let Ok(at) = self.find(element) {
            self.nodes.remove(at);
        }
        self
    }

    /// What is in either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        Self::from_nodes(self.zip(other).map(|pair| match pair {
            (Some(here), Some(there)) => Node {
                element: here.element.clone(),
                is_member: here.is_member || there.is_member,
                children: here.children.union(&there.children),
            },
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => unreachable!("a pair holds something"),
        }))
    }

    /// What is in both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        Self::from_nodes(self.zip(other).filter_map(|pair| match pair {
            (Some(here), Some(there)) => Some(Node {
                element: here.element.clone(),
                is_member: here.is_member && there.is_member,
                children: here.children.intersection(&there.children),
            }),
            _ => None,
        }))
    }

    /// What is here and not there, path by path: a child whose parent alone is there stays.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    /// What is here and is neither there nor below anything that is.
    pub(crate) fn recursive_difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        Self::from_nodes(self.zip(other).filter_map(|pair| match pair {
            (Some(_), Some(there)) if there.is_member => None,
            (Some(here), Some(there)) => Some(Node {
                element: here.element.clone(),
                is_member: here.is_member,
                children: here.children.recursive_difference(&there.children),
            }),
            (Some(here), None) => Some(here.clone()),
            (None, _) => None,
        }))
    }

    /// The members that have no members below.
    pub(crate) fn leaves(&self) -> Self {
        Self::from_nodes(self.nodes.iter().map(|node| Node {
            element: node.element.clone(),
            is_member: node.is_member && node.children.is_empty(),
            children: node.children.leaves(),
        }))
    }

    /// With the fields that a type declares as members where something below them is: they are not tracked by themselves, but go
    /// when everything in them does.
    pub(crate) fn with_named_fields(&self, place: Option<Place<'_>>) -> Self {
        let atom = place.map(Place::atom);
        let map = atom.as_ref().and_then(|atom| atom.map.as_ref());
        let list = atom.as_ref().and_then(|atom| atom.list.as_ref());
        let nodes = self.nodes.iter().map(|node| {
            let (named, inner) = match &node.element {
                Element::Field(name) => {
                    let declared = map.and_then(|map| map.declared(name));
                    (declared.is_some(), declared.or_else(|| map.and_then(|map| map.element())))
                }
                Element::Key(_) => (false, list.map(|list| list.element)),
                _ => (false, None),
            };
            Node {
                element: node.element.clone(),
                is_member: node.is_member || (named && !node.children.is_empty()),
                children: node.children.with_named_fields(inner),
            }
        });
        Self { nodes: nodes.collect() }
    }

    /// Only what a pattern lets through, and what is on the way to it.
    pub(crate) fn matching(&self, pattern: &Pattern) -> Self {
        let Pattern::Only(wanted) = pattern else {
            return self.clone();
        };
        Self::from_nodes(self.nodes.iter().filter_map(|node| {
            let (_, below) =
                wanted.iter().find(|(element, _)| element.as_ref().is_none_or(|element| *element == node.element))?;
            let children = node.children.matching(below);
            Some(Node { element: node.element.clone(), is_member: node.is_member, children })
        }))
    }
}

/// Which paths a filter lets through.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// All from here on.
    All,
    /// Those that go on with one of these elements (`None`: any) and match from there on.
    Only(Vec<(Option<Element>, Pattern)>),
}

/// One path a line.
impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.paths().iter().enumerate() {
            let line = if index > 0 { "\n" } else { "" };
            write!(f, "{line}{}", path_text(path))?;
        }
        Ok(())
    }
}

/// A path as conflicts show it: `.spec.containers[name="a"].image`.
pub(crate) fn path_text(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}
