//! What is logged: the writes of a transaction, leases granted and revoked, compactions. Applied to the index they were
//! applied to before, they lead to the same index again.

use std::convert::Infallible;

use super::codec::{Reader, put_bytes, put_u64};
use crate::index::{Index, Write};
use crate::{Delete, KeyRange, LeaseId, Op, Put, Revision, Txn};

const TXN: u8 = 1;
const GRANT: u8 = 2;
const REVOKE: u8 = 3;
const COMPACT: u8 = 4;

const PUT: u8 = 1;
const DELETE_KEY: u8 = 2;
const DELETE_PREFIX: u8 = 3;
const DELETE_INTERVAL: u8 = 4;
const DELETE_FROM: u8 = 5;

/// Logs one transaction; what it writes follows by [`put_write`], and the count of that by [`end_txn`].
pub(crate) fn begin_txn(buffer: &mut Vec<u8>) {
    buffer.push(TXN);
    buffer.extend_from_slice(&[0; 4]);
}

/// Logs something that a transaction wrote.
pub(crate) fn put_write(buffer: &mut Vec<u8>, write: Write<'_>) {
    match write {
        Write::Put(kv) => {
            buffer.push(PUT);
            put_bytes(buffer, &kv.key);
            put_bytes(buffer, &kv.value);
            put_u64(buffer, kv.lease);
        }
        Write::Delete(keys) => put_keys(buffer, keys),
    }
}

/// Ends the transaction that began at `start`, and wrote so often.
pub(crate) fn end_txn(buffer: &mut [u8], start: usize, writes: u32) {
    buffer[start + 1..start + 5].copy_from_slice(&writes.to_le_bytes());
}

fn put_keys(buffer: &mut Vec<u8>, keys: &KeyRange) {
    let (tag, end) = match keys {
        KeyRange::Key(_) => (DELETE_KEY, None),
        KeyRange::Prefix(_) => (DELETE_PREFIX, None),
        KeyRange::Interval { end: None, .. } => (DELETE_FROM, None),
        KeyRange::Interval { end, .. } => (DELETE_INTERVAL, end.as_ref()),
    };
    buffer.push(tag);
    put_bytes(buffer, keys.start());
    if let Some(end) = end {
        put_bytes(buffer, end);
    }
}

/// Logs that a lease was granted; `chosen` by the store, or under an id that the client named.
pub(crate) fn put_grant(buffer: &mut Vec<u8>, id: LeaseId, ttl_seconds: u64, chosen: bool) {
    buffer.push(GRANT);
    put_u64(buffer, id);
    put_u64(buffer, ttl_seconds);
    buffer.push(u8::from(chosen));
}

/// Logs that a lease ended.
pub(crate) fn put_revoke(buffer: &mut Vec<u8>, id: LeaseId) {
    buffer.push(REVOKE);
    put_u64(buffer, id);
}

/// Logs a compaction.
pub(crate) fn put_compact(buffer: &mut Vec<u8>, revision: Revision) {
    buffer.push(COMPACT);
    put_u64(buffer, revision);
}

/// Something that was logged.
pub(crate) enum Entry {
    /// What it wrote is in its first branch.
    Txn(Txn),
    Grant {
        id: LeaseId,
        ttl_seconds: u64,
        chosen: bool,
    },
    Revoke {
        id: LeaseId,
    },
    Compact {
        revision: Revision,
    },
}

/// Hands on what was logged, one after the other. None: that is not how records look.
pub(crate) fn entries<E>(payload: &[u8], each: &mut impl FnMut(Entry) -> Result<(), E>) -> Result<Option<()>, E> {
    let mut reader = Reader(payload);
    while !reader.is_empty() {
        match read_entry(&mut reader) {
            Some(entry) => each(entry)?,
            None => return Ok(None),
        }
    }
    Ok(Some(()))
}

/// What was logged. None: that is not how records look.
pub(crate) fn decode(payload: &[u8]) -> Option<Vec<Entry>> {
    let mut decoded = Vec::new();
    let Ok(whole) = entries(payload, &mut |entry| -> Result<(), Infallible> {
        decoded.push(entry);
        Ok(())
    });
    whole.map(|()| decoded)
}

/// Applies what was logged. None: that is not how it came about.
pub(crate) fn apply(index: &mut Index, entry: Entry) -> Option<()> {
    match entry {
        Entry::Txn(txn) => drop(index.apply(txn, u64::MAX, &mut |_| ()).ok()?.batch?),
        Entry::Grant { id, ttl_seconds, chosen } => {
            let wanted = if chosen { 0 } else { id };
            let granted = index.grant(wanted, ttl_seconds, usize::MAX).ok()?;
            (granted == id).then_some(())?;
        }
        Entry::Revoke { id } => drop(index.revoke(id).ok()?),
        Entry::Compact { revision } => index.compact(revision).ok()?,
    }
    Some(())
}

fn read_entry(reader: &mut Reader<'_>) -> Option<Entry> {
    Some(match reader.u8()? {
        TXN => Entry::Txn(read_txn(reader)?),
        GRANT => Entry::Grant { id: reader.u64()?, ttl_seconds: reader.u64()?, chosen: reader.u8()? == 1 },
        REVOKE => Entry::Revoke { id: reader.u64()? },
        COMPACT => Entry::Compact { revision: reader.u64()? },
        _ => return None,
    })
}

fn read_txn(reader: &mut Reader<'_>) -> Option<Txn> {
    let mut txn = Txn::new();
    for _ in 0..reader.u32()? {
        txn = txn.then(read_op(reader)?);
    }
    Some(txn)
}

fn read_op(reader: &mut Reader<'_>) -> Option<Op> {
    let tag = reader.u8()?;
    let start = reader.bytes()?;
    let keys = match tag {
        PUT => {
            let put = Put::new(start, reader.bytes()?);
            return Some(put.lease(reader.u64()?).into());
        }
        DELETE_KEY => KeyRange::Key(start),
        DELETE_PREFIX => KeyRange::Prefix(start),
        DELETE_FROM => KeyRange::Interval { start, end: None },
        DELETE_INTERVAL => KeyRange::Interval { start, end: Some(reader.bytes()?) },
        _ => return None,
    };
    Some(Delete::new(keys).into())
}
