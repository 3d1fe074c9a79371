//! The log on disk, as its one writer has it: appending groups, going from segment to segment, letting segments go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append::Appender;
use super::files::{File, Files, Lock};
use super::io_error;
use super::segment::{HEADER, Header, seal};
use crate::{Entropy, Error, Result, Revision};

/// Segments kept for use again; more are removed.
const SPARES: usize = 4;

/// Zeroes are written ahead of the log, in steps that grow up to so many bytes: a flush into them changes no metadata, and a
/// new store is ready at once.
const ZERO_AHEAD: usize = 256 << 10;

/// The first step, in bytes.
const FIRST_ZEROES: usize = 32 << 10;

/// The data directory, held by its one writer.
pub(crate) struct Disk {
    pub(crate) place: Place,
    pub(crate) entropy: Entropy,
    /// The sequence number of the last group.
    pub(crate) sequence: u64,
    pub(crate) segment: Segment,
    /// Segments before the current one that are still needed: id and last sequence number.
    pub(crate) full: Vec<(u64, u64)>,
    /// Segments to be used again.
    pub(crate) spares: Vec<u64>,
}

/// Where a store's files are. Whoever works on them holds it, and with it the lock.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) dir: PathBuf,
    /// A segment is left when it would grow beyond so many bytes.
    pub(crate) segment_bytes: u64,
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) lock: Arc<dyn Lock>,
}

impl Place {
    /// Takes a data directory, which is made if it is not there, for this process alone.
    pub(crate) fn hold(files: Arc<dyn Files>, dir: &Path, segment_bytes: u64) -> Result<Place> {
        files.create_dir(dir).map_err(io_error("create", dir))?;
        let path = dir.join("LOCK");
        let lock = files.lock(&path).map_err(io_error("lock", &path))?;
        let Some(lock) = lock else {
            return Err(Error::InUse { directory: dir.to_owned() });
        };
        Ok(Place { files, dir: dir.to_owned(), segment_bytes: segment_bytes.max(1024), lock: lock.into() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.files.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))
    }
}

/// The segment that is written to.
pub(crate) struct Segment {
    pub(crate) header: Header,
    pub(crate) path: PathBuf,
    pub(crate) frames: Appender,
}

pub(crate) fn segment_name(id: u64) -> String {
    format!("log-{id:016x}")
}

pub(crate) fn spare_name(id: u64) -> String {
    format!("spare-{id:016x}")
}

impl Disk {
    /// Makes a group durable. `frame` holds its records, behind room for the frame's header.
    pub(crate) fn append(&mut self, frame: &mut Vec<u8>, revision: Revision) -> Result<()> {
        let (end, room) = (self.segment.frames.end(), frame.len().next_multiple_of(8) as u64);
        if end + room > self.place.segment_bytes && end > HEADER as u64 {
            self.rotate()?;
        }
        seal(frame, &self.segment.header, self.sequence + 1, revision);
        self.segment.append(frame)?;
        self.sequence += 1;
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        let id = self.segment.header.id + 1;
        let header = Header { id, salt: self.entropy.next_u64(), first_sequence: self.sequence + 1 };
        let next = Segment::create(&self.place, header, self.spares.pop())?;
        let full = std::mem::replace(&mut self.segment, next);
        self.full.push((full.header.id, self.sequence));
        Ok(())
    }

    /// Lets go of the segments that a checkpoint of this sequence number covers, and of older checkpoints.
    pub(crate) fn release(&mut self, covered: u64) -> Result<()> {
        let released = self.full.iter().take_while(|(_, last)| *last <= covered);
        let released: Vec<u64> = released.map(|(id, _)| *id).collect();
        self.full.drain(..released.len());
        for id in released {
            let path = self.place.path(&segment_name(id));
            if self.spares.len() < SPARES {
                let spare = self.place.path(&spare_name(id));
                let renamed = self.place.files.rename(&path, &spare);
                renamed.map_err(io_error("rename", &path))?;
                self.spares.push(id);
            } else {
                self.place.files.remove(&path).map_err(io_error("remove", &path))?;
            }
        }
        remove_old_checkpoints(&self.place, covered)
    }
}

/// The name of the checkpoint taken after the group with this sequence number.
pub(crate) fn checkpoint_name(sequence: u64) -> String {
    format!("checkpoint-{sequence:016x}")
}

/// The number in the name of a file of this kind.
pub(crate) fn number_of(name: &str, kind: &str) -> Option<u64> {
    let digits = name.strip_prefix(kind)?.strip_prefix('-')?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (digits.len() == 16).then_some(number)
}

pub(crate) fn remove_old_checkpoints(place: &Place, newest: u64) -> Result<()> {
    let names = place.files.list(&place.dir).map_err(io_error("list", &place.dir))?;
    for name in names {
        if number_of(&name, "checkpoint").is_some_and(|sequence| sequence < newest) {
            let path = place.path(&name);
            place.files.remove(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

impl Segment {
    /// A new segment, in a spare file if there is one. Durable when this returns: a frame in it is never found without it.
    pub(crate) fn create(place: &Place, header: Header, spare: Option<u64>) -> Result<Segment> {
        let path = place.path(&segment_name(header.id));
        if let Some(spare) = spare {
            let spare = place.path(&spare_name(spare));
            place.files.rename(&spare, &path).map_err(io_error("rename", &spare))?;
            // Before the file is written to: under its old name it must not be found changed.
            place.sync()?;
        }
        let file = place.files.open(&path).map_err(io_error("write", &path))?;
        let mut segment = Segment::open(place, header, path, file, &[])?;
        segment.frames.file.write_past_cache();
        segment.append(&header.encode())?;
        place.sync()?;
        Ok(segment)
    }

    /// A segment that begins with these bytes.
    pub(crate) fn open(
        place: &Place,
        header: Header,
        path: PathBuf,
        file: Box<dyn File>,
        begin: &[u8],
    ) -> Result<Segment> {
        let first = FIRST_ZEROES.min(place.segment_bytes as usize);
        let frames = Appender::new(file, begin).map_err(io_error("read", &path))?;
        Ok(Segment { header, path, frames: frames.ahead(first, ZERO_AHEAD) })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.frames.append(bytes).map_err(io_error("write", &self.path))?;
        self.sync()
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.frames.file.sync().map_err(io_error("sync", &self.path))
    }
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn File, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, file, path)?;
    Ok(bytes)
}

/// Reads a whole file into memory that is there.
pub(crate) fn read_into(bytes: &mut Vec<u8>, file: &dyn File, path: &Path) -> Result<()> {
    let read_error = io_error("read", path);
    let length = file.len().map_err(&read_error)?;
    bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
    let read = file.read_at(0, bytes).map_err(&read_error)?;
    bytes.truncate(read);
    Ok(())
}
