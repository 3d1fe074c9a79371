//! Choosing and holding what no two objects may share.

use std::collections::BTreeSet;

use bytes::Bytes;
use kore_store::Range;
use serde_json::Value;

use super::commit::store_failed;
use super::core::Core;
use crate::cache::layout;
use crate::error::{FieldError, Status};
use crate::object::{ObjectKey, ResourceType};
use crate::registry::{Claim, Pool, Strategy};

/// A claim on a pool that the server has, and the key that stands for it in the store.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) key: Bytes,
    pub(super) claim: Claim,
}

/// The same claim is the one on the same value, wherever in the object it stands.
impl PartialEq for Claimed {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Core {
    /// The claims on pools of this server that have a value, each value once.
    pub(super) fn claimed(&self, claims: Vec<Claim>) -> Vec<Claimed> {
        let mut claimed: Vec<Claimed> = Vec::new();
        for claim in claims {
            if claim.value.is_null() || !self.pools.contains_key(claim.pool) {
                continue;
            }
            let key = Bytes::from(format!("{}{}", layout::claims_prefix(claim.pool), claim.text()));
            let claim = Claimed { key, claim };
            if !claimed.contains(&claim) {
                claimed.push(claim);
            }
        }
        claimed
    }

    /// Chooses a value for every claim that wants one, and writes it to the object; whether there was any. With `carefully`
    /// only values are chosen that are free according to the store; without, any may turn out to be taken.
    pub(super) async fn choose(
        &self,
        strategy: &dyn Strategy,
        object: &mut Value,
        carefully: bool,
    ) -> Result<bool, Status> {
        let mut chosen: BTreeSet<(&str, String)> = BTreeSet::new();
        let claims = strategy.claims(object);
        chosen.extend(claims.iter().filter(|claim| !claim.value.is_null()).map(|claim| (claim.pool, claim.text())));
        let before = chosen.len();
        for mut claim in claims {
            let Some(pool) = self.pools.get(claim.pool).filter(|_| claim.value.is_null()) else {
                continue;
            };
            if carefully {
                self.note_taken(claim.pool, &mut chosen).await?;
            }
            claim.value = self.free_value(&claim, pool, &chosen)?;
            chosen.insert((claim.pool, claim.text()));
            set(object, &claim.pointer(), claim.value);
        }
        Ok(chosen.len() > before)
    }

    async fn note_taken<'a>(&self, pool: &'a str, chosen: &mut BTreeSet<(&'a str, String)>) -> Result<(), Status> {
        let prefix = layout::claims_prefix(pool);
        let taken = self.store.range(Range::prefix(prefix.clone()).keys_only()).await.map_err(store_failed)?;
        let texts = taken.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key[prefix.len()..]).into_owned());
        chosen.extend(texts.map(|text| (pool, text)));
        Ok(())
    }

    /// A value that is not known to be taken: a random one, first of those that are not kept for people's own choice.
    fn free_value(&self, claim: &Claim, pool: &Pool, taken: &BTreeSet<(&str, String)>) -> Result<Value, Status> {
        let kept = pool.kept_for_people();
        for (first, end) in [(kept, pool.count()), (0, kept)] {
            let count = end - first;
            if count == 0 {
                continue;
            }
            let start = self.entropy.below(count.into()) as u32;
            for step in 0..count {
                let mut candidate = claim.clone();
                candidate.value = pool.value(first + (start + step) % count);
                if !taken.contains(&(claim.pool, candidate.text())) {
                    return Ok(candidate.value);
                }
            }
        }
        Err(Status::internal(format!("failed to allocate a value for {}: the range {pool} is full", claim.field)))
    }

    /// Refuses values that are not in their pool.
    pub(super) fn check_claims(
        &self,
        resource: &ResourceType,
        key: &ObjectKey,
        claims: &[Claimed],
    ) -> Result<(), Status> {
        let outside = |Claimed { claim, .. }: &Claimed| {
            let pool = self.pools.get(claim.pool).filter(|pool| !pool.contains(&claim.value))?;
            let noun = pool.noun();
            let problem = format!("provided {noun} is not in the valid range. The range of valid {noun}s is {pool}");
            Some(FieldError::invalid(claim.field.clone(), claim.value.clone(), problem))
        };
        let errors: Vec<FieldError> = claims.iter().filter_map(outside).collect();
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid(resource, &key.name, &errors)) }
    }

    /// Refuses a value that somebody else has.
    pub(super) fn claim_taken(&self, resource: &ResourceType, key: &ObjectKey, lost: &Claimed) -> Status {
        let claim = &lost.claim;
        let noun = self.pools.get(claim.pool).map_or("value", Pool::noun);
        let problem = format!("provided {noun} is already allocated");
        let error = FieldError::invalid(claim.field.clone(), claim.value.clone(), problem);
        Status::invalid(resource, &key.name, &[error])
    }
}

/// Sets the value at a pointer whose parent is there.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let Some((parent, field)) = pointer.rsplit_once('/') else {
        return;
    };
    if let Some(Value::Object(fields)) = object.pointer_mut(parent) {
        fields.insert(field.to_owned(), value);
    }
}
