//! Writing: a transaction compares, then does one of two lists of operations, at one revision.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use crate::{KeyRange, KeyValue, LeaseId, Range, Ranged, Revision};

/// If all comparisons hold, do these operations, otherwise those: atomically, at one revision.
///
/// Operations are done in order and see what those before them wrote. A transaction writes a key at most once; one that
/// writes nothing takes no revision. An operation can be a transaction of its own ([`Op::Txn`]): all comparisons are made
/// before anything is written.
///
/// ```
/// use kore_store::{Compare, Op, Txn};
///
/// // Create, and learn what is there if it exists.
/// let create = Txn::new()
///     .when(Compare::mod_revision("/pods/web", 0))
///     .then(Op::put("/pods/web", "{}"))
///     .otherwise(Op::get("/pods/web"));
/// # let _ = create;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Txn {
    /// All of these must hold.
    pub compares: Vec<Compare>,
    /// Done when they do.
    pub success: Vec<Op>,
    /// Done when they do not.
    pub failure: Vec<Op>,
}

impl Txn {
    /// A transaction that does nothing yet.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Add a comparison.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Txn {
        self.compares.push(compare);
        self
    }

    /// Add an operation for when all comparisons hold.
    #[must_use]
    pub fn then(mut self, op: Op) -> Txn {
        self.success.push(op);
        self
    }

    /// Add an operation for when one of the comparisons does not hold.
    #[must_use]
    pub fn otherwise(mut self, op: Op) -> Txn {
        self.failure.push(op);
        self
    }

    /// True when it writes nothing, whatever the comparisons say.
    pub fn is_read_only(&self) -> bool {
        let mut ops = self.success.iter().chain(&self.failure);
        ops.all(|op| match op {
            Op::Range(_) => true,
            Op::Txn(txn) => txn.is_read_only(),
            Op::Put(_) | Op::Delete(_) => false,
        })
    }

    /// The first key that it names.
    pub(crate) fn first_key(&self) -> Option<&Bytes> {
        let compared = self.compares.iter().map(|compare| compare.keys.start());
        let ops = self.success.iter().chain(&self.failure).filter_map(|op| match op {
            Op::Put(put) => Some(&put.key),
            Op::Delete(delete) => Some(delete.keys.start()),
            Op::Range(range) => Some(range.keys.start()),
            Op::Txn(nested) => nested.first_key(),
        });
        compared.chain(ops).next()
    }

    /// Bytes of keys and values in it.
    pub fn size(&self) -> usize {
        let compares: usize = self.compares.iter().map(Compare::size).sum();
        let ops: usize = self.success.iter().chain(&self.failure).map(Op::size).sum();
        compares + ops
    }
}

/// A condition on one key, or on every key of a range.
///
/// A key that does not exist has version, revisions and lease 0, and no value: no comparison of its value holds. A
/// condition on a range holds when it holds for every key that exists in it; where none exists, when it holds for a key that
/// does not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compare {
    /// The keys it is about.
    pub keys: KeyRange,
    /// How what is there must relate to `target`.
    pub relation: Relation,
    /// What it is compared with.
    pub target: Target,
}

/// What a [`Compare`] looks at, and compares it with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// How often the key has been written since its creation.
    Version(u64),
    /// The revision that created the key.
    CreateRevision(Revision),
    /// The revision that last wrote the key.
    ModRevision(Revision),
    /// The value, byte by byte.
    Value(Bytes),
    /// The lease the key is attached to.
    Lease(LeaseId),
}

/// How what is there must relate to the target of a [`Compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Relation {
    /// It equals the target.
    Equal,
    /// It does not equal the target.
    NotEqual,
    /// It is less than the target.
    Less,
    /// It is greater than the target.
    Greater,
}

impl Compare {
    /// What is there must equal the target.
    pub fn new(keys: KeyRange, target: Target) -> Compare {
        Compare { keys, relation: Relation::Equal, target }
    }

    /// The revision that last wrote the key must be this; 0: it must not exist.
    pub fn mod_revision(key: impl Into<Bytes>, revision: Revision) -> Compare {
        Compare::new(KeyRange::Key(key.into()), Target::ModRevision(revision))
    }

    /// The revision that created the key must be this; 0: it must not exist.
    pub fn create_revision(key: impl Into<Bytes>, revision: Revision) -> Compare {
        Compare::new(KeyRange::Key(key.into()), Target::CreateRevision(revision))
    }

    /// The key must have been written so often since its creation; 0: it must not exist.
    pub fn version(key: impl Into<Bytes>, version: u64) -> Compare {
        Compare::new(KeyRange::Key(key.into()), Target::Version(version))
    }

    /// The key must exist and hold this value.
    pub fn value(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Compare {
        Compare::new(KeyRange::Key(key.into()), Target::Value(value.into()))
    }

    /// The key must be attached to this lease; 0: to none.
    pub fn lease(key: impl Into<Bytes>, lease: LeaseId) -> Compare {
        Compare::new(KeyRange::Key(key.into()), Target::Lease(lease))
    }

    /// Ask for another relation than equality.
    #[must_use]
    pub fn is(mut self, relation: Relation) -> Compare {
        self.relation = relation;
        self
    }

    /// Does it hold for this pair, or for a key that does not exist?
    pub(crate) fn holds(&self, kv: Option<&KeyValue>) -> bool {
        let ordering = match &self.target {
            Target::Version(target) => kv.map_or(0, |kv| kv.version).cmp(target),
            Target::CreateRevision(target) => kv.map_or(0, |kv| kv.create_revision).cmp(target),
            Target::ModRevision(target) => kv.map_or(0, |kv| kv.mod_revision).cmp(target),
            Target::Lease(target) => kv.map_or(0, |kv| kv.lease).cmp(target),
            Target::Value(target) => match kv {
                Some(kv) => kv.value.cmp(target),
                None => return false,
            },
        };
        match self.relation {
            Relation::Equal => ordering == Ordering::Equal,
            Relation::NotEqual => ordering != Ordering::Equal,
            Relation::Less => ordering == Ordering::Less,
            Relation::Greater => ordering == Ordering::Greater,
        }
    }

    fn size(&self) -> usize {
        let target = match &self.target {
            Target::Value(value) => value.len(),
            _ => 8,
        };
        self.keys.size() + target
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Write a key.
    Put(Put),
    /// Delete keys; those that do not exist are no error.
    Delete(Delete),
    /// Read keys.
    Range(Range),
    /// Compare, and do one of two lists of operations, as part of the transaction around it.
    Txn(Txn),
}

impl Op {
    /// Write `value` under `key`, attached to no lease.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Op {
        Op::Put(Put::new(key, value))
    }

    /// Delete one key.
    pub fn delete(key: impl Into<Bytes>) -> Op {
        Op::Delete(Delete::new(KeyRange::Key(key.into())))
    }

    /// Delete every key that begins so.
    pub fn delete_prefix(prefix: impl Into<Bytes>) -> Op {
        Op::Delete(Delete::new(KeyRange::Prefix(prefix.into())))
    }

    /// Read one key.
    pub fn get(key: impl Into<Bytes>) -> Op {
        Op::Range(Range::key(key))
    }

    fn size(&self) -> usize {
        match self {
            Op::Put(put) => put.key.len() + put.value.len(),
            Op::Delete(delete) => delete.keys.size(),
            Op::Range(range) => range.keys.size() + range.after.as_ref().map_or(0, |after| after.len()),
            Op::Txn(txn) => txn.size(),
        }
    }
}

impl From<Put> for Op {
    fn from(put: Put) -> Op {
        Op::Put(put)
    }
}

impl From<Delete> for Op {
    fn from(delete: Delete) -> Op {
        Op::Delete(delete)
    }
}

impl From<Range> for Op {
    fn from(range: Range) -> Op {
        Op::Range(range)
    }
}

impl From<Txn> for Op {
    fn from(txn: Txn) -> Op {
        Op::Txn(txn)
    }
}

/// Write a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Put {
    /// The key; not empty.
    pub key: Bytes,
    /// What it shall hold.
    pub value: Bytes,
    /// The lease it shall be attached to; 0 is none, also for a key that was attached to one.
    pub lease: LeaseId,
    /// Answer with what the key held before.
    pub previous: bool,
}

impl Put {
    /// Write `value` under `key`, attached to no lease.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put {
        Put { key: key.into(), value: value.into(), lease: 0, previous: false }
    }

    /// Attach the key to a lease: when that expires or is revoked, the key is deleted.
    #[must_use]
    pub fn lease(mut self, lease: LeaseId) -> Put {
        self.lease = lease;
        self
    }

    /// Answer with what the key held before.
    #[must_use]
    pub fn previous(mut self) -> Put {
        self.previous = true;
        self
    }
}

/// Delete keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delete {
    /// Which.
    pub keys: KeyRange,
    /// Answer with what they held before.
    pub previous: bool,
}

impl Delete {
    /// Delete these keys.
    pub fn new(keys: KeyRange) -> Delete {
        Delete { keys, previous: false }
    }

    /// Answer with what they held before.
    #[must_use]
    pub fn previous(mut self) -> Delete {
        self.previous = true;
        self
    }
}

/// What a transaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxnResponse {
    /// The store's revision after the transaction: its own, if it wrote something.
    pub revision: Revision,
    /// True when the comparisons held.
    pub succeeded: bool,
    /// One answer an operation, in order.
    pub responses: Vec<OpResponse>,
}

impl TxnResponse {
    /// An answer.
    pub fn new(revision: Revision, succeeded: bool, responses: Vec<OpResponse>) -> TxnResponse {
        TxnResponse { revision, succeeded, responses }
    }

    /// The first pair that an operation of the transaction read, or found before it wrote.
    pub fn first_kv(&self) -> Option<&Arc<KeyValue>> {
        self.responses.iter().find_map(|response| match response {
            OpResponse::Put { previous } => previous.as_ref(),
            OpResponse::Delete { previous, .. } => previous.first(),
            OpResponse::Range(ranged) => ranged.kvs.first(),
            OpResponse::Txn(done) => done.first_kv(),
        })
    }
}

/// What one operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpResponse {
    /// A key was written.
    Put {
        /// What it held before, if that was asked and it existed.
        previous: Option<Arc<KeyValue>>,
    },
    /// Keys were deleted.
    Delete {
        /// How many.
        deleted: u64,
        /// What they held before, if that was asked, in the order of their keys.
        previous: Vec<Arc<KeyValue>>,
    },
    /// Keys were read.
    Range(Ranged),
    /// A transaction within the transaction was done.
    Txn(TxnResponse),
}
