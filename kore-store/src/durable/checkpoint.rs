//! A checkpoint: the whole index in one file, so that the log before it is not needed any more.
//!
//! A stream of blocks, each with its length and checksum. It is written under another name, made durable, and then given
//! its own: a checkpoint that is there is whole.

use std::io;
use std::path::Path;
use std::sync::Arc;

use imbl::OrdSet;

use super::codec::{Reader, put_bytes, put_u64};
use super::files::{File, Files};
use super::io_error;
use crate::index::{Attached, History, Index};
use crate::published::Walk;
use crate::{Error, KeyValue, Result};

/// A block is closed when it has reached so many bytes.
const BLOCK: usize = 256 << 10;

/// A block holds at most one key's history beyond that, whose length is a u32.
const MAX_BLOCK: usize = u32::MAX as usize;

const MAGIC: u64 = u64::from_le_bytes(*b"KORECKP1");
const HEAD: u8 = 1;
const KEY: u8 = 2;
const LEASE: u8 = 3;
const END: u8 = 4;

/// Writes a checkpoint of what was shown after the group with this sequence number; answers with its size in bytes.
pub(crate) fn write(files: &dyn Files, dir: &Path, name: &str, walk: Walk, sequence: u64) -> Result<u64> {
    let temporary = dir.join(format!("{name}.tmp"));
    let path = dir.join(name);
    let size = write_blocks(files, &temporary, walk, sequence).map_err(io_error("write", &temporary))?;
    files.rename(&temporary, &path).map_err(io_error("rename to", &path))?;
    files.sync_dir(dir).map_err(io_error("sync", dir))?;
    Ok(size)
}

fn write_blocks(files: &dyn Files, path: &Path, walk: Walk, sequence: u64) -> io::Result<u64> {
    let mut out = BlockWriter { file: files.open(path)?, offset: 0, block: vec![0; 8] };
    out.block.push(HEAD);
    let shown = walk.shown.clone();
    for number in [MAGIC, sequence, shown.revision, shown.compacted, shown.last_lease] {
        put_u64(&mut out.block, number);
    }
    for (id, attached) in &shown.leases {
        out.block.push(LEASE);
        put_u64(&mut out.block, *id);
        put_u64(&mut out.block, attached.ttl_seconds);
        out.close_if_full()?;
    }
    let mut keys: u64 = 0;
    for stretch in walk {
        for versions in stretch {
            put_history(&mut out.block, &versions);
            out.close_if_full()?;
            keys += 1;
        }
    }
    out.block.push(END);
    put_u64(&mut out.block, keys);
    put_u64(&mut out.block, shown.leases.len() as u64);
    out.close()?;
    out.file.sync()?;
    Ok(out.offset)
}

fn put_history(block: &mut Vec<u8>, versions: &[Arc<KeyValue>]) {
    block.push(KEY);
    put_bytes(block, &versions[0].key);
    put_u64(block, versions.len() as u64);
    for kv in versions {
        for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
            put_u64(block, number);
        }
        put_bytes(block, &kv.value);
    }
}

struct BlockWriter {
    file: Box<dyn File>,
    offset: u64,
    /// Begins with room for length and checksum.
    block: Vec<u8>,
}

impl BlockWriter {
    fn close_if_full(&mut self) -> io::Result<()> {
        match self.block.len() >= BLOCK {
            true => self.close(),
            false => Ok(()),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len() - 8)
            .map_err(|_| io::Error::other("the history of one key is over 4 GiB: compact"))?;
        let checksum = crc32fast::hash(&self.block[8..]);
        self.block[..4].copy_from_slice(&length.to_le_bytes());
        self.block[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_at(self.offset, &self.block)?;
        self.offset += self.block.len() as u64;
        self.block.truncate(8);
        Ok(())
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
    let read_error = io_error("read", path);
    let file = files.open(path).map_err(&read_error)?;
    let size = file.len().map_err(&read_error)?;
    let corrupt = |offset, reason| Error::Corrupt { file: path.to_owned(), offset, reason };
    let mut loaded = Loaded { index: Index::new(), sequence: 0, size };
    let (mut offset, mut ended, mut block) = (0, false, Vec::new());
    while !ended {
        let at = offset;
        let next = read_block(&*file, size, offset, &mut block).map_err(&read_error)?;
        offset = next.ok_or_else(|| corrupt(at, "a block of the checkpoint is damaged"))?;
        ended = read_records(&mut loaded, &block, at == 0)
            .ok_or_else(|| corrupt(at, "a block of the checkpoint makes no sense"))?;
    }
    Ok(loaded)
}

/// Reads the block at an offset; answers where the next is. None: it is damaged.
fn read_block(file: &dyn File, size: u64, offset: u64, block: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut head = [0; 8];
    if file.read_at(offset, &mut head)? < head.len() {
        return Ok(None);
    }
    let mut numbers = Reader(&head);
    let (length, checksum) = (numbers.u32().unwrap_or(0), numbers.u32().unwrap_or(0));
    let end = offset + 8 + u64::from(length);
    if end > size || length as usize > MAX_BLOCK {
        return Ok(None);
    }
    block.resize(length as usize, 0);
    let read = file.read_at(offset + 8, block)?;
    let whole = read == block.len() && crc32fast::hash(block) == checksum;
    Ok(whole.then_some(end))
}

/// Takes in the records of a block; answers whether it was the last.
fn read_records(loaded: &mut Loaded, block: &[u8], first: bool) -> Option<bool> {
    let mut reader = Reader(block);
    let index = &mut loaded.index;
    if first {
        (reader.u8()? == HEAD && reader.u64()? == MAGIC).then_some(())?;
        loaded.sequence = reader.u64()?;
        index.revision = reader.u64()?;
        index.compacted = reader.u64()?;
        index.last_lease = reader.u64()?;
    }
    while !reader.is_empty() {
        match reader.u8()? {
            LEASE => {
                let (id, ttl_seconds) = (reader.u64()?, reader.u64()?);
                let keys = OrdSet::new();
                index.leases.insert(id, Attached { ttl_seconds, keys });
            }
            KEY => read_history(index, &mut reader)?,
            END => {
                let counts = (reader.u64()?, reader.u64()?);
                let found = (index.len() as u64, index.leases.len() as u64);
                (counts == found && reader.is_empty()).then_some(())?;
                return Some(true);
            }
            _ => return None,
        }
    }
    Some(false)
}

fn read_history(index: &mut Index, reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.bytes()?;
    let mut history: Option<History> = None;
    for _ in 0..reader.u64()? {
        let kv = Arc::new(KeyValue {
            key: key.clone(),
            create_revision: reader.u64()?,
            mod_revision: reader.u64()?,
            version: reader.u64()?,
            lease: reader.u64()?,
            value: reader.bytes()?,
        });
        match &mut history {
            Some(history) => history.push(kv),
            None => history = Some(History::new(kv)),
        }
    }
    index.restore(history?);
    Some(())
}
