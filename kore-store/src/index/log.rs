//! What happened at each revision, from the compacted one to the current one: what watchers read.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Index;
use crate::{Event, EventBatch, KeyValue, Revision, WatchRequest};

/// Revisions a watcher looks at before it lets go of the log for a moment.
const SCAN: usize = 1024;

/// One batch a revision, without gaps.
pub(crate) struct Log {
    /// The revision of the first batch, or of the one that will be it.
    first: Revision,
    batches: VecDeque<EventBatch>,
}

impl Log {
    /// The log of everything that an index still knows.
    ///
    /// None: a revision is missing between the oldest and the current one, so that no store can have led there.
    pub(crate) fn of(index: &Index) -> Option<Log> {
        let mut events: Vec<(Revision, Event)> = Vec::new();
        for history in index.histories(None) {
            let mut versions = history.versions().rev().peekable();
            while let Some(kv) = versions.next() {
                if kv.mod_revision < index.compacted {
                    break;
                }
                let previous = versions.peek().copied().filter(|kv| !kv.is_deletion());
                events.push((kv.mod_revision, Event::new(kv.clone(), previous.cloned())));
            }
        }
        // Stable: within a revision the events stay in the order of their keys.
        events.sort_by_key(|(revision, _)| *revision);
        let first = events.first().map(|(revision, _)| *revision);
        let mut log = Log { first: first.unwrap_or(index.revision + 1), batches: VecDeque::new() };
        let mut events = events.into_iter().peekable();
        while let Some((revision, event)) = events.next() {
            let mut batch = vec![event];
            while let Some((_, event)) = events.next_if(|(other, _)| *other == revision) {
                batch.push(event);
            }
            if revision != log.end() {
                return None;
            }
            log.push(EventBatch::new(revision, batch));
        }
        (log.end() == index.revision + 1).then_some(log)
    }

    /// The revision after the last.
    pub(crate) fn end(&self) -> Revision {
        self.first + self.batches.len() as u64
    }

    pub(crate) fn push(&mut self, batch: EventBatch) {
        assert_eq!(batch.revision, self.end(), "revisions have no gaps");
        self.batches.push_back(batch);
    }

    /// The last batch, if it is of this revision.
    pub(crate) fn last(&self, revision: Revision) -> Option<&EventBatch> {
        self.batches.back().filter(|batch| batch.revision == revision)
    }

    /// What a watch asked for, from revision `next` on, as far as it looks in one go. `next` becomes the revision to go on from.
    pub(crate) fn read<'a>(
        &'a self,
        next: &'a mut Revision,
        request: &'a WatchRequest,
    ) -> impl Iterator<Item = EventBatch> + 'a {
        *next = self.first.min(self.end()).max(*next);
        let start = (*next - self.first) as usize;
        self.batches.range(start.min(self.batches.len())..).take(SCAN).filter_map(move |batch| {
            *next = batch.revision + 1;
            batch.wanted(request)
        })
    }

    /// Takes out the oldest batches that nobody can watch any more when `floor` is the oldest revision, up to `limit`.
    fn take(&mut self, floor: Revision, limit: usize) -> Vec<EventBatch> {
        let stale = self.batches.iter().take(limit).take_while(|batch| batch.revision < floor).count();
        self.first += stale as u64;
        self.batches.drain(..stale).collect()
    }

    /// True when nothing before `compacted` is left.
    pub(crate) fn is_swept(&self, compacted: Revision) -> bool {
        self.first >= compacted || self.batches.is_empty()
    }
}

/// What was swept out: to be dropped when nobody waits for it.
#[derive(Default)]
pub(crate) struct Swept {
    batches: Vec<EventBatch>,
    versions: Vec<Arc<KeyValue>>,
}

impl Index {
    /// Drops what nobody can read or watch any more when `floor` is the oldest revision: up to `limit` batches of the log, and
    /// the versions that they overwrote.
    pub(crate) fn sweep(&mut self, log: &mut Log, floor: Revision, limit: usize) -> Swept {
        let batches = log.take(floor, limit);
        let mut swept = Swept { batches, versions: Vec::new() };
        // The batch at the oldest revision stays, since a watch may begin there, but what it overwrote goes.
        let first = log.batches.front().filter(|batch| batch.revision <= floor);
        for batch in swept.batches.iter().chain(first) {
            // No further than this batch: a key that many revisions have written is swept as often.
            let floor = floor.min(batch.revision + 1);
            for event in batch.events.iter() {
                self.sweep_key(&event.kv.key, floor, &mut swept.versions);
            }
        }
        swept
    }

    fn sweep_key(&mut self, key: &[u8], floor: Revision, dropped: &mut Vec<Arc<KeyValue>>) {
        let Some(history) = self.keys.get_mut(key) else {
            return;
        };
        let before = dropped.len();
        let stays = history.compact(floor, |kv| dropped.push(kv));
        dropped[before..].iter().for_each(|kv| self.size.remove(kv));
        if !stays {
            self.keys.remove(key);
        }
    }

    /// Drops every version that nobody can read any more.
    pub(crate) fn sweep_all(&mut self) {
        let keys: Vec<Bytes> = self.histories(None).map(|history| history.newest().key.clone()).collect();
        for key in keys {
            self.sweep_key(&key, self.compacted, &mut Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Txn};

    /// An index and its log, in which one key was written so often.
    fn hot(writes: usize) -> (Index, Log) {
        let mut index = Index::new();
        let mut log = Log::of(&index).expect("there is nothing");
        for _ in 0..writes {
            let put = Txn::new().then(Op::put("hot", "value"));
            log.push(index.apply(put, u64::MAX, &mut |_| ()).expect("a write").batch.expect("it wrote"));
        }
        (index, log)
    }

    #[test]
    fn a_key_written_often_is_swept_in_steps() {
        let (mut index, mut log) = hot(100);
        let floor = index.revision - 1;
        let bytes = index.size.bytes;
        let mut dropped = Vec::new();
        while !log.is_swept(floor) {
            let swept = index.sweep(&mut log, floor, 10);
            assert!(swept.versions.len() <= 11, "{}", swept.versions.len());
            dropped.extend(swept.versions.iter().map(|kv| kv.mod_revision));
        }
        assert_eq!(dropped, (2..floor).collect::<Vec<_>>());
        assert_eq!(index.size.bytes, bytes / 100 * 2);
        let left: Vec<_> = index.histories(None).flat_map(|history| history.versions()).collect();
        assert_eq!(left.iter().map(|kv| kv.mod_revision).collect::<Vec<_>>(), [floor, floor + 1]);
    }
}
