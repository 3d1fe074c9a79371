//! Quotas: every write is charged in its own transaction, so that no more is ever used than there may be, and what is shown as used is.
//!
//! Writes that a quota counts go one after the other in a namespace (fairly, in the order in which they come), so that none is overtaken
//! for ever; among several servers over one store the transaction's conditions decide, and who has lost tries again. A quota that is
//! made or changed counts everything that there is, while no other write is on its way.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use kore_store::{Compare, KeyRange, Op, Relation, Revision, Target, Txn};
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::commit::encoded;
use super::core::Call;
use super::routes::{Route, Routes};
use crate::cache::{Pending, ResourceCache, entries};
use crate::error::Status;
use crate::object::{Object, ObjectKey, ResourceType};
use crate::quota::{Amounts, Counted, Exceeded, Quota, difference, unstated, usage};

/// Who may write what quotas count.
#[derive(Default)]
pub(super) struct Quotas {
    /// Held alone while everything is counted.
    counting: RwLock<()>,
    /// By namespace: held while a write is charged. As many as there are namespaces with such writes at the moment.
    turns: std::sync::Mutex<BTreeMap<Arc<str>, Arc<Mutex<()>>>>,
}

impl Quotas {
    async fn turn(&self, namespace: &Arc<str>) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(namespace.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// What quotas add to a write.
#[derive(Default)]
pub(super) struct Charge<'q> {
    conditions: Vec<Compare>,
    updates: Vec<Update>,
    /// Held until the write has been decided.
    _turn: Option<OwnedMutexGuard<()>>,
    _others: Option<RwLockReadGuard<'q, ()>>,
    _alone: Option<RwLockWriteGuard<'q, ()>>,
}

/// Another object, a quota most often, as it becomes.
struct Update {
    cache: Arc<ResourceCache>,
    pending: Arc<Pending>,
    expected: Revision,
}

impl Charge<'_> {
    /// What else is written with it.
    pub(super) fn also(&mut self, routes: &Routes, besides: Vec<(ResourceType, Object, Value)>) -> Result<(), Status> {
        for (resource, old, new) in besides {
            let route = routes.find(&resource)?;
            let pending = encoded(route, old.key(), new, old.managed_fields().cloned())?;
            self.updates.push(Update { cache: route.cache.clone(), pending, expected: old.revision() });
        }
        Ok(())
    }

    /// The transaction with what quotas add to it.
    pub(super) fn add(&self, txn: Txn) -> Txn {
        let txn = self.conditions.iter().cloned().fold(txn, Txn::when);
        self.updates.iter().fold(txn, |txn, Update { pending, expected, .. }| {
            let put = kore_store::Put::new(pending.key().clone(), pending.value().clone());
            txn.when(Compare::mod_revision(pending.key().clone(), *expected)).then(Op::Put(put))
        })
    }

    /// Leaves the quotas for the caches: the write is about to be sent.
    pub(super) fn leave(&self) {
        for update in &self.updates {
            update.cache.handoff.leave(update.pending.clone());
        }
    }

    /// The write did not happen.
    pub(super) fn take_back(&self) {
        for update in &self.updates {
            update.cache.handoff.take_back(&update.pending);
        }
    }
}

fn quotas(routes: &Routes) -> Option<&Arc<Route>> {
    routes.get("", "v1", "resourcequotas")
}

impl<'a> Call<'a> {
    /// Charges a write: what was there (`None`: nothing), what will be (`None`: nothing).
    pub(super) async fn charge(
        &self,
        key: &ObjectKey,
        old: Option<&Value>,
        new: Option<&mut Value>,
    ) -> Result<Charge<'a>, Status> {
        let routes = self.core.resources.now();
        let Some(route) = quotas(&routes).filter(|_| !key.namespace.is_empty()) else {
            return Ok(Charge::default());
        };
        let is_quota = Arc::ptr_eq(&route.cache, &self.route.cache);
        match (is_quota, new) {
            (true, Some(new)) if old.is_none_or(|old| old["spec"] != new["spec"]) => {
                self.count_all(key, old, new, &routes).await
            }
            (_, new) => self.charge_to(route, key, old, new.as_deref()).await,
        }
    }

    async fn charge_to(
        &self,
        route: &Arc<Route>,
        key: &ObjectKey,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Result<Charge<'a>, Status> {
        let (was, is) = (old.map(|old| self.counted(old)), new.map(|new| self.counted(new)));
        let charge = Charge { _others: Some(self.core.quotas.counting.read().await), ..Charge::default() };
        self.charge_more(charge, route, key, (was, is)).await
    }

    /// Adds to a charge what a write changes of what the quotas of its namespace count.
    async fn charge_more(
        &self,
        mut charge: Charge<'a>,
        route: &Arc<Route>,
        key: &ObjectKey,
        (was, is): (Option<Counted<'_>>, Option<Counted<'_>>),
    ) -> Result<Charge<'a>, Status> {
        let quotas = &self.core.quotas;
        let mut found = self.quotas_of(route, &key.namespace);
        if found.objects.is_empty() && was.is_some() && is.is_some() {
            return Ok(charge);
        }
        if !found.objects.is_empty() {
            let concerned =
                |found: &Found| found.objects.iter().any(|(_, quota)| !change(Quota(quota), was, is).is_empty());
            if concerned(&found) {
                charge._turn = Some(quotas.turn(&key.namespace).await);
                // Who had the turn before has changed what is used.
                self.core.catch_up().await?;
                found = self.quotas_of(route, &key.namespace);
            }
        }
        for (object, value) in &found.objects {
            let quota = Quota(value);
            if let (Some(is), None) = (is, was)
                && is.plural == "pods"
                && is.group.is_empty()
                && quota.counts(is)
            {
                let missing = unstated(quota, is.object);
                if !missing.is_empty() {
                    let problem = format!("failed quota: {}: must specify {}", quota.name(), missing.join("; "));
                    return Err(Status::forbidden(self.resource(), &key.name, problem));
                }
            }
            let change = change(quota, was, is);
            if change.is_empty() {
                continue;
            }
            let status = quota.charged(&change).map_err(|exceeded| {
                let (name, quota) = (&key.name, quota.name());
                let problem = match exceeded {
                    Exceeded::Limits(asked, used, limited) => {
                        format!("exceeded quota: {quota}, requested: {asked}, used: {used}, limited: {limited}")
                    }
                    Exceeded::Unknown(resources) => {
                        format!("status unknown for quota: {quota}, resources: {resources}")
                    }
                };
                Status::forbidden(self.resource(), name, problem)
            })?;
            let mut changed = value.clone();
            changed["status"] = status;
            let pending = encoded(route, object.key(), changed, object.managed_fields().cloned())?;
            charge.updates.push(Update { cache: route.cache.clone(), pending, expected: object.revision() });
        }
        // A quota that comes about meanwhile counts what it does not see, unless this waits for it.
        if was.is_none() || is.is_none() {
            let prefix = format!("{}{}/", route.prefix, key.namespace);
            let unchanged = Target::ModRevision(found.seen + 1);
            charge.conditions.push(Compare::new(KeyRange::Prefix(prefix.into()), unchanged).is(Relation::Less));
        }
        Ok(charge)
    }

    fn counted<'v>(&'v self, object: &'v Value) -> Counted<'v> {
        let resource = self.route.info.stored();
        Counted { group: &resource.group, plural: &resource.plural, object }
    }

    /// The quotas of a namespace, and up to which revision that is all.
    fn quotas_of(&self, route: &Route, namespace: &str) -> Found {
        let progress = self.core.caches.progress();
        let (snapshot, _, _) = route.cache.snapshot();
        let objects = entries(&snapshot, Some(namespace), None).filter_map(|entry| {
            let value = serde_json::from_slice(entry.object.body()).ok()?;
            Some((entry.object.clone(), value))
        });
        let objects: Vec<(Object, Value)> = objects.collect();
        // Changes are taken over in order: what is seen of a revision is seen of all before.
        let seen = objects.iter().map(|(object, _)| object.revision()).fold(progress, Revision::max);
        Found { objects, seen }
    }

    /// Counts everything that a new or changed quota limits.
    async fn count_all(
        &self,
        key: &ObjectKey,
        old: Option<&Value>,
        new: &mut Value,
        routes: &Routes,
    ) -> Result<Charge<'a>, Status> {
        let alone = self.core.quotas.counting.write().await;
        self.core.catch_up().await?;
        let mut snapshots = Vec::new();
        for route in routes.stored() {
            let (snapshot, _, _) = route.cache.snapshot();
            snapshots.push((route.info.stored().clone(), snapshot));
        }
        let quota = Quota(new);
        let mut counted: Vec<(usize, Value)> = Vec::new();
        for (at, (resource, snapshot)) in snapshots.iter().enumerate() {
            let is_limited = |name: &str| quota.limits(name);
            let is_plain = resource.group.is_empty();
            let name =
                if is_plain { resource.plural.to_string() } else { format!("{}.{}", resource.plural, resource.group) };
            let matters = is_limited(&format!("count/{name}"))
                || is_plain && matches!(&*resource.plural, "pods" | "services" | "persistentvolumeclaims")
                || is_plain && is_limited(&resource.plural);
            if !matters {
                continue;
            }
            for entry in entries(snapshot, Some(&key.namespace), None) {
                counted.push((at, serde_json::from_slice(entry.object.body()).map_err(Status::internal)?));
            }
        }
        if old.is_none() {
            // It counts itself.
            let at = snapshots
                .iter()
                .position(|(resource, _)| resource.group.is_empty() && resource.plural == "resourcequotas");
            counted.extend(at.map(|at| (at, Value::Null)));
        }
        let objects = counted.iter().map(|(at, object)| {
            let resource = &snapshots[*at].0;
            Counted { group: &resource.group, plural: &resource.plural, object }
        });
        let status = quota.counted(objects);
        new["status"] = status;
        // It is itself an object that others may count.
        let charge = Charge { _alone: Some(alone), ..Charge::default() };
        let route = quotas(routes).ok_or_else(|| Status::internal("there are no quotas"))?;
        self.charge_more(charge, route, key, (old.map(|old| self.counted(old)), Some(self.counted(new)))).await
    }
}

struct Found {
    objects: Vec<(Object, Value)>,
    seen: Revision,
}

/// What a write changes of what a quota limits.
fn change(quota: Quota<'_>, was: Option<Counted<'_>>, is: Option<Counted<'_>>) -> Amounts {
    let of =
        |counted: Option<Counted<'_>>| counted.filter(|counted| quota.counts(*counted)).map(usage).unwrap_or_default();
    let mut change = difference(&of(was), &of(is));
    change.retain(|name, _| quota.limits(name));
    change
}
