//! The versions of one key, newest first.

use std::sync::Arc;

use crate::{KeyValue, Revision};

/// What a version costs beside its key and value: the pair itself, its place in the tree and in the log.
const VERSION_BYTES: u64 = 192;

/// The versions of one key that are kept. Immutable: a new version is put in front and shares what is behind.
#[derive(Clone)]
pub(crate) struct History {
    newest: Arc<KeyValue>,
    older: Option<Arc<Older>>,
}

struct Older {
    kv: Arc<KeyValue>,
    older: Option<Arc<Older>>,
}

impl History {
    pub(crate) fn new(first: Arc<KeyValue>) -> History {
        History { newest: first, older: None }
    }

    /// What the key holds now.
    pub(crate) fn live(&self) -> Option<&Arc<KeyValue>> {
        Some(&self.newest).filter(|kv| !kv.is_deletion())
    }

    /// What the key held at a revision.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Arc<KeyValue>> {
        self.versions().find(|kv| kv.mod_revision <= revision).filter(|kv| !kv.is_deletion())
    }

    /// Every version, newest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Arc<KeyValue>> {
        let mut next = self.older.as_deref();
        std::iter::once(&self.newest).chain(std::iter::from_fn(move || {
            let older = next?;
            next = older.older.as_deref();
            Some(&older.kv)
        }))
    }

    pub(crate) fn push(&mut self, kv: Arc<KeyValue>) {
        let kv = std::mem::replace(&mut self.newest, kv);
        let older = self.older.take();
        self.older = Some(Arc::new(Older { kv, older }));
    }

    /// Without what nobody can read or watch from `compacted` on: everything before the version that holds there, and that
    /// one, too, if it is a deletion that happened earlier. None: nothing is left.
    pub(crate) fn compact(&self, compacted: Revision) -> Option<History> {
        let mut kept: Vec<&Arc<KeyValue>> = Vec::new();
        for kv in self.versions() {
            if kv.mod_revision <= compacted {
                if !(kv.is_deletion() && kv.mod_revision < compacted) {
                    kept.push(kv);
                }
                break;
            }
            kept.push(kv);
        }
        let mut oldest_first = kept.into_iter().rev().cloned();
        let mut history = History::new(oldest_first.next()?);
        for kv in oldest_first {
            history.push(kv);
        }
        Some(history)
    }

    /// Bytes of all versions.
    pub(crate) fn bytes(&self) -> u64 {
        self.versions().map(|kv| bytes_of(kv)).sum()
    }
}

/// Bytes that a version counts for.
pub(crate) fn bytes_of(kv: &KeyValue) -> u64 {
    version_bytes(kv.key.len(), kv.value.len())
}

pub(crate) fn version_bytes(key: usize, value: usize) -> u64 {
    key as u64 + value as u64 + VERSION_BYTES
}

impl Drop for Older {
    /// One after the other: dropping a long history by recursion would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.older.take();
        while let Some(mut older) = next.and_then(Arc::into_inner) {
            next = older.older.take();
        }
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
        let left = history().compact(compacted);
        left.iter().flat_map(|left| left.versions().map(|kv| kv.mod_revision)).collect()
    }

    #[test]
    fn compaction_keeps_what_can_still_be_read() {
        for (compacted, expected) in [
            (1, vec![10, 8, 6, 4, 2]),
            (2, vec![10, 8, 6, 4, 2]),
            (3, vec![10, 8, 6, 4, 2]),
            (4, vec![10, 8, 6, 4]),
            (5, vec![10, 8, 6, 4]),
            // The deletion at 6 can still be watched from 6 on, and from 7 on it cannot.
            (6, vec![10, 8, 6]),
            (7, vec![10, 8]),
            (8, vec![10, 8]),
            (10, vec![10]),
            (11, vec![]),
        ] {
            assert_eq!(kept(compacted), expected, "compacted at {compacted}");
        }
    }

    #[test]
    fn reads_at_every_revision() {
        let at = |revision| history().at(revision).map(|kv| kv.mod_revision);
        let seen: Vec<_> = (1..=11).map(at).collect();
        let (two, four, eight) = (Some(2), Some(4), Some(8));
        assert_eq!(seen, [None, two, two, four, four, None, None, eight, eight, None, None]);
    }

    #[test]
    fn a_long_history_is_dropped_without_overflowing_the_stack() {
        let mut history = History::new(version(2, 1));
        for at in 3..1_000_000 {
            history.push(version(at, at));
        }
        assert_eq!(history.compact(999_000).map(|left| left.versions().count()), Some(1000));
    }
}
