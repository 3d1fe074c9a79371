//! Opening a data directory: the newest checkpoint, and the log from there on.
//!
//! | found | done |
//! |---|---|
//! | an invalid frame at the end of the log | torn by a crash, never acknowledged: cut off |
//! | an invalid frame with a valid one behind it, or frames missing between two segments | refused: [`Error::Corrupt`] |
//! | a newest segment without a valid header and without a frame | torn while it was made: made anew |
//! | a file with another name | left alone; what a crash left half-written (`FORMAT.tmp`, `checkpoint-N.tmp`) is removed |

use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use super::disk::{
    Disk, Place, Segment, checkpoint_name, number_of, read_all, read_into, remove_old_checkpoints, segment_name,
};
use super::files::{File, Files};
use super::segment::{FRAME_HEADER, Frame, HEADER, Header, Scan, scan};
use super::{checkpoint, io_error, record};
use crate::index::Index;
use crate::{Entropy, Error, Result, Revision};

/// The format of the data directory that this version writes, and the newest it reads.
///
/// | format | what is new |
/// |---|---|
/// | 1 | |
/// | 2 | in a checkpoint, the versions of a key may go over several blocks; the rest of its last page is empty |
const FORMAT: u32 = 2;

pub(crate) const FORMAT_FILE: &str = "FORMAT";

/// A data directory that has been opened.
pub(crate) struct Recovered {
    pub(crate) disk: Disk,
    pub(crate) index: Index,
    /// Bytes in the log behind the checkpoint.
    pub(crate) log_bytes: u64,
    /// Bytes of the checkpoint.
    pub(crate) checkpoint_bytes: u64,
}

/// Opens a data directory, or makes one.
pub(crate) fn open(files: Arc<dyn Files>, dir: &Path, entropy: Entropy, segment_bytes: u64) -> Result<Recovered> {
    let place = Place::hold(files, dir, segment_bytes)?;
    let stated = read_format(&place)?;
    // Not before the directory is known to be ours.
    remove_unfinished(&place)?;
    let found = Found::look(&place)?;
    match stated {
        Some(format) => recover(place, found, entropy, format),
        None => create(place, found, entropy),
    }
}

/// The store's files in a data directory, by the numbers in their names, in order.
pub(crate) struct Found {
    pub(crate) segments: Vec<u64>,
    pub(crate) spares: Vec<u64>,
    pub(crate) checkpoints: Vec<u64>,
}

impl Found {
    pub(crate) fn look(place: &Place) -> Result<Found> {
        let mut names = place.files.list(&place.dir).map_err(io_error("list", &place.dir))?;
        names.sort();
        let of = |kind| names.iter().filter_map(|name| number_of(name, kind)).collect();
        Ok(Found { segments: of("log"), spares: of("spare"), checkpoints: of("checkpoint") })
    }
}

/// Removes what a crash left half-written.
pub(crate) fn remove_unfinished(place: &Place) -> Result<()> {
    let names = place.files.list(&place.dir).map_err(io_error("list", &place.dir))?;
    let is_ours = |name: &str| name == FORMAT_FILE || number_of(name, "checkpoint").is_some();
    for name in names.iter().filter(|name| name.strip_suffix(".tmp").is_some_and(is_ours)) {
        let path = place.path(name);
        place.files.remove(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}

/// The format that the directory states, if it does: one that this version reads.
pub(crate) fn read_format(place: &Place) -> Result<Option<u32>> {
    let path = place.path(FORMAT_FILE);
    let names = place.files.list(&place.dir).map_err(io_error("list", &place.dir))?;
    if !names.iter().any(|name| name == FORMAT_FILE) {
        return Ok(None);
    }
    let file = place.files.open(&path).map_err(io_error("read", &path))?;
    let bytes = read_all(&*file, &path)?;
    let text = String::from_utf8_lossy(&bytes);
    let version = text.trim_end().strip_prefix("kore-store ");
    match version.and_then(|version| version.parse::<u32>().ok()) {
        Some(version) if version <= FORMAT => Ok(Some(version)),
        _ => Err(Error::Format { file: path, found: text.trim_end().chars().take(80).collect(), supported: FORMAT }),
    }
}

/// Makes a data directory. Its format is stated last: without that, it is made anew.
fn create(place: Place, found: Found, entropy: Entropy) -> Result<Recovered> {
    let format = place.path(FORMAT_FILE);
    let unstated = || corrupt(&format, 0, "the file that states the format is missing");
    if !found.checkpoints.is_empty() || found.segments.iter().any(|id| *id != 1) {
        return Err(unstated());
    }
    if !found.segments.is_empty() {
        let path = place.path(&segment_name(1));
        let file = place.files.open(&path).map_err(io_error("read", &path))?;
        let scan = scan(&read_all(&*file, &path)?, 1);
        if !scan.frames.is_empty() || scan.stray.is_some() {
            return Err(unstated());
        }
    }
    let segment = begin(place.clone(), entropy.clone())?;
    Ok(Recovered {
        disk: Disk { place, entropy, sequence: 0, segment, full: Vec::new(), spares: found.spares },
        index: Index::new(),
        log_bytes: 0,
        checkpoint_bytes: 0,
    })
}

/// Begins the log, and states the format: from here on there is a store.
pub(crate) fn begin(place: Place, entropy: Entropy) -> Result<Segment> {
    let header = Header { id: 1, salt: entropy.next_u64(), first_sequence: 1 };
    let segment = Segment::create(&place, header, None)?;
    state_format(&place)?;
    // A crash may have come between making the directory and making its name durable.
    place.files.sync_name(&place.dir).map_err(io_error("sync the name of", &place.dir))?;
    Ok(segment)
}

/// States the format that this version writes.
fn state_format(place: &Place) -> Result<()> {
    let temporary = place.path("FORMAT.tmp");
    let write_error = io_error("write", &temporary);
    let file = place.files.open(&temporary).map_err(&write_error)?;
    file.write_at(0, format!("kore-store {FORMAT}\n").as_bytes()).map_err(&write_error)?;
    file.sync().map_err(&write_error)?;
    place.files.rename(&temporary, &place.path(FORMAT_FILE)).map_err(&write_error)?;
    place.sync()
}

/// The newest checkpoint; an empty index, when there is none.
pub(crate) fn newest_checkpoint(place: &Place, found: &Found) -> Result<checkpoint::Loaded> {
    let Some(sequence) = found.checkpoints.last().copied() else {
        return Ok(checkpoint::Loaded { index: Index::new(), sequence: 0, size: 0 });
    };
    let path = place.path(&checkpoint_name(sequence));
    let loaded = checkpoint::load(&*place.files, &path)?;
    if loaded.sequence != sequence {
        return Err(corrupt(&path, 0, "the checkpoint is another one than its name says"));
    }
    Ok(loaded)
}

fn recover(place: Place, found: Found, entropy: Entropy, format: u32) -> Result<Recovered> {
    let newest = found.checkpoints.last().copied();
    let loaded = newest_checkpoint(&place, &found)?;
    let replayed = replay(&place, &found.segments, loaded.index, loaded.sequence)?;
    let Replayed { index, sequence, full, log_bytes, tail } = replayed;
    if format < FORMAT {
        // Before anything is written that an earlier version would not understand.
        state_format(&place)?;
    }
    let segment = match tail {
        Tail::Torn { id } => {
            let header = Header { id, salt: entropy.next_u64(), first_sequence: sequence + 1 };
            Segment::create(&place, header, None)?
        }
        Tail::Open { segment, bytes, last } => {
            segment.settle(&bytes, last.as_ref())?;
            segment.frames.file.write_past_cache();
            segment
        }
    };
    place.sync()?;
    let mut disk = Disk { place, entropy, sequence, segment, full, spares: found.spares };
    if let Some(newest) = newest {
        disk.release(newest)?;
        remove_old_checkpoints(&disk.place, newest)?;
    }
    Ok(Recovered { disk, index, log_bytes, checkpoint_bytes: loaded.size })
}

/// What the log leads to.
pub(crate) struct Replayed {
    pub(crate) index: Index,
    /// The last group in the index.
    pub(crate) sequence: u64,
    /// The segments before the last: id and last group.
    pub(crate) full: Vec<(u64, u64)>,
    pub(crate) log_bytes: u64,
    pub(crate) tail: Tail,
}

/// The last segment.
pub(crate) enum Tail {
    /// It was torn while it was made, and holds nothing yet.
    Torn { id: u64 },
    /// It goes on here.
    Open { segment: Segment, bytes: Vec<u8>, last: Option<Frame> },
}

/// Replays segments, in order, on an index that holds everything up to the group `covered`. Changes nothing on disk.
///
/// One thread reads segments while another one applies what was read.
pub(crate) fn replay(place: &Place, ids: &[u64], index: Index, covered: u64) -> Result<Replayed> {
    thread::scope(|scope| {
        // What was read waits for its turn: two segments at a time are in memory, and the one that is being read.
        let (to, read) = mpsc::sync_channel(1);
        let reading = thread::Builder::new().name("kore-store-recovery".into());
        reading
            .spawn_scoped(scope, move || read_segments(place, ids, covered, &to))
            .map_err(io_error("start a thread to read", &place.dir))?;
        replay_read(place, ids, index, covered, read)
    })
}

/// A segment that was read.
struct Read {
    path: PathBuf,
    /// None: it is not valid.
    header: Option<Header>,
    groups: Vec<Group>,
    last: Option<Frame>,
    /// The file, what is in it, and where the next frame goes; of the newest segment.
    tail: Option<(Box<dyn File>, Vec<u8>, usize)>,
}

/// A group that is not in the checkpoint.
struct Group {
    frame: Frame,
    /// None: it makes no sense.
    entries: Option<Vec<record::Entry>>,
}

/// Reads segments, in order, until one cannot be read or nobody wants them any more.
fn read_segments(place: &Place, ids: &[u64], covered: u64, to: &SyncSender<Result<Read>>) {
    let mut bytes = Vec::new();
    for id in ids {
        let is_newest = Some(id) == ids.last();
        let read = read_segment(place, *id, covered, is_newest, &mut bytes);
        let failed = read.is_err();
        if to.send(read).is_err() || failed {
            return;
        }
    }
}

fn read_segment(place: &Place, id: u64, covered: u64, is_newest: bool, bytes: &mut Vec<u8>) -> Result<Read> {
    let path = place.path(&segment_name(id));
    let file = place.files.open(&path).map_err(io_error("read", &path))?;
    read_into(bytes, &*file, &path)?;
    let Scan { header, frames, end, stray } = scan(bytes, id);
    if let Some(stray) = stray {
        tracing::error!(file = %path.display(), end, stray, "valid frame behind a damaged one");
        return Err(corrupt(&path, end, "a frame is damaged, and a valid one follows"));
    }
    let last = frames.last().cloned();
    let groups = frames.into_iter().filter(|frame| frame.sequence > covered);
    let groups = groups.map(|frame| Group { entries: record::decode(&bytes[frame.payload.clone()]), frame }).collect();
    let tail = is_newest.then(|| (file, mem::take(bytes), end));
    Ok(Read { path, header, groups, last, tail })
}

fn replay_read(
    place: &Place,
    ids: &[u64],
    index: Index,
    covered: u64,
    read: impl IntoIterator<Item = Result<Read>>,
) -> Result<Replayed> {
    let compacted = index.compacted;
    let mut replay = Replay { sequence: covered, index, log_bytes: 0 };
    let mut full = Vec::new();
    for (id, read) in ids.iter().copied().zip(read) {
        let Read { path, header, groups, last, tail } = read?;
        let Some(header) = header else {
            // Torn while it was made: it holds nothing yet, and the one before it is whole.
            if tail.is_none() || Some(&id) == ids.first() {
                return Err(corrupt(&path, 0, "the segment's header is damaged"));
            }
            return Ok(replay.end(compacted, full, Tail::Torn { id }));
        };
        replay.segment(&path, header, groups)?;
        if let Some((file, bytes, end)) = tail {
            let segment = Segment::open(place, header, path, file, &bytes[..end])?;
            return Ok(replay.end(compacted, full, Tail::Open { segment, bytes, last }));
        }
        let last = last.map(|frame| frame.sequence);
        full.push((id, last.unwrap_or(header.first_sequence.saturating_sub(1))));
    }
    let missing = ids.last().copied().unwrap_or(1);
    Err(corrupt(&place.path(&segment_name(missing)), 0, "the segment is missing"))
}

struct Replay {
    /// The last group in the index.
    sequence: u64,
    index: Index,
    log_bytes: u64,
}

impl Replay {
    /// `compacted` is what was compacted before.
    fn end(mut self, compacted: Revision, full: Vec<(u64, u64)>, tail: Tail) -> Replayed {
        if self.index.compacted > compacted {
            self.index.sweep_all();
        }
        let Replay { index, sequence, log_bytes } = self;
        Replayed { index, sequence, full, log_bytes, tail }
    }

    fn segment(&mut self, path: &Path, header: Header, groups: Vec<Group>) -> Result<()> {
        if header.first_sequence > self.sequence + 1 {
            return Err(corrupt(path, 0, "groups before this segment are missing"));
        }
        for Group { frame, entries } in groups {
            if frame.sequence != self.sequence + 1 {
                return Err(corrupt(path, frame.offset, "groups before this one are missing"));
            }
            let mut apply = |entry| record::apply(&mut self.index, entry);
            let replayed = entries.and_then(|entries| entries.into_iter().try_for_each(&mut apply));
            if replayed.is_none() || self.index.revision != frame.revision {
                return Err(corrupt(path, frame.offset, "the group does not follow from those before it"));
            }
            self.sequence = frame.sequence;
            self.log_bytes += (FRAME_HEADER + frame.payload.len()) as u64;
        }
        Ok(())
    }
}

impl Segment {
    /// Makes durable what was read. It may be in the system's memory only; and where a flush has failed, the system may even
    /// take it for durable although it is not. Therefore what can be concerned is written again: the last frame, since
    /// every other one was durable before the next was written, and the header.
    fn settle(&self, bytes: &[u8], last: Option<&Frame>) -> Result<()> {
        let write_error = io_error("write", &self.path);
        let again = |part: Range<usize>| self.frames.file.write_at(part.start as u64, &bytes[part]);
        again(0..HEADER).map_err(&write_error)?;
        if let Some(last) = last {
            again(last.offset..last.payload.end).map_err(&write_error)?;
        }
        self.sync()
    }
}

fn corrupt(path: &Path, offset: usize, reason: &'static str) -> Error {
    Error::Corrupt { file: path.to_owned(), offset: offset as u64, reason }
}
