//! Everything a store holds, as a stream of bytes: for backups, and to begin another store with.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;

use crate::{Result, Revision};

/// Everything a store holds at one revision, as a stream of chunks; an error is the last item, and what came before it is
/// worth nothing. Writes go on meanwhile; what they overwrite is kept, whatever is compacted, until the snapshot has been read
/// or is dropped: do not hold on to one.
///
/// The bytes are the store's own format. That of [`MemoryStore`](crate::MemoryStore) and
/// [`DurableStore`](crate::DurableStore) is one, and each can begin with the other's.
#[must_use = "a snapshot is made while it is read"]
pub struct Snapshot {
    revision: Revision,
    chunks: BoxStream<'static, Result<Bytes>>,
}

impl Snapshot {
    /// A snapshot of the store at this revision, in these chunks.
    pub fn new(revision: Revision, chunks: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Snapshot {
        Snapshot { revision, chunks: Box::pin(chunks) }
    }

    /// The revision that it is a picture of.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl Stream for Snapshot {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("revision", &self.revision).finish_non_exhaustive()
    }
}
