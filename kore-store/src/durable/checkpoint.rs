//! A checkpoint: the whole index in one file, so that the log before it is not needed any more.
//!
//! A stream of blocks, each with its length and checksum. It is written under another name, made durable, and then given
//! its own: a checkpoint that is there is whole.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdSet;

use super::append::Appender;
use super::codec::{Reader, put_bytes, put_u64};
use super::files::{File, Files};
use super::io_error;
use crate::index::{Attached, History, Index};
use crate::published::Walk;
use crate::{Error, KeyValue, Result};

/// A block is closed when it has reached so many bytes.
const BLOCK: usize = 256 << 10;

const MAGIC: u64 = u64::from_le_bytes(*b"KORECKP1");
const HEAD: u8 = 1;
const KEY: u8 = 2;
const LEASE: u8 = 3;
const END: u8 = 4;

/// Writes a checkpoint of what was shown after the group with this sequence number; answers with its size in bytes.
pub(crate) fn write(files: &dyn Files, dir: &Path, name: &str, walk: Walk, sequence: u64) -> Result<u64> {
    let temporary = dir.join(format!("{name}.tmp"));
    let write_error = io_error("write", &temporary);
    let file = files.open(&temporary).map_err(&write_error)?;
    file.write_past_cache();
    let mut to = Appender::new(file, &[]).map_err(&write_error)?;
    for block in Blocks::new(walk, sequence) {
        to.append(&block).map_err(&write_error)?;
    }
    to.file.sync().map_err(&write_error)?;
    name_it(files, dir, name)?;
    Ok(to.end())
}

/// Gives a checkpoint that is durable its name.
pub(crate) fn name_it(files: &dyn Files, dir: &Path, name: &str) -> Result<()> {
    let (temporary, path) = (dir.join(format!("{name}.tmp")), dir.join(name));
    files.rename(&temporary, &path).map_err(io_error("rename to", &path))?;
    files.sync_dir(dir).map_err(io_error("sync", dir))
}

/// The blocks of a checkpoint, one after the other. Each is made when it is asked for.
pub(crate) struct Blocks {
    walk: Walk,
    stretch: std::vec::IntoIter<Vec<Arc<KeyValue>>>,
    /// The versions of the key that is being written, oldest first; those before `written` have been.
    versions: Vec<Arc<KeyValue>>,
    written: usize,
    /// Begins with room for length and checksum.
    block: Vec<u8>,
    /// Blocks of leases, which come first.
    ready: VecDeque<Vec<u8>>,
    keys: u64,
    ended: bool,
}

impl Blocks {
    pub(crate) fn new(walk: Walk, sequence: u64) -> Blocks {
        let shown = walk.shown.clone();
        let mut blocks = Blocks {
            walk,
            stretch: Vec::new().into_iter(),
            versions: Vec::new(),
            written: 0,
            block: vec![0; 8],
            ready: VecDeque::new(),
            keys: 0,
            ended: false,
        };
        blocks.block.push(HEAD);
        for number in [MAGIC, sequence, shown.revision, shown.compacted, shown.last_lease] {
            put_u64(&mut blocks.block, number);
        }
        for (id, attached) in &shown.leases {
            blocks.block.push(LEASE);
            put_u64(&mut blocks.block, *id);
            put_u64(&mut blocks.block, attached.ttl_seconds);
            blocks.close_if_full();
        }
        blocks
    }

    /// Writes the next part of a key's history, as much as the block has room for; false: there is none. A history that goes
    /// over several blocks names its key in each.
    fn put_some(&mut self) -> bool {
        while self.written == self.versions.len() {
            self.written = 0;
            self.versions = match self.stretch.next() {
                Some(versions) => versions,
                None => match self.walk.next() {
                    Some(stretch) => {
                        self.stretch = stretch.into_iter();
                        Vec::new()
                    }
                    None => return false,
                },
            };
            self.keys += u64::from(!self.versions.is_empty());
        }
        let rest = &self.versions[self.written..];
        self.block.push(KEY);
        put_bytes(&mut self.block, &rest[0].key);
        let count_at = self.block.len();
        put_u64(&mut self.block, 0);
        let mut count: u64 = 0;
        for kv in rest {
            for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
                put_u64(&mut self.block, number);
            }
            put_bytes(&mut self.block, &kv.value);
            count += 1;
            if self.block.len() >= BLOCK {
                break;
            }
        }
        self.block[count_at..count_at + 8].copy_from_slice(&count.to_le_bytes());
        self.written += count as usize;
        true
    }

    fn close_if_full(&mut self) {
        if self.block.len() >= BLOCK {
            self.close();
        }
    }

    fn close(&mut self) {
        let length = u32::try_from(self.block.len() - 8).expect("a block is little longer than one key and value");
        let checksum = crc32fast::hash(&self.block[8..]);
        self.block[..4].copy_from_slice(&length.to_le_bytes());
        self.block[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.ready.push_back(std::mem::replace(&mut self.block, vec![0; 8]));
    }
}

impl Iterator for Blocks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        while self.ready.is_empty() && !self.ended {
            if !self.put_some() {
                self.block.push(END);
                put_u64(&mut self.block, self.keys);
                put_u64(&mut self.block, self.walk.shown.leases.len() as u64);
                self.close();
                self.ended = true;
            }
            self.close_if_full();
        }
        self.ready.pop_front()
    }
}

/// What a checkpoint holds.
pub(crate) struct Loaded {
    pub(crate) index: Index,
    pub(crate) sequence: u64,
    /// Its size, in bytes.
    pub(crate) size: u64,
}

/// Reads a checkpoint.
pub(crate) fn load(files: &dyn Files, path: &Path) -> Result<Loaded> {
    let file = files.open(path).map_err(io_error("read", path))?;
    read(FileReader { file, offset: 0 }, path)
}

/// Reads a checkpoint from wherever it comes from; `path` is what errors call that.
pub(crate) fn read(mut from: impl Read, path: &Path) -> Result<Loaded> {
    let corrupt = |offset, reason| Error::Corrupt { file: path.to_owned(), offset, reason };
    let mut contents = Contents { loaded: Loaded { index: Index::new(), sequence: 0, size: 0 }, open: None };
    let (mut ended, mut block) = (false, Vec::new());
    while !ended {
        let at = contents.loaded.size;
        let whole = read_block(&mut from, &mut block).map_err(io_error("read", path))?;
        whole.ok_or_else(|| corrupt(at, "a block of the checkpoint is damaged, or missing"))?;
        contents.loaded.size += 8 + block.len() as u64;
        ended =
            contents.take(&block, at == 0).ok_or_else(|| corrupt(at, "a block of the checkpoint makes no sense"))?;
    }
    Ok(contents.loaded)
}

struct FileReader {
    file: Box<dyn File>,
    offset: u64,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.offset, buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads the next block. None: it is damaged.
fn read_block(from: &mut impl Read, block: &mut Vec<u8>) -> io::Result<Option<()>> {
    let mut head = Vec::with_capacity(8);
    from.take(8).read_to_end(&mut head)?;
    let mut numbers = Reader(&head);
    let (Some(length), Some(checksum)) = (numbers.u32(), numbers.u32()) else {
        return Ok(None);
    };
    block.clear();
    // A length that is damaged takes no more memory than there are bytes.
    let read = from.take(length.into()).read_to_end(block)?;
    let whole = read == length as usize && crc32fast::hash(block) == checksum;
    Ok(whole.then_some(()))
}

/// What has been read of a checkpoint.
struct Contents {
    loaded: Loaded,
    /// The key whose versions are being read: there may be more of them.
    open: Option<History>,
}

impl Contents {
    /// Takes in the records of a block; answers whether it was the last.
    fn take(&mut self, block: &[u8], first: bool) -> Option<bool> {
        let mut reader = Reader(block);
        let index = &mut self.loaded.index;
        if first {
            (reader.u8()? == HEAD && reader.u64()? == MAGIC).then_some(())?;
            self.loaded.sequence = reader.u64()?;
            index.revision = reader.u64()?;
            index.compacted = reader.u64()?;
            index.last_lease = reader.u64()?;
            (1..=index.revision).contains(&index.compacted.max(1)).then_some(())?;
            (index.last_lease < u64::MAX / 2).then_some(())?;
        }
        while !reader.is_empty() {
            match reader.u8()? {
                LEASE => {
                    let (id, ttl_seconds) = (reader.u64()?, reader.u64()?);
                    let keys = OrdSet::new();
                    self.loaded.index.leases.insert(id, Attached { ttl_seconds, keys });
                }
                KEY => self.take_history(&mut reader)?,
                END => {
                    self.close();
                    let counts = (reader.u64()?, reader.u64()?);
                    let index = &self.loaded.index;
                    let found = (index.len() as u64, index.leases.len() as u64);
                    (counts == found && reader.is_empty()).then_some(())?;
                    return Some(true);
                }
                _ => return None,
            }
        }
        Some(false)
    }

    fn take_history(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let key = reader.bytes()?;
        if self.open.as_ref().is_some_and(|open| open.newest().key != key) {
            self.close();
        }
        let mut before = self.open.as_ref().map_or(0, |open| open.newest().mod_revision);
        for _ in 0..reader.u64()? {
            let kv = Arc::new(KeyValue {
                // Not a clone: that would share an allocation, which takes more memory than two.
                key: Bytes::copy_from_slice(&key),
                create_revision: reader.u64()?,
                mod_revision: reader.u64()?,
                version: reader.u64()?,
                lease: reader.u64()?,
                value: reader.bytes()?,
            });
            (before < kv.mod_revision && kv.mod_revision <= self.loaded.index.revision).then_some(())?;
            before = kv.mod_revision;
            match &mut self.open {
                Some(history) => history.push(kv),
                None => self.open = Some(History::new(kv)),
            }
        }
        Some(())
    }

    fn close(&mut self) {
        if let Some(history) = self.open.take() {
            self.loaded.index.restore(history);
        }
    }
}
