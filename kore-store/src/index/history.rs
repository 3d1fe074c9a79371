//! The versions of one key.

use std::collections::VecDeque;
use std::sync::Arc;

use super::tree::Keyed;
use crate::{Event, KeyValue, Revision};

/// What a version costs beside its key and value: the pair itself, its place in the tree and in the log.
const VERSION_BYTES: u64 = 192;

/// What a version costs on disk beside its key and value.
const VERSION_BYTES_ON_DISK: u64 = 36;

/// The versions of one key that are kept. Most keys have one.
pub(crate) struct History {
    newest: Arc<KeyValue>,
    /// Those before it, oldest first; never empty.
    #[expect(clippy::box_collection, reason = "there are many histories, and few have more than one version")]
    older: Option<Box<VecDeque<Arc<KeyValue>>>>,
}

impl Keyed for History {
    fn key(&self) -> &[u8] {
        &self.newest.key
    }
}

impl History {
    pub(crate) fn new(first: Arc<KeyValue>) -> History {
        History { newest: first, older: None }
    }

    /// The newest version, which may be the mark of a deletion.
    pub(crate) fn newest(&self) -> &Arc<KeyValue> {
        &self.newest
    }

    /// What the key holds now.
    pub(crate) fn live(&self) -> Option<&Arc<KeyValue>> {
        Some(&self.newest).filter(|kv| !kv.is_deletion())
    }

    /// What the key held at a revision.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Arc<KeyValue>> {
        let then = match &self.older {
            _ if self.newest.mod_revision <= revision => &self.newest,
            Some(older) => older.get(older.partition_point(|kv| kv.mod_revision <= revision).checked_sub(1)?)?,
            None => return None,
        };
        Some(then).filter(|kv| !kv.is_deletion())
    }

    /// Every version, oldest first.
    pub(crate) fn versions(&self) -> impl DoubleEndedIterator<Item = &Arc<KeyValue>> {
        self.older.iter().flat_map(|older| older.iter()).chain([&self.newest])
    }

    /// Takes in a first version that turns out to be a further one.
    pub(crate) fn replace(&mut self, first: History) -> Event {
        let previous = self.live().cloned();
        let mut kv = first.newest;
        if let Some(previous) = &previous {
            let kv = Arc::get_mut(&mut kv).expect("nobody has seen it yet");
            kv.create_revision = previous.create_revision;
            kv.version = previous.version + 1;
        }
        self.push(kv.clone());
        Event::new(kv, previous)
    }

    pub(crate) fn push(&mut self, kv: Arc<KeyValue>) {
        let before = std::mem::replace(&mut self.newest, kv);
        self.older.get_or_insert_default().push_back(before);
    }

    /// Drops what nobody can read or watch from `compacted` on: everything before the version that holds there, and that one,
    /// too, if it is a deletion that happened earlier. Hands what it drops to `dropped`. False: nothing is left, the newest
    /// version is one of those, and the history is to go.
    pub(crate) fn compact(&mut self, compacted: Revision, mut dropped: impl FnMut(Arc<KeyValue>)) -> bool {
        if let Some(older) = &mut self.older {
            while let Some(first) = older.front() {
                let next = older.get(1).unwrap_or(&self.newest).mod_revision;
                if !is_stale(first, Some(next), compacted) {
                    break;
                }
                older.pop_front().map(&mut dropped);
            }
            match older.len() {
                0 => self.older = None,
                // Many versions have gone: so may their room.
                few if few < older.capacity() / 4 => older.shrink_to(2 * few),
                _ => {}
            }
        }
        let all = self.older.is_none() && is_stale(&self.newest, None, compacted);
        if all {
            dropped(self.newest.clone());
        }
        !all
    }

    /// The versions up to `revision` that somebody can read or watch from `compacted` on, oldest first.
    pub(crate) fn kept(&self, compacted: Revision, revision: Revision) -> Vec<Arc<KeyValue>> {
        let mut kept: Vec<Arc<KeyValue>> = Vec::new();
        for kv in self.versions().rev().filter(|kv| kv.mod_revision <= revision) {
            if kv.mod_revision > compacted {
                kept.push(kv.clone());
                continue;
            }
            if !is_stale(kv, None, compacted) {
                kept.push(kv.clone());
            }
            break;
        }
        kept.reverse();
        kept
    }
}

/// Whether nobody can read or watch a version, followed by that of revision `next`, from `compacted` on.
fn is_stale(kv: &KeyValue, next: Option<Revision>, compacted: Revision) -> bool {
    next.is_some_and(|next| next <= compacted) || kv.is_deletion() && kv.mod_revision < compacted
}

/// Bytes that a version counts for, given those of its key and value.
pub(crate) fn version_bytes(key: usize, value: usize) -> u64 {
    key as u64 + value as u64 + VERSION_BYTES
}

/// How much an index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes that all versions count for.
    pub(crate) bytes: u64,
    versions: u64,
}

impl Size {
    pub(crate) fn add(&mut self, kv: &KeyValue) {
        self.bytes += version_bytes(kv.key.len(), kv.value.len());
        self.versions += 1;
    }

    pub(crate) fn remove(&mut self, kv: &KeyValue) {
        self.bytes -= version_bytes(kv.key.len(), kv.value.len());
        self.versions -= 1;
    }

    /// About as many bytes as a checkpoint of it takes, or a log that writes all of it.
    pub(crate) fn on_disk(&self) -> u64 {
        self.bytes - self.versions * (VERSION_BYTES - VERSION_BYTES_ON_DISK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(revision: Revision, version: u64) -> Arc<KeyValue> {
        Arc::new(KeyValue { key: "k".into(), mod_revision: revision, version, ..KeyValue::default() })
    }

    /// Written at 2, 4 and 8, deleted at 6 and 10.
    fn history() -> History {
        let mut history = History::new(version(2, 1));
        for (at, count) in [(4, 2), (6, 0), (8, 1), (10, 0)] {
            history.push(version(at, count));
        }
        history
    }

    fn kept(compacted: Revision) -> Vec<Revision> {
        let mut history = history();
        let mut dropped = Vec::new();
        let left = history.compact(compacted, |kv| dropped.push(kv.mod_revision));
        let versions: Vec<_> = history.versions().map(|kv| kv.mod_revision).collect();
        let kept = if left { versions } else { Vec::new() };
        let told: Vec<_> = self::history().kept(compacted, 10).iter().map(|kv| kv.mod_revision).collect();
        assert_eq!(told, kept);
        assert_eq!([dropped, kept.clone()].concat(), [2, 4, 6, 8, 10], "each is kept or dropped");
        kept
    }

    #[test]
    fn what_can_still_be_read_is_kept() {
        assert_eq!(kept(1), [2, 4, 6, 8, 10]);
        assert_eq!(kept(4), [4, 6, 8, 10]);
        assert_eq!(kept(5), [4, 6, 8, 10]);
        // The deletion at 6 can still be watched from 6, and no longer from 7.
        assert_eq!(kept(6), [6, 8, 10]);
        assert_eq!(kept(7), [8, 10]);
        assert_eq!(kept(10), [10]);
        assert_eq!(kept(11), [0; 0]);
    }

    #[test]
    fn every_revision_is_read_as_it_was() {
        let found = (1..12).map(|at| history().at(at).map_or(0, |kv| kv.mod_revision));
        assert_eq!(found.collect::<Vec<_>>(), [0, 2, 2, 4, 4, 0, 0, 8, 8, 0, 0]);
    }
}
