//! Who owns what after a write: the rules of ownership, for writers that set a whole object and for those that apply.
//!
//! A manager owns the fields it last set. Who changes a field by an update takes it from everybody else. Who applies must not
//! change what others own, unless forced; and what it applied before and no longer does is removed, unless somebody else
//! owns it. (Upstream source: KEP-555, and the reference on server-side apply.)

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Comparison, compare};
use super::element::{Element, same};
use super::fields_of::fields_of;
use super::merge::merge;
use super::place::Place;
use super::problem::Problem;
use super::reconcile::reconcile;
use super::remove::remove;
use super::set::{FieldSet, Pattern};

/// What a manager owns, as of the version of the API in which it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) fields: FieldSet,
    pub(crate) version: String,
    /// Whether it was applied.
    pub(crate) applied: bool,
}

/// The managers of an object, by identity.
pub(crate) type Owners<I> = BTreeMap<I, Owned>;

/// What the rules need to know of an object's type: its versions, and what is nobody's.
pub(crate) trait Versions {
    /// The root of the type at a version; `None`: there is no such version (any longer).
    fn place(&self, version: &str) -> Option<Place<'_>>;

    /// An object at another version. Both versions are there.
    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Problem>;

    /// The fields that a write through this part of the API does not change, whatever it says.
    fn filter(&self, version: &str) -> &Filter;
}

/// Which fields are tracked.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    All,
    /// All but this field of the object, and what is in it.
    Field(&'static str),
    /// All but these and what is below them.
    #[cfg(test)]
    Without(FieldSet),
    /// Only those that match.
    Only(Pattern),
}

impl Filter {
    fn set(&self, set: FieldSet) -> FieldSet {
        match self {
            Self::All => set,
            Self::Field(name) => set.without(&Element::Field(Cow::Borrowed(name))),
            #[cfg(test)]
            Self::Without(left_out) => set.recursive_difference(left_out),
            Self::Only(pattern) => set.matching(pattern),
        }
    }

    pub(super) fn comparison(&self, found: Comparison) -> Comparison {
        let Comparison { added, removed, modified } = found;
        Comparison { added: self.set(added), removed: self.set(removed), modified: self.set(modified) }
    }
}

/// Why a write of ownership fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure<I> {
    /// An object does not have the form of its type, or cannot be had at another version.
    Problem(Problem),
    /// What is applied changes what others own: which fields of whom.
    Conflicts(BTreeMap<I, FieldSet>),
}

impl<I> From<Problem> for Failure<I> {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// One write, on what there is.
pub(crate) struct Write<'w, I> {
    pub(crate) versions: &'w dyn Versions,
    /// The version in which it is written, and in which `live` is.
    pub(crate) version: &'w str,
    pub(crate) live: &'w Value,
    pub(crate) manager: I,
}

impl<I: Clone + Ord> Write<'_, I> {
    /// The owners after `new` has been put in place of what there is, and whether the manager has set anything.
    pub(crate) fn update(&self, new: &Value, owners: Owners<I>) -> Result<(Owners<I>, bool), Failure<I>> {
        let owners = self.reconciled(owners)?;
        let (mut owners, changed) = self.settle(new, owners, true)?;
        if changed.is_same() {
            return Ok((owners, false));
        }
        let Comparison { added, removed, modified } = changed;
        let has_set = !modified.is_empty() || !added.is_empty();
        let mut fields = owners.remove(&self.manager).map(|owned| owned.fields).unwrap_or_default();
        fields.subtract(&removed);
        fields.merge_in(modified);
        fields.merge_in(added);
        if !fields.is_empty() {
            owners.insert(self.manager.clone(), Owned { fields, version: self.version.to_owned(), applied: false });
        }
        Ok((owners, has_set))
    }

    /// The object after `config` has been applied (`None`: as it is), and its owners. `force`: what others own is taken from them.
    pub(crate) fn apply(
        &self,
        config: &Value,
        owners: Owners<I>,
        force: bool,
    ) -> Result<(Option<Value>, Owners<I>), Failure<I>> {
        let mut owners = self.reconciled(owners)?;
        let place = self.place(self.version)?;
        let merged = merge(place, self.live, config)?;
        let fields = self.versions.filter(self.version).set(fields_of(place, config)?);
        let owned = Owned { fields, version: self.version.to_owned(), applied: true };
        let last = owners.insert(self.manager.clone(), owned);
        let new = match last.filter(|last| !last.fields.is_empty()) {
            Some(last) => self.prune(merged, &last, &owners)?,
            None => merged,
        };
        let (owners, _) = self.settle(&new, owners, force)?;
        Ok(((!same(self.live, &new)).then_some(new), owners))
    }

    fn place(&self, version: &str) -> Result<Place<'_>, Problem> {
        self.versions.place(version).ok_or_else(|| Problem::here(format!("there is no version {version}")))
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Problem> {
        if from == to { Ok(Cow::Borrowed(object)) } else { self.versions.convert(object, from, to) }
    }

    /// The owners as the types are now; those at versions that are gone are left for `settle` to drop.
    fn reconciled(&self, mut owners: Owners<I>) -> Result<Owners<I>, Problem> {
        for owned in owners.values_mut() {
            if let Some(place) = self.versions.place(&owned.version)
                && let Some(fields) = reconcile(place, &owned.fields)
            {
                owned.fields = fields;
            }
        }
        Ok(owners)
    }

    /// Takes from everybody but the manager what changes from what there is to `new`, and returns the changes.
    fn settle(&self, new: &Value, mut owners: Owners<I>, force: bool) -> Result<(Owners<I>, Comparison), Failure<I>> {
        let own = compare(self.place(self.version)?, self.live, new)?;
        let own = self.versions.filter(self.version).comparison(own);
        if owners.keys().all(|manager| *manager == self.manager) {
            owners.retain(|_, owned| !owned.fields.is_empty());
            return Ok((owners, own));
        }
        // At each version: what has a new value, and what is gone.
        let mut changes: BTreeMap<String, (FieldSet, FieldSet)> = BTreeMap::new();
        changes.insert(self.version.to_owned(), (own.modified.union(&own.added), own.removed.clone()));
        owners.retain(|manager, owned| *manager == self.manager || self.versions.place(&owned.version).is_some());
        let mut conflicts: BTreeMap<I, FieldSet> = BTreeMap::new();
        for (manager, owned) in owners.iter().filter(|(manager, _)| **manager != self.manager) {
            if !changes.contains_key(&owned.version) {
                let found = compare(
                    self.place(&owned.version)?,
                    &*self.convert(self.live, self.version, &owned.version)?,
                    &*self.convert(new, self.version, &owned.version)?,
                )?;
                let found = self.versions.filter(&owned.version).comparison(found);
                changes.insert(owned.version.clone(), (found.modified.union(&found.added), found.removed));
            }
            let (set, _) = &changes[&owned.version];
            if !set.is_empty() {
                let taken = owned.fields.intersection(set);
                if !taken.is_empty() {
                    conflicts.insert(manager.clone(), taken);
                }
            }
        }
        if !force && !conflicts.is_empty() {
            return Err(Failure::Conflicts(conflicts));
        }
        for (manager, owned) in owners.iter_mut().filter(|(manager, _)| **manager != self.manager) {
            if let Some(taken) = conflicts.get(manager) {
                owned.fields.subtract(taken);
            }
            let (_, removed) = &changes[&owned.version];
            owned.fields.subtract(removed);
        }
        owners.retain(|_, owned| !owned.fields.is_empty());
        Ok((owners, own))
    }

    /// Removes what the manager applied last time and no longer does, and nobody else owns.
    fn prune(&self, merged: Value, last: &Owned, owners: &Owners<I>) -> Result<Value, Problem> {
        let Some(place) = self.versions.place(&last.version) else {
            return Ok(merged);
        };
        let merged = self.convert(&merged, self.version, &last.version)?.into_owned();
        let last_fields = last.fields.with_named_fields(Some(place));
        let pruned = remove(place, &merged, &last_fields);
        let pruned = self.with_owned(&merged, pruned, &last.version, owners)?;
        // What was not the manager's before is not its to remove.
        let kept = fields_of(place, &pruned)?.with_named_fields(Some(place));
        let all = fields_of(place, &merged)?.with_named_fields(Some(place));
        let pruned = remove(place, &merged, &all.difference(&kept).intersection(&last_fields));
        Ok(self.convert(&pruned, &last.version, self.version)?.into_owned())
    }

    /// Adds back what somebody owns, the manager's new fields among it. Both values are at `version`, and so is the outcome.
    fn with_owned(&self, merged: &Value, pruned: Value, version: &str, owners: &Owners<I>) -> Result<Value, Problem> {
        let mut owned: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for owner in owners.values() {
            let fields = owned.entry(&owner.version).or_default();
            *fields = fields.union(&owner.fields);
        }
        let mut pruned = pruned;
        // The version at which fields were removed first: what is missing there may be needed for a conversion.
        let others = owned.keys().filter(|other| **other != version);
        let order: Vec<&str> = owned.keys().filter(|other| **other == version).chain(others).copied().collect();
        for at in order {
            let Some(place) = self.versions.place(at) else {
                continue;
            };
            let whole = self.convert(merged, version, at)?;
            let part = self.convert(&pruned, version, at)?;
            let all = fields_of(place, &whole)?.with_named_fields(Some(place));
            let kept = fields_of(place, &part)?.with_named_fields(Some(place));
            let owned = owned[at].with_named_fields(Some(place));
            let gone = all.difference(&kept.union(&owned));
            let part = remove(place, &whole, &gone);
            pruned = self.convert(&part, at, version)?.into_owned();
        }
        Ok(pruned)
    }
}
