//! What happened at each revision, from the compacted one to the current one: what watchers read.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::Index;
use crate::{Error, Event, EventBatch, Result, Revision, WatchRequest};

/// Revisions a watcher looks at before it lets go of the log for a moment.
const SCAN: usize = 1024;

/// One batch a revision, without gaps.
pub(crate) struct Log {
    /// The revision of the first batch, or of the one that will be it.
    first: Revision,
    batches: VecDeque<EventBatch>,
}

/// What a watcher found.
pub(crate) struct Found {
    /// The batches that have something for it.
    pub(crate) batches: Vec<EventBatch>,
    /// The revision to go on from.
    pub(crate) next: Revision,
    /// The revision after the last, when there is nothing more to look at.
    pub(crate) caught_up: Option<Revision>,
}

/// What a compaction left to sweep out.
pub(crate) struct Stale {
    /// How many of the oldest batches nobody can watch any more.
    pub(crate) batches: usize,
    /// The keys that may have versions that nobody can read any more.
    pub(crate) keys: BTreeSet<Bytes>,
}

impl Log {
    /// The log of everything that an index still knows.
    pub(crate) fn of(index: &Index) -> Log {
        let mut events: Vec<Event> = Vec::new();
        for history in index.keys.values() {
            let mut versions = history.versions().peekable();
            while let Some(kv) = versions.next() {
                if kv.mod_revision < index.compacted {
                    break;
                }
                let previous = versions.peek().copied().filter(|kv| !kv.is_deletion());
                events.push(Event::new(kv.clone(), previous.cloned()));
            }
        }
        // Stable: within a revision the events stay in the order of their keys.
        events.sort_by_key(|event| event.kv.mod_revision);
        let first = events.first().map(|event| event.kv.mod_revision);
        let mut log = Log { first: first.unwrap_or(index.revision + 1), batches: VecDeque::new() };
        for batch in events.chunk_by(|a, b| a.kv.mod_revision == b.kv.mod_revision) {
            log.push(EventBatch::new(batch[0].kv.mod_revision, batch));
        }
        log
    }

    /// The revision after the last.
    pub(crate) fn end(&self) -> Revision {
        self.first + self.batches.len() as u64
    }

    pub(crate) fn push(&mut self, batch: EventBatch) {
        assert_eq!(batch.revision, self.end(), "revisions have no gaps");
        self.batches.push_back(batch);
    }

    /// Up to `limit` batches of what a watch asked for, from revision `next` on.
    pub(crate) fn read(
        &self,
        next: Revision,
        request: &WatchRequest,
        limit: usize,
        compacted: Revision,
    ) -> Result<Found> {
        if next < compacted {
            return Err(Error::Compacted { requested: next, at: compacted });
        }
        let start = (next.max(self.first) - self.first) as usize;
        let mut found = Found { batches: Vec::new(), next: next.max(self.first.min(self.end())), caught_up: None };
        for batch in self.batches.iter().skip(start).take(SCAN) {
            found.batches.extend(batch.wanted(request));
            found.next = batch.revision + 1;
            if found.batches.len() == limit {
                break;
            }
        }
        found.caught_up = (found.next >= self.end()).then(|| self.end());
        Ok(found)
    }

    /// What a compaction left, up to `limit` batches of it, oldest first.
    pub(crate) fn stale(&self, compacted: Revision, limit: usize) -> Stale {
        let before = self.batches.iter().take(limit);
        let batches = before.take_while(|batch| batch.revision < compacted).count();
        // And the one at the compacted revision: it stays, since a watch may begin there, but what it overwrote goes.
        let with_keys = self.batches.iter().take(batches + 1);
        Stale {
            batches,
            keys: with_keys
                .filter(|batch| batch.revision <= compacted)
                .flat_map(|batch| batch.events.iter().map(|event| event.kv.key.clone()))
                .collect(),
        }
    }

    /// Takes out the oldest batches.
    pub(crate) fn take(&mut self, batches: usize) -> Vec<EventBatch> {
        self.first += batches as u64;
        self.batches.drain(..batches).collect()
    }

    /// True when nothing before `compacted` is left.
    pub(crate) fn is_swept(&self, compacted: Revision) -> bool {
        self.first >= compacted || self.batches.is_empty()
    }
}

impl Index {
    /// Drops the versions of these keys that nobody can read any more.
    pub(crate) fn sweep<'a>(&mut self, keys: impl IntoIterator<Item = &'a Bytes>) {
        for key in keys {
            let Some(history) = self.keys.get(&key[..]) else {
                continue;
            };
            let before = history.bytes();
            match history.compact(self.compacted) {
                Some(left) if left.bytes() == before => {}
                Some(left) => {
                    self.bytes -= before - left.bytes();
                    self.keys.insert(key.clone(), left);
                }
                None => {
                    self.bytes -= before;
                    self.keys.remove(&key[..]);
                }
            }
        }
    }

    /// Drops every version that nobody can read any more.
    pub(crate) fn sweep_all(&mut self) {
        let all = self.keys.clone();
        self.sweep(all.keys());
    }
}
