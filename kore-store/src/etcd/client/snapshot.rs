//! etcd's snapshot, passed through.

use bytes::Bytes;
use futures::Stream;
use tonic::Streaming;

use super::calls::RANGE;
use super::cluster::{Cluster, Failed, unavailable};
use super::connection::Connection;
use super::refusal::Failure;
use super::translate::{self, revision};
use crate::etcd::wire;
use crate::{Range, Result, Snapshot};

/// Begins one. The read before it names its revision, and sees to it that the member is not behind.
pub(super) async fn begin(cluster: &Cluster) -> Result<Snapshot> {
    let look = translate::range(&Range::key("\0").count_only());
    let begun = cluster.attempt(true, |connection: Connection, metadata| {
        let look = look.clone();
        async move {
            let said = |status: tonic::Status| Failure::of(&status);
            let seen: wire::RangeResponse = connection.unary(RANGE.path, look, metadata.clone()).await.map_err(said)?;
            let request = futures::stream::iter([wire::SnapshotRequest {}]);
            let path = "/etcdserverpb.Maintenance/Snapshot";
            let mut parts: Streaming<wire::SnapshotResponse> =
                connection.streaming(path, request, metadata).await.map_err(said)?;
            // What is refused is refused here, and not to the reader.
            let first = parts.message().await.map_err(said)?;
            let first = first.ok_or(Failure::Open("etcd sent nothing".into()))?;
            Ok((revision(&seen.header), first, parts))
        }
    });
    let (revision, first, parts) = begun.await.map_err(Failed::plain)?;
    Ok(Snapshot::new(revision, chunks(first, parts)))
}

struct Reading {
    first: Option<wire::SnapshotResponse>,
    parts: Streaming<wire::SnapshotResponse>,
    remaining: u64,
    ended: bool,
}

fn chunks(
    first: wire::SnapshotResponse,
    parts: Streaming<wire::SnapshotResponse>,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let reading = Reading { first: Some(first), parts, remaining: 0, ended: false };
    futures::stream::unfold(reading, |mut reading| async move {
        if reading.ended {
            return None;
        }
        let part = match reading.first.take() {
            Some(first) => Ok(Some(first)),
            None => reading.parts.message().await,
        };
        let chunk = match part {
            Ok(Some(part)) => {
                reading.remaining = part.remaining_bytes;
                Ok(part.blob)
            }
            Ok(None) if reading.remaining == 0 => return None,
            Ok(None) => Err(unavailable("etcd ended its snapshot early")),
            Err(status) => Err(unavailable(format!("etcd's snapshot broke off: {}", status.message()))),
        };
        reading.ended = chunk.is_err();
        Some((chunk, reading))
    })
}
