//! One write as one transaction of the store.

use std::sync::Arc;

use bytes::Bytes;
use kore_store::{Compare, Error, KeyValue, Op, OpResponse, Revision, Txn, TxnResponse};
use serde_json::Value;

use super::claims::Claimed;
use super::core::Call;
use super::routes::Route;
use super::terms::Terms;
use crate::cache::{Pending, layout};
use crate::error::{Reason, Status};
use crate::object::{Object, ObjectKey};
use crate::schema;

/// What became of a write.
pub(super) enum Outcome {
    /// It happened.
    Written(Object),
    /// It did not: the object is another now, or none.
    Changed(Option<Object>),
    /// It did not: something else that it relied on has changed.
    Overtaken,
}

/// What a write puts in place of what.
pub(super) struct Put<'a> {
    pub(super) key: &'a ObjectKey,
    /// What there must be; `None`: nothing.
    pub(super) old: Option<(&'a Object, &'a Value)>,
    pub(super) new: Value,
    /// `metadata.managedFields` of it.
    pub(super) managed: Option<Bytes>,
    /// What else must hold, and happens.
    pub(super) terms: Terms,
}

/// How often a value that the server has chosen may turn out to be taken.
const CHOICES_MAX: usize = 16;

impl Call<'_> {
    /// Writes an object if what there is has not changed.
    pub(super) async fn put(&self, put: Put<'_>) -> Result<Outcome, Status> {
        let strategy = &self.route.info.strategy;
        let mut put = put;
        let mut charge = self.charge(put.key, put.old.map(|(_, old)| old), Some(&mut put.new)).await?;
        charge.also(&self.core.resources.now(), std::mem::take(&mut put.terms.besides))?;
        let held = put.old.map(|(_, old)| self.core.claimed(strategy.claims(old))).unwrap_or_default();
        let sent = strategy.claims(&put.new);
        // Only what the server may have to choose again is kept.
        let wishes = sent.iter().any(|claim| claim.value.is_null()).then(|| put.new.clone());
        let sent = self.core.claimed(sent);
        let mut next = Some(put.new);
        for choice in 0..CHOICES_MAX {
            let Some(mut new) = next.take().or_else(|| wishes.clone()) else {
                break;
            };
            if self.core.choose(&**strategy, &mut new, choice > 0).await? {
                self.route.info.fill(&mut new);
            }
            let wanted = self.core.claimed(strategy.claims(&new));
            let taken: Vec<Claimed> = wanted.iter().filter(|claim| !held.contains(claim)).cloned().collect();
            let released: Vec<Claimed> = held.iter().filter(|claim| !wanted.contains(claim)).cloned().collect();
            self.core.check_claims(self.resource(), put.key, &taken)?;

            let lease = match self.route.info.time_to_live {
                Some(lifetime) if !self.options.dry_run => {
                    self.core.lifetimes.lease(&*self.core.store, lifetime).await?
                }
                _ => 0,
            };
            let pending = self.pending(put.key, self.stored(new).await?, put.managed.clone())?;
            let expected = put.old.map_or(0, |(old, _)| old.revision());
            let mut txn = self.guarded(pending.key(), expected, &put.terms.guards);
            let written = kore_store::Put::new(pending.key().clone(), pending.value().clone());
            txn = txn.then(Op::Put(written.lease(lease)));
            let owner = format!("{} {}", self.resource(), put.key);
            for claim in &taken {
                txn = txn.when(Compare::mod_revision(claim.key.clone(), 0));
                txn = txn.then(Op::put(claim.key.clone(), owner.clone())).otherwise(Op::get(claim.key.clone()));
            }
            for claim in &released {
                txn = txn.then(Op::delete(claim.key.clone()));
            }
            if self.options.dry_run {
                return self.pretend(&pending, expected, txn).await;
            }
            txn = charge.add(txn);
            charge.leave();
            self.route.cache.handoff.leave(pending.clone());
            let answer = self.core.store.txn(txn).await;
            match answer {
                Ok(answer) if answer.succeeded => {
                    let written = pending.at(answer.revision).object;
                    return Ok(Outcome::Written(self.route.show(written).await?));
                }
                Ok(answer) => {
                    self.route.cache.handoff.take_back(&pending);
                    charge.take_back();
                    if let Some(changed) = self.changed(&answer, expected)? {
                        return Ok(Outcome::Changed(changed));
                    }
                    let Some(lost) = lost_claim(&answer, &taken) else {
                        return Ok(Outcome::Overtaken);
                    };
                    if sent.contains(&lost) {
                        return Err(self.core.claim_taken(self.resource(), put.key, &lost));
                    }
                }
                Err(Error::LeaseNotFound { .. }) if lease != 0 => {
                    self.route.cache.handoff.take_back(&pending);
                    charge.take_back();
                    self.core.lifetimes.forget(lease).await;
                    return Ok(Outcome::Overtaken);
                }
                Err(error) => {
                    // One that may have happened is left for the event that would tell.
                    if !error.is_outcome_unknown() {
                        self.route.cache.handoff.take_back(&pending);
                        charge.take_back();
                    }
                    return Err(store_failed(error));
                }
            }
        }
        Err(Status::new(
            Reason::ServerTimeout,
            "every address or port that was chosen has been taken by others meanwhile",
        ))
    }

    /// Removes an object if it has not changed.
    pub(super) async fn remove(
        &self,
        key: &ObjectKey,
        old: &Object,
        old_value: &Value,
        terms: Terms,
    ) -> Result<Outcome, Status> {
        if self.options.dry_run {
            return Ok(Outcome::Written(old.clone()));
        }
        let stored = layout::object_key(&self.route.prefix, key);
        let mut charge = self.charge(key, Some(old_value), None).await?;
        charge.also(&self.core.resources.now(), terms.besides)?;
        let mut txn = charge.add(self.guarded(&stored, old.revision(), &terms.guards)).then(Op::delete(stored.clone()));
        for claim in self.core.claimed(self.route.info.strategy.claims(old_value)) {
            txn = txn.then(Op::delete(claim.key));
        }
        if let Some(defined) = self.route.info.strategy.defines(old_value) {
            // There are none left, unless one was made at the last moment.
            txn = txn.then(Op::delete_prefix(layout::resource_prefix(&defined)));
        }
        charge.leave();
        let answer = self.core.store.txn(txn).await;
        let happened = match &answer {
            Ok(answer) => answer.succeeded,
            Err(error) => error.is_outcome_unknown(),
        };
        if !happened {
            charge.take_back();
        }
        let answer = answer.map_err(store_failed)?;
        if answer.succeeded {
            return Ok(Outcome::Written(old.clone()));
        }
        Ok(match self.changed(&answer, old.revision())? {
            Some(changed) => Outcome::Changed(changed),
            None => Outcome::Overtaken,
        })
    }

    /// An object as the store itself has it.
    pub(super) async fn read(&self, key: &ObjectKey) -> Result<Option<Object>, Status> {
        let stored = layout::object_key(&self.route.prefix, key);
        let found = self.core.store.get(stored).await.map_err(store_failed)?;
        found.map(|kv| self.read_kv(key, &kv)).transpose()
    }

    /// The object of a pair; the one in the cache, if it is the same.
    fn read_kv(&self, key: &ObjectKey, kv: &KeyValue) -> Result<Object, Status> {
        let cached = self.route.cache.get(key).map(|entry| entry.object);
        match cached.filter(|object| object.revision() == kv.mod_revision) {
            Some(object) => Ok(object),
            None => self.route.cache.decode(kv).map_err(Status::internal),
        }
    }

    fn pending(&self, key: &ObjectKey, new: Value, managed: Option<Bytes>) -> Result<Arc<Pending>, Status> {
        encoded(self.route, key, new, managed)
    }

    /// A transaction that finds what it is about unchanged, or reads it.
    fn guarded(&self, key: &Bytes, expected: Revision, guards: &[Compare]) -> Txn {
        let txn = Txn::new().when(Compare::mod_revision(key.clone(), expected)).otherwise(Op::get(key.clone()));
        guards.iter().cloned().fold(txn, Txn::when)
    }

    /// A dry run: everything but the writing.
    async fn pretend(&self, pending: &Pending, expected: Revision, txn: Txn) -> Result<Outcome, Status> {
        let mut reads = Txn::new();
        reads.success = txn.failure;
        let answer = self.core.store.txn(reads).await.map_err(store_failed)?;
        match self.changed(&answer, expected)? {
            Some(changed) => Ok(Outcome::Changed(changed)),
            None => Ok(Outcome::Written(self.route.show(pending.at(expected).object).await?)),
        }
    }

    /// What there is instead of what was expected; `None`: it is as expected.
    fn changed(&self, answer: &TxnResponse, expected: Revision) -> Result<Option<Option<Object>>, Status> {
        let Some(OpResponse::Range(found)) = answer.responses.first() else {
            return Err(Status::internal("the store did not answer the read of a failed transaction"));
        };
        let found = found.kvs.first();
        if found.map_or(0, |kv| kv.mod_revision) == expected {
            return Ok(None);
        }
        let object = found.map(|kv| match layout::split(&kv.key) {
            Some((_, object)) => self.read_kv(&layout::named(object), kv),
            None => Err(Status::internal("a key without an object")),
        });
        Ok(Some(object.transpose()?))
    }
}

/// An object as it goes to the store.
pub(super) fn encoded(
    route: &Route,
    key: &ObjectKey,
    mut new: Value,
    managed: Option<Bytes>,
) -> Result<Arc<Pending>, Status> {
    if let Some(schema) = &route.schema {
        schema::add_always_there(schema, &mut new);
    }
    let fields = route.cache.fields_of(&new);
    let object =
        Object::with_managed_fields(new, managed, 0).map_err(|error| Status::bad_request(error.to_string()))?;
    let value: Bytes = layout::encode(&object);
    Ok(Pending::new(layout::object_key(&route.prefix, key), value, object, fields))
}

/// The claim that somebody else has.
fn lost_claim(answer: &TxnResponse, taken: &[Claimed]) -> Option<Claimed> {
    let reads = answer.responses.iter().skip(1);
    let exists = |response: &OpResponse| matches!(response, OpResponse::Range(found) if !found.kvs.is_empty());
    reads.zip(taken).find(|(response, _)| exists(response)).map(|(_, claim)| claim.clone())
}

/// What a client is told when the store fails.
pub(super) fn store_failed(error: Error) -> Status {
    match error {
        Error::TooLarge { .. } => Status::new(Reason::RequestEntityTooLarge, error.to_string()),
        Error::Unavailable { .. } | Error::QuotaExceeded { .. } => {
            Status::new(Reason::ServiceUnavailable, error.to_string())
        }
        Error::OutcomeUnknown { .. } => Status::new(Reason::ServerTimeout, error.to_string()),
        Error::Compacted { .. } => Status::new(Reason::Expired, error.to_string()),
        other => Status::internal(other),
    }
}
