//! Looking at a data directory that nobody has open: is it whole, and what is in it?
//!
//! Nothing is changed, except that a `LOCK` file is made where there is none: who looks has the directory for itself.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::checkpoint;
use super::disk::{Place, checkpoint_name, read_all, segment_name};
use super::files::{Files, OsFiles};
use super::recovery::{self, Found, Tail};
use super::{SEGMENT_BYTES, io_error, record, segment, unavailable};
use crate::{Error, Result, Revision};

/// What a data directory holds that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// The revision of its last write.
    pub revision: Revision,
    /// The oldest revision that can be read; 0: it has never been compacted.
    pub compacted: Revision,
    /// Keys of which there is a version.
    pub keys: u64,
    /// Bytes of keys and values as the quota counts them, old versions included.
    pub bytes: u64,
    /// Leases.
    pub leases: u64,
    /// Bytes of the checkpoint; 0: there is none.
    pub checkpoint_bytes: u64,
    /// Log files.
    pub segments: u64,
    /// Bytes of the log behind the checkpoint.
    pub log_bytes: u64,
    /// Behind the last group of the log there is something that is not zero: what a crash tore, or what an earlier life of the
    /// file left. It was never acknowledged, and is written over when the store is opened.
    pub has_torn_tail: bool,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "revision         {}", self.revision)?;
        writeln!(f, "compacted        {}", self.compacted)?;
        writeln!(f, "keys             {}", self.keys)?;
        writeln!(f, "bytes            {}", self.bytes)?;
        writeln!(f, "leases           {}", self.leases)?;
        writeln!(f, "checkpoint bytes {}", self.checkpoint_bytes)?;
        writeln!(f, "segments         {}", self.segments)?;
        writeln!(f, "log bytes        {}", self.log_bytes)?;
        write!(f, "torn tail        {}", if self.has_torn_tail { "yes" } else { "no" })
    }
}

/// Checks a data directory: reads all of it, as opening it would, and tells what it holds.
///
/// Errors: [`Corrupt`](Error::Corrupt), with the file and the place; [`Format`](Error::Format); [`InUse`](Error::InUse), while a
/// store is open there; [`Io`](Error::Io), also when there is no store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use kore_store::{DurableStore, Options, Store, offline};
///
/// let dir = tempfile::tempdir()?;
/// let (store, run) = DurableStore::open(dir.path(), Options::default()).await?;
/// let work = async {
///     store.put("greeting".into(), "hello".into()).await?;
///     store.close().await
/// };
/// tokio::try_join!(run, work)?;
/// drop(store);
///
/// assert_eq!(offline::check(dir.path()).await?.keys, 1);
/// # Ok(())
/// # }
/// ```
pub async fn check(dir: impl AsRef<Path>) -> Result<Checked> {
    on(dir.as_ref(), check_place).await
}

/// Writes what a data directory holds in words, a line each: the checkpoint's keys with their versions, and the log's groups.
/// Damage is described, and what lies behind it in the same file left out.
///
/// Bytes that are no printable ASCII are escaped as in Rust; of a value, the first 200 bytes are written.
///
/// Errors: as [`check`], but for damage.
pub async fn dump(dir: impl AsRef<Path>, mut to: impl Write + Send + 'static) -> Result<()> {
    let write_error = io_error("write the dump of", dir.as_ref());
    on(dir.as_ref(), move |place| Ok(dump_place(place, &mut to))).await?.map_err(write_error)
}

async fn on<T: Send + 'static>(dir: &Path, look: impl FnOnce(&Place) -> Result<T> + Send + 'static) -> Result<T> {
    let dir = dir.to_owned();
    let looking = tokio::task::spawn_blocking(move || look(&hold(Arc::new(OsFiles), &dir)?));
    looking.await.map_err(|_| unavailable("the runtime is shutting down"))?
}

/// Takes the directory of a store that is there.
fn hold(files: Arc<dyn Files>, dir: &Path) -> Result<Place> {
    let names = files.list(dir).map_err(io_error("list", dir))?;
    if !names.iter().any(|name| name == recovery::FORMAT_FILE) {
        let path = dir.join(recovery::FORMAT_FILE);
        return Err(Error::Io { action: "read", path, source: Arc::new(io::ErrorKind::NotFound.into()) });
    }
    let place = Place::hold(files, dir, SEGMENT_BYTES)?;
    recovery::read_format(&place)?;
    Ok(place)
}

fn check_place(place: &Place) -> Result<Checked> {
    let found = Found::look(place)?;
    let loaded = recovery::newest_checkpoint(place, &found)?;
    let checkpoint_bytes = loaded.size;
    let replayed = recovery::replay(place, &found.segments, loaded.index, loaded.sequence)?;
    let index = replayed.index;
    Ok(Checked {
        revision: index.revision,
        compacted: index.compacted,
        keys: index.len() as u64,
        bytes: index.size.bytes,
        leases: index.leases.len() as u64,
        checkpoint_bytes,
        segments: found.segments.len() as u64,
        log_bytes: replayed.log_bytes,
        has_torn_tail: match replayed.tail {
            Tail::Torn { .. } => true,
            Tail::Open { segment, bytes, .. } => bytes[segment.frames.end() as usize..].iter().any(|byte| *byte != 0),
        },
    })
}

/// Bytes of a value that are written.
const SHOWN: usize = 200;

fn dump_place(place: &Place, to: &mut impl Write) -> io::Result<()> {
    let found = match Found::look(place) {
        Ok(found) => found,
        Err(error) => return writeln!(to, "{error}"),
    };
    match recovery::newest_checkpoint(place, &found) {
        Ok(loaded) if found.checkpoints.is_empty() => drop(loaded),
        Ok(loaded) => dump_checkpoint(&loaded, to)?,
        Err(error) => writeln!(to, "DAMAGED {error}")?,
    }
    for id in found.segments {
        let name = segment_name(id);
        let path = place.path(&name);
        let bytes = place.files.open(&path).map_err(io_error("read", &path)).and_then(|file| read_all(&*file, &path));
        match bytes {
            Ok(bytes) => dump_segment(&name, &bytes, id, to)?,
            Err(error) => writeln!(to, "{error}")?,
        }
    }
    Ok(())
}

fn dump_checkpoint(loaded: &checkpoint::Loaded, to: &mut impl Write) -> io::Result<()> {
    let checkpoint::Loaded { index, sequence, .. } = loaded;
    let name = checkpoint_name(*sequence);
    writeln!(to, "{name} revision {} compacted {} after group {sequence}", index.revision, index.compacted)?;
    for (id, attached) in &index.leases {
        writeln!(to, "  lease {id} of {} s", attached.ttl_seconds)?;
    }
    for kv in index.histories(None).flat_map(|history| history.versions()) {
        write!(to, "  {} key {}", kv.mod_revision, kv.key.escape_ascii())?;
        match kv.is_deletion() {
            true => writeln!(to, " deleted")?,
            false => {
                write!(to, " created {} version {} lease {} ", kv.create_revision, kv.version, kv.lease)?;
                dump_value(&kv.value, to)?;
            }
        }
    }
    Ok(())
}

fn dump_segment(name: &str, bytes: &[u8], id: u64, to: &mut impl Write) -> io::Result<()> {
    let scan = segment::scan(bytes, id);
    match scan.header {
        Some(header) => writeln!(to, "{name} begins with group {}", header.first_sequence)?,
        None => writeln!(to, "{name} DAMAGED header")?,
    }
    for frame in &scan.frames {
        writeln!(to, "  group {} at byte {} to revision {}", frame.sequence, frame.offset, frame.revision)?;
        let mut line = |entry: record::Entry| dump_entry(&entry, to);
        if record::entries(&bytes[frame.payload.clone()], &mut line)?.is_none() {
            writeln!(to, "    DAMAGED record")?;
        }
    }
    match scan.stray {
        Some(stray) => writeln!(to, "  DAMAGED at byte {}: a valid group follows at byte {stray}", scan.end),
        None => writeln!(to, "  ends at byte {}", scan.end),
    }
}

fn dump_entry(entry: &record::Entry, to: &mut impl Write) -> io::Result<()> {
    match entry {
        record::Entry::Txn(txn) => {
            writeln!(to, "    transaction")?;
            txn.success.iter().try_for_each(|op| dump_op(op, to))
        }
        record::Entry::Grant { id, ttl_seconds, .. } => writeln!(to, "    grant lease {id} of {ttl_seconds} s"),
        record::Entry::Revoke { id } => writeln!(to, "    end lease {id}"),
        record::Entry::Compact { revision } => writeln!(to, "    compact to revision {revision}"),
    }
}

fn dump_op(op: &crate::Op, to: &mut impl Write) -> io::Result<()> {
    use crate::{KeyRange, Op};
    match op {
        Op::Put(put) => {
            write!(to, "      put {} lease {} ", put.key.escape_ascii(), put.lease)?;
            dump_value(&put.value, to)
        }
        Op::Delete(delete) => match &delete.keys {
            KeyRange::Key(key) => writeln!(to, "      delete {}", key.escape_ascii()),
            KeyRange::Prefix(prefix) => writeln!(to, "      delete all that begin with {}", prefix.escape_ascii()),
            KeyRange::Interval { start, end: Some(end) } => {
                writeln!(to, "      delete from {} to before {}", start.escape_ascii(), end.escape_ascii())
            }
            KeyRange::Interval { start, end: None } => writeln!(to, "      delete from {}", start.escape_ascii()),
        },
        Op::Range(_) | Op::Txn(_) => writeln!(to, "      nothing that is logged"),
    }
}

fn dump_value(value: &[u8], to: &mut impl Write) -> io::Result<()> {
    let shown = &value[..value.len().min(SHOWN)];
    let more = if shown.len() < value.len() { "…" } else { "" };
    writeln!(to, "{} bytes \"{}\"{more}", value.len(), shown.escape_ascii())
}
