//! etcd's Maintenance service.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use ring::digest;

use super::call::{Answers, Messages};
use super::connection::Common;
use super::failure::{BAD_TRANSFEREE, Code, FUTURE_REVISION, Failure};
use super::{EtcdServer, Shared, TERM};
use crate::etcd::wire::{
    AlarmMember, AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, HashKvRequest, HashKvResponse,
    HashRequest, HashResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
};
use crate::{KeyRange, KeyValue, Range, Revision, Status};

/// Pairs that are read at a time for a checksum.
const HASH_PAGE: usize = 256;

/// Bytes of a snapshot in one message.
const SNAPSHOT_PIECE: usize = 32 << 10;

/// The length of a snapshot without its checksum is a multiple of this.
const SNAPSHOT_BLOCK: u64 = 512;

/// The alarm for a store that is full.
const NO_SPACE_ALARM: i32 = 1;

pub(super) fn refusal(method: &str) -> Failure {
    match method {
        "MoveLeader" => BAD_TRANSFEREE,
        "Downgrade" => Failure::new(Code::Unimplemented, "etcdserver: this store cannot be downgraded"),
        _ => Failure::new(Code::Unimplemented, "unknown method for service etcdserverpb.Maintenance"),
    }
}

pub(super) async fn status(common: &Common, _: StatusRequest) -> Result<StatusResponse, Failure> {
    let shared = &common.shared;
    let status = shared.store.status().await?;
    let id = shared.options.member_id;
    let full = shared.is_full(&status);
    Ok(StatusResponse {
        header: shared.header(status.revision),
        version: EtcdServer::VERSION.into(),
        db_size: status.bytes.cast_signed(),
        leader: id,
        raft_index: status.revision,
        raft_term: TERM,
        raft_applied_index: status.revision,
        errors: if full { vec![format!("memberID:{id} alarm:NOSPACE ")] } else { Vec::new() },
        db_size_in_use: status.bytes.cast_signed(),
        is_learner: false,
        storage_version: "3.5".into(),
        db_size_quota: status.quota_bytes.cast_signed(),
    })
}

/// Lists the alarm, or ends it. It ends by itself when there is room for what was last refused.
pub(super) async fn alarm(common: &Common, request: AlarmRequest) -> Result<AlarmResponse, Failure> {
    const GET: i32 = 0;
    const DEACTIVATE: i32 = 2;
    let shared = &common.shared;
    let status = shared.store.status().await?;
    let asked = matches!(request.alarm, 0 | NO_SPACE_ALARM);
    let full = asked && shared.is_full(&status);
    match request.action {
        GET => {}
        DEACTIVATE if full => shared.no_room_for.store(0, Ordering::Relaxed),
        DEACTIVATE => {}
        _ => return Err(Failure::new(Code::Unimplemented, "etcdserver: alarms cannot be activated here")),
    }
    let alarm = AlarmMember { member_id: shared.options.member_id, alarm: NO_SPACE_ALARM };
    let alarms = if full { vec![alarm] } else { Vec::new() };
    Ok(AlarmResponse { header: shared.header(status.revision), alarms })
}

pub(super) async fn defragment(_: &Common, _: DefragmentRequest) -> Result<DefragmentResponse, Failure> {
    tracing::info!("asked to defragment: this store gives space back by itself");
    Ok(DefragmentResponse { header: None })
}

pub(super) async fn hash(common: &Common, _: HashRequest) -> Result<HashResponse, Failure> {
    let shared = &common.shared;
    let revision = shared.store.status().await?.revision;
    Ok(HashResponse { hash: shared.hash_at(revision).await?, header: shared.header(revision) })
}

pub(super) async fn hash_kv(common: &Common, request: HashKvRequest) -> Result<HashKvResponse, Failure> {
    let shared = &common.shared;
    let status = shared.store.status().await?;
    let revision = match u64::try_from(request.revision) {
        Ok(0) | Err(_) => status.revision,
        Ok(asked) if asked > status.revision => return Err(FUTURE_REVISION),
        Ok(asked) => asked,
    };
    Ok(HashKvResponse {
        hash: shared.hash_at(revision).await?,
        header: shared.header(status.revision),
        compact_revision: if status.compacted == 0 { -1 } else { status.compacted.cast_signed() },
        hash_revision: revision.cast_signed(),
    })
}

impl Shared {
    /// True when the write that the store last had no room for would still have none.
    fn is_full(&self, status: &Status) -> bool {
        let needed = self.no_room_for.load(Ordering::Relaxed);
        needed > 0 && status.bytes.saturating_add(needed) > status.quota_bytes
    }

    /// A checksum of every pair at a revision.
    async fn hash_at(&self, revision: Revision) -> Result<u32, Failure> {
        let mut hasher = crc32fast::Hasher::new();
        let mut page = Range::new(KeyRange::all()).at(revision).limit(HASH_PAGE);
        loop {
            let ranged = self.store.range(page.clone()).await?;
            ranged.kvs.iter().for_each(|kv| add(&mut hasher, kv));
            match ranged.kvs.last().filter(|_| ranged.more) {
                Some(last) => page.after = Some(last.key.clone()),
                None => return Ok(hasher.finalize()),
            }
        }
    }
}

fn add(hasher: &mut crc32fast::Hasher, kv: &KeyValue) {
    for number in [kv.key.len() as u64, kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&kv.key);
    hasher.update(&kv.value);
}

/// The store's snapshot, filled up to whole blocks, and its checksum: what `etcdctl snapshot save` looks for.
pub(super) async fn snapshot(common: &Common, requests: &mut Messages, answers: &mut Answers) -> Result<(), Failure> {
    let shared = &common.shared;
    let SnapshotRequest {} = requests.only().await?;
    let mut snapshot = shared.store.snapshot().await?;
    let header = shared.header(snapshot.revision());
    let piece = |blob, remaining_bytes| SnapshotResponse {
        header: header.clone(),
        remaining_bytes,
        blob,
        version: String::new(),
    };
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut length = 0;
    while let Some(chunk) = snapshot.next().await {
        let mut chunk = chunk?;
        length += chunk.len() as u64;
        sum.update(&chunk);
        while !chunk.is_empty() {
            let blob = chunk.split_to(chunk.len().min(SNAPSHOT_PIECE));
            // How much is to come is not known, except that the checksum is.
            answers.send_kept(&piece(blob, 32)).await?;
        }
    }
    let padding = padding(length);
    sum.update(&padding);
    answers.send_kept(&piece(padding, 32)).await?;
    let blob = Bytes::copy_from_slice(sum.finish().as_ref());
    answers.send_kept(&piece(blob, 0)).await
}

/// One byte that marks the end, and zeros up to the end of the block.
fn padding(length: u64) -> Bytes {
    let padded = (length + 1).next_multiple_of(SNAPSHOT_BLOCK);
    let mut padding = vec![0; (padded - length) as usize];
    padding[0] = 0x80;
    padding.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_filled_up_to_whole_blocks() {
        for length in [0, 1, 511, 512, 513] {
            let padding = padding(length);
            assert_eq!((length + padding.len() as u64) % SNAPSHOT_BLOCK, 0, "{length}");
            assert_eq!(padding[0], 0x80);
            assert!(padding[1..].iter().all(|byte| *byte == 0) && padding.len() <= 512);
        }
    }
}
