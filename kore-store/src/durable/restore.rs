//! Making a data directory from a snapshot.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::checkpoint;
use super::disk::{Place, checkpoint_name};
use super::files::Files;
use super::recovery::{self, Found};
use super::{io_error, unavailable};
use crate::index::Log;
use crate::{Entropy, Error, Result, Revision};

/// What a snapshot becomes: the checkpoint that comes before the first group.
const SEQUENCE: u64 = 0;

/// Makes a data directory from a snapshot; answers with its revision. The format is stated last: a directory in which this
/// did not come to its end does not open.
pub(crate) async fn restore(
    files: Arc<dyn Files>,
    dir: &Path,
    snapshot: impl Stream<Item = Result<Bytes>>,
    entropy: Entropy,
) -> Result<Revision> {
    let place = {
        let dir = dir.to_owned();
        blocking(move || empty_place(files, &dir)).await?
    };
    let name = format!("{}.tmp", checkpoint_name(SEQUENCE));
    let path = place.path(&name);
    let mut snapshot = std::pin::pin!(snapshot);
    let mut size = 0;
    while let Some(chunk) = snapshot.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                let (place, path) = (place.clone(), path.clone());
                let removed = blocking(move || place.files.remove(&path).map_err(io_error("remove", &path))).await;
                // Why it failed matters more than that something is left.
                drop(removed);
                return Err(error);
            }
        };
        let (place, path, at) = (place.clone(), path.clone(), size);
        size += chunk.len() as u64;
        blocking(move || {
            let file = place.files.open(&path).map_err(io_error("write", &path))?;
            file.write_at(at, &chunk).map_err(io_error("write", &path))
        })
        .await?;
    }
    blocking(move || finish(place, &path, size, entropy)).await
}

fn finish(place: Place, path: &Path, size: u64, entropy: Entropy) -> Result<Revision> {
    let loaded = checkpoint::load(&*place.files, path)?;
    if loaded.size != size && !is_etcdctls(&place, path, loaded.size, size)? {
        let reason = "the snapshot goes on behind its end";
        return Err(Error::Corrupt { file: path.to_owned(), offset: loaded.size, reason });
    }
    if loaded.sequence != SEQUENCE {
        let reason = "this is a checkpoint of a store, not a snapshot";
        return Err(Error::Corrupt { file: path.to_owned(), offset: 0, reason });
    }
    if Log::of(&loaded.index).is_none() {
        let reason = "a revision is missing between the oldest and the current one";
        return Err(Error::Corrupt { file: path.to_owned(), offset: 0, reason });
    }
    let file = place.files.open(path).map_err(io_error("read", path))?;
    file.sync().map_err(io_error("sync", path))?;
    checkpoint::name_it(&*place.files, &place.dir, &checkpoint_name(SEQUENCE))?;
    recovery::begin(place, entropy)?;
    Ok(loaded.index.revision)
}

/// Whether what lies behind a snapshot is what `etcdctl snapshot save` has left there: a byte 0x80 and zeros, up to a
/// multiple of 512 bytes, and a SHA-256 of everything, which the checksums of the snapshot's own blocks make superfluous.
fn is_etcdctls(place: &Place, path: &Path, end: u64, size: u64) -> Result<bool> {
    let padding = (end + 1).next_multiple_of(512) - end;
    if size != end + padding + 32 {
        return Ok(false);
    }
    let file = place.files.open(path).map_err(io_error("read", path))?;
    let mut bytes = vec![0; padding as usize];
    file.read_at(end, &mut bytes).map_err(io_error("read", path))?;
    Ok(bytes[0] == 0x80 && bytes[1..].iter().all(|byte| *byte == 0))
}

/// A directory in which there is no store.
fn empty_place(files: Arc<dyn Files>, dir: &Path) -> Result<Place> {
    let place = Place::hold(files, dir, super::SEGMENT_BYTES)?;
    let found = Found::look(&place)?;
    if recovery::read_format(&place)?.is_some() || !found.checkpoints.is_empty() || !found.segments.is_empty() {
        let source = Arc::new(std::io::ErrorKind::AlreadyExists.into());
        return Err(Error::Io { action: "restore into", path: dir.to_owned(), source });
    }
    recovery::remove_unfinished(&place)?;
    Ok(place)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| unavailable("the runtime is shutting down"))?
}
