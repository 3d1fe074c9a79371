//! What no store would take, whatever it holds.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Error, KeyRange, Limits, Op, Result, Txn};

/// The most bytes of keys and values that a transaction can have, whatever the limit says: lengths are written in 32 bits.
const REQUEST_BYTES_MAX: usize = 1 << 30;

/// Refuses a transaction that no store would take, whatever it holds.
pub(crate) fn check(txn: &Txn, limits: &Limits) -> Result<()> {
    let within = |what, size: usize, limit: usize| match size > limit {
        true => Err(Error::TooLarge { what, size: size as u64, limit: limit as u64 }),
        false => Ok(()),
    };
    within("bytes of keys and values in a transaction", txn.size(), limits.request_bytes.min(REQUEST_BYTES_MAX))?;
    let (compares, ops) = count(txn);
    within("comparisons in a transaction", compares, limits.txn_ops)?;
    within("operations in a transaction", ops, limits.txn_ops)?;
    check_keys(txn)?;
    Ok(())
}

/// How many comparisons there are, and how many operations in the longer branch, those of nested transactions included.
fn count(txn: &Txn) -> (usize, usize) {
    let branch = |ops: &[Op]| {
        ops.iter().fold((0, 0), |(compares, total), op| match op {
            Op::Txn(nested) => {
                let (more, ops) = count(nested);
                (compares + more, total + 1 + ops)
            }
            _ => (compares, total + 1),
        })
    };
    let (success, failure) = (branch(&txn.success), branch(&txn.failure));
    (txn.compares.len() + success.0 + failure.0, success.1.max(failure.1))
}

/// What a transaction may write, each by which of its operations.
#[derive(Default)]
struct Written<'a> {
    puts: BTreeMap<&'a Bytes, usize>,
    deletes: Vec<(&'a KeyRange, usize)>,
}

/// Refuses a transaction that may write a key twice, and tells what it may write.
fn check_keys(txn: &Txn) -> Result<Written<'_>> {
    let mut either = check_branch(&txn.success)?;
    let or = check_branch(&txn.failure)?;
    either.puts.extend(or.puts);
    either.deletes.extend(or.deletes);
    Ok(either)
}

fn check_branch(ops: &[Op]) -> Result<Written<'_>> {
    let twice = |key: &Bytes| Err(Error::DuplicateKey { key: key.clone() });
    let mut written = Written::default();
    for (number, op) in ops.iter().enumerate() {
        let nested = match op {
            Op::Put(put) if put.key.is_empty() => {
                return Err(Error::InvalidRequest { reason: "a key must not be empty" });
            }
            Op::Put(put) => Written { puts: BTreeMap::from([(&put.key, number)]), deletes: Vec::new() },
            Op::Delete(delete) => Written { puts: BTreeMap::new(), deletes: vec![(&delete.keys, number)] },
            Op::Range(_) => continue,
            Op::Txn(nested) => check_keys(nested)?,
        };
        for key in nested.puts.into_keys() {
            if written.puts.insert(key, number).is_some() {
                return twice(key);
            }
        }
        written.deletes.extend(nested.deletes.into_iter().map(|(keys, _)| (keys, number)));
    }
    // What one operation writes and deletes itself is in different branches of it.
    for (keys, by) in &written.deletes {
        if let Some((key, _)) = written.puts.iter().find(|(key, number)| *number != by && keys.contains(key)) {
            return twice(key);
        }
    }
    Ok(written)
}
