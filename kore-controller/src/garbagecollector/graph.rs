//! Who owns whom, over all resources, and what follows from it: pure.
//!
//! Every object is a node by its uid. An owner that was named but never seen is a node without facts: it has dependents,
//! and whether it exists is to be asked of the server. What the graph says is carried out by the collector, which checks
//! again against the live objects.

use kore_api::Revision;
use kore_api::object::{Object, ObjectKey, OwnerReference, ResourceType};
use kore_api::request::Propagation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The finalizer of an owner whose dependants go first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependants stay.
pub(crate) const ORPHAN: &str = "orphan";

pub(crate) type Uid = Arc<str>;

/// What the graph knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) uid: Uid,
    pub(crate) resource: Arc<ResourceType>,
    pub(crate) key: ObjectKey,
    pub(crate) revision: Revision,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) deleting: bool,
    pub(crate) has_foreground: bool,
    pub(crate) has_orphan: bool,
}

impl Facts {
    pub(crate) fn of(resource: &Arc<ResourceType>, object: &Object) -> Self {
        let mut facts = Facts {
            uid: object.uid().into(),
            resource: resource.clone(),
            key: object.key().clone(),
            revision: object.revision(),
            owners: object.owner_references().to_vec(),
            deleting: object.is_deleting(),
            has_foreground: false,
            has_orphan: false,
        };
        for finalizer in object.finalizers() {
            facts.has_foreground |= finalizer == FOREGROUND;
            facts.has_orphan |= finalizer == ORPHAN;
        }
        facts
    }

    /// It waits for its dependants to go.
    fn waits(&self) -> bool {
        self.deleting && self.has_foreground
    }

    fn blocks(&self, owner: &Uid) -> bool {
        self.owners.iter().any(|reference| *reference.uid == **owner && reference.block_owner_deletion)
    }
}

/// What is to be done about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Nothing,
    /// Its dependants that block it are gone: take the finalizer [`FOREGROUND`] away.
    Finish(Facts),
    /// Take it out of its dependants' owners, then take the finalizer [`ORPHAN`] away.
    Orphan(Facts, Vec<Facts>),
    /// Settle it with its owners.
    Settle(Settle),
}

/// An object some of whose owners are gone, were never seen, or wait for it to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settle {
    pub(crate) facts: Facts,
    /// Owners nobody has seen. Those that the server does not have either are gone.
    pub(crate) unseen: Vec<OwnerReference>,
    /// Owners that wait for their dependants to go.
    pub(crate) waiting: Vec<OwnerReference>,
    /// Whether there is an owner that stays.
    pub(crate) kept: bool,
    /// Whether it has dependants of its own.
    pub(crate) has_dependents: bool,
    /// Whether one of those waits for its own dependants: a circle that has to be broken.
    pub(crate) circle: bool,
}

/// What [`Settle`] comes to once it is known which unseen owners exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, without these owners.
    Disown(Vec<Uid>),
    /// It goes; `unblock`: first it ceases to block its owners.
    Delete { propagation: Propagation, unblock: bool },
}

impl Settle {
    /// The verdict, given the uids of unseen owners that do exist.
    pub(crate) fn verdict(&self, existing: &BTreeSet<&str>) -> Verdict {
        let exists = |owner: &&OwnerReference| existing.contains(&*owner.uid);
        let gone: Vec<&OwnerReference> = self.unseen.iter().filter(|owner| !exists(owner)).collect();
        if self.kept || gone.len() < self.unseen.len() {
            let leave: Vec<Uid> = gone.iter().copied().chain(&self.waiting).map(|owner| (*owner.uid).into()).collect();
            return if leave.is_empty() { Verdict::Keep } else { Verdict::Disown(leave) };
        }
        if gone.is_empty() && self.waiting.is_empty() {
            return Verdict::Keep;
        }
        if !self.waiting.is_empty() && self.has_dependents {
            return Verdict::Delete { propagation: Propagation::Foreground, unblock: self.circle };
        }
        let propagation = if self.facts.has_orphan {
            Propagation::Orphan
        } else if self.facts.has_foreground {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        Verdict::Delete { propagation, unblock: false }
    }
}

/// The graph.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: BTreeMap<Uid, Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// `None` for an owner that was named but not seen.
    facts: Option<Facts>,
    dependents: BTreeSet<Uid>,
}

impl Graph {
    /// An object is as `facts` say; returns whose situation that changes.
    pub(crate) fn seen(&mut self, facts: Facts) -> Vec<Uid> {
        let uid = facts.uid.clone();
        let waits = facts.waits();
        let node = self.nodes.entry(uid.clone()).or_default();
        let before = node.facts.replace(facts.clone());
        if let Some(before) = &before
            && (Facts { revision: facts.revision, ..before.clone() }) == facts
        {
            return Vec::new();
        }
        let mut concerned = BTreeSet::from([uid.clone()]);
        if waits && !before.as_ref().is_some_and(Facts::waits) {
            concerned.extend(node.dependents.iter().cloned());
        }
        let owned_before = before.iter().flat_map(|before| &before.owners);
        for owner in owned_before {
            let owner: Uid = (*owner.uid).into();
            if !facts.blocks(&owner) {
                concerned.insert(owner.clone()); // It may have waited for this.
            }
            if !facts.owners.iter().any(|now| *now.uid == *owner) {
                self.part(&owner, &uid);
            }
        }
        for owner in &facts.owners {
            self.nodes.entry((*owner.uid).into()).or_default().dependents.insert(uid.clone());
        }
        concerned.into_iter().collect()
    }

    /// The object of this uid is gone; returns whose situation that changes.
    pub(crate) fn gone(&mut self, uid: &str) -> Vec<Uid> {
        let Some((uid, _)) = self.nodes.get_key_value(uid) else {
            return Vec::new();
        };
        let uid = uid.clone();
        let node = self.nodes.get_mut(&uid).expect("found above");
        let facts = node.facts.take();
        let mut concerned: Vec<Uid> = node.dependents.iter().cloned().collect();
        if node.dependents.is_empty() {
            self.nodes.remove(&uid);
        }
        for owner in facts.iter().flat_map(|facts| &facts.owners) {
            let owner: Uid = (*owner.uid).into();
            self.part(&owner, &uid);
            concerned.push(owner);
        }
        concerned
    }

    /// What is to be done about the object now.
    pub(crate) fn task(&self, uid: &str) -> Task {
        let Some(node) = self.nodes.get(uid) else {
            return Task::Nothing;
        };
        let Some(facts) = &node.facts else {
            return Task::Nothing;
        };
        let dependents = || node.dependents.iter().filter_map(|uid| self.facts(uid));
        if facts.deleting {
            if facts.has_foreground {
                let blocked = dependents().any(|dependent| dependent.blocks(&facts.uid));
                return if blocked { Task::Nothing } else { Task::Finish(facts.clone()) };
            }
            if facts.has_orphan {
                return Task::Orphan(facts.clone(), dependents().cloned().collect());
            }
            return Task::Nothing;
        }
        let mut settle = Settle {
            facts: facts.clone(),
            unseen: Vec::new(),
            waiting: Vec::new(),
            kept: false,
            has_dependents: dependents().next().is_some(),
            circle: dependents().any(Facts::waits),
        };
        for owner in &facts.owners {
            match self.facts(&owner.uid) {
                // An owner is in the same namespace or in none; one elsewhere is none.
                Some(found) if !found.key.namespace.is_empty() && found.key.namespace != facts.key.namespace => {
                    settle.unseen.push(owner.clone());
                }
                Some(found) if found.waits() => settle.waiting.push(owner.clone()),
                Some(_) => settle.kept = true,
                None => settle.unseen.push(owner.clone()),
            }
        }
        if settle.unseen.is_empty() && settle.waiting.is_empty() {
            return Task::Nothing;
        }
        Task::Settle(settle)
    }

    fn facts(&self, uid: &str) -> Option<&Facts> {
        self.nodes.get(uid)?.facts.as_ref()
    }

    /// `dependent` no longer names `owner`.
    fn part(&mut self, owner: &Uid, dependent: &Uid) {
        if let Some(node) = self.nodes.get_mut(owner) {
            node.dependents.remove(dependent);
            if node.facts.is_none() && node.dependents.is_empty() {
                self.nodes.remove(owner);
            }
        }
    }
}
