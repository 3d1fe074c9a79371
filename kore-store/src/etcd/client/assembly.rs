//! Puts what etcd sends together again: one batch a revision, each revision once.

use crate::etcd::wire;
use crate::{Event, EventBatch, Revision};

use super::translate;

/// Where a watch stands, and the revision that is arriving.
///
/// etcd sends several revisions in one message, or one revision in several (fragments). It never begins a revision in one
/// message and ends it in another that is not its fragment. It can send again what it has sent (etcd#15275, #15520): what
/// is behind is left out.
#[derive(Debug)]
pub(super) struct Assembly {
    /// The next revision to tell: everything before it has been told, or was not asked for.
    next: Revision,
    arriving: Option<(Revision, Vec<Event>)>,
}

impl Assembly {
    pub(super) fn new(next: Revision) -> Assembly {
        Assembly { next, arriving: None }
    }

    pub(super) fn next(&self) -> Revision {
        self.next
    }

    /// The last revision of which something has come.
    pub(super) fn arrived(&self) -> Revision {
        self.arriving.as_ref().map_or(self.next - 1, |(revision, _)| *revision)
    }

    /// Takes events, and gives the revisions that are complete. After the last fragment all are.
    pub(super) fn push(&mut self, events: Vec<wire::Event>, more_fragments: bool) -> Vec<EventBatch> {
        let mut complete = Vec::new();
        for event in events.into_iter().filter_map(translate::event) {
            let revision = event.kv.mod_revision;
            if self.arriving.as_ref().is_some_and(|(arriving, _)| *arriving != revision) {
                complete.extend(self.close());
            }
            if revision < self.next {
                continue;
            }
            match &mut self.arriving {
                Some((_, events)) => events.push(event),
                None => self.arriving = Some((revision, vec![event])),
            }
        }
        if !more_fragments {
            complete.extend(self.close());
        }
        complete
    }

    fn close(&mut self) -> Option<EventBatch> {
        let (revision, mut events) = self.arriving.take()?;
        self.next = revision + 1;
        events.sort_by(|a, b| a.kv.key.cmp(&b.kv.key));
        Some(EventBatch::new(revision, events))
    }

    /// Everything up to this revision has been sent.
    pub(super) fn passed(&mut self, revision: Revision) {
        self.next = self.next.max(revision + 1);
    }

    /// The stream broke: what was arriving comes again.
    pub(super) fn broken(&mut self) {
        self.arriving = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: i64, key: &'static str) -> wire::Event {
        let kv = wire::KeyValue { key: key.into(), mod_revision: revision, version: 1, ..Default::default() };
        wire::Event { kind: 0, kv: Some(kv), prev_kv: None }
    }

    fn plain(batches: Vec<EventBatch>) -> Vec<(Revision, String)> {
        let key = |event: &Event| String::from_utf8_lossy(&event.kv.key).into_owned();
        batches.iter().map(|batch| (batch.revision, batch.events.iter().map(key).collect())).collect()
    }

    #[test]
    fn a_message_of_several_revisions_is_taken_apart_and_sorted() {
        let mut assembly = Assembly::new(5);
        let told = assembly.push(vec![event(5, "b"), event(5, "a"), event(7, "c")], false);
        assert_eq!(plain(told), [(5, "ab".into()), (7, "c".into())]);
        assert_eq!(assembly.next(), 8);
    }

    #[test]
    fn a_revision_in_fragments_is_put_together() {
        let mut assembly = Assembly::new(5);
        assert_eq!(plain(assembly.push(vec![event(5, "a"), event(6, "c")], true)), [(5, "a".into())]);
        assert_eq!(plain(assembly.push(vec![event(6, "b")], true)), []);
        assert_eq!(plain(assembly.push(vec![event(6, "a"), event(7, "a")], true)), [(6, "abc".into())]);
        assert_eq!(plain(assembly.push(vec![], false)), [(7, "a".into())]);
    }

    #[test]
    fn what_comes_again_is_left_out() {
        let mut assembly = Assembly::new(5);
        assembly.push(vec![event(5, "a"), event(6, "a")], false);
        let told = assembly.push(vec![event(4, "a"), event(5, "a"), event(6, "a"), event(7, "a")], false);
        assert_eq!(plain(told), [(7, "a".into())]);
        assembly.passed(9);
        assembly.passed(3);
        assert_eq!(plain(assembly.push(vec![event(9, "a"), event(10, "a")], false)), [(10, "a".into())]);
    }

    #[test]
    fn half_a_revision_is_forgotten_with_its_stream() {
        let mut assembly = Assembly::new(5);
        assert_eq!(plain(assembly.push(vec![event(5, "a")], true)), []);
        assembly.broken();
        assert_eq!(assembly.next(), 5);
        assert_eq!(plain(assembly.push(vec![event(5, "a"), event(5, "b")], false)), [(5, "ab".into())]);
    }
}
