//! Answers remembered for classes of pods.

use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

use super::cycle::{Answers, Cycle};
use crate::framework::Rejection;
use crate::nodes::Nodes;
use crate::pod::ClassId;

/// Classes that are recognised when they come again, before anything is remembered of them.
const RECOGNISED: usize = 4096;

/// The answers for the classes asked about most recently, of as many nodes in total as the limit says.
pub(super) struct Memo {
    answers: FxHashMap<Key, (u64, Box<Answers>)>,
    /// By number, modulo the length: the class that came last.
    seen: Vec<Option<ClassId>>,
    clock: u64,
    most_rows: usize,
}

/// A profile and a class.
pub(super) type Key = (usize, ClassId);

impl Memo {
    pub(super) fn new(most_rows: usize) -> Memo {
        let seen = vec![None; RECOGNISED];
        Memo { answers: FxHashMap::default(), seen, clock: 0, most_rows }
    }

    /// Whether a class has been asked about before. For one that has not it is not worth remembering anything: it may be
    /// the only pod of its kind.
    pub(super) fn is_known(&mut self, class: ClassId) -> bool {
        let at = class.0 as usize % RECOGNISED;
        self.seen[at].replace(class) == Some(class)
    }

    /// Takes out what is known, brought up to date. What is taken out and not put back is forgotten: so are the answers of a
    /// plugin that panics half-way.
    pub(super) fn take(&mut self, key: Key, cycle: &Cycle<'_>) -> Option<Result<Box<Answers>, Rejection>> {
        let (_, mut answers) = self.answers.remove(&key)?;
        let nodes = cycle.ctx.nodes();
        // Beyond that, looking at all nodes at once is cheaper than at each changed one.
        let worth = nodes.rows() / 8 + 8;
        let changed = nodes.changed_since(answers.cursor).filter(|changed| changed.len() <= worth)?;
        Some(cycle.refresh(&mut answers, changed).map(|()| answers))
    }

    /// Remembers answers, unless they are limited to nodes by name: which nodes those are may change.
    pub(super) fn put(&mut self, key: Key, answers: Box<Answers>, nodes: &Nodes) {
        if answers.candidates.is_some() {
            return;
        }
        self.clock += 1;
        self.answers.insert(key, (self.clock, answers));
        let most = (self.most_rows / nodes.rows().max(1)).max(1);
        while self.answers.len() > most {
            let oldest = self.answers.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            match oldest {
                Some(oldest) => self.answers.remove(&oldest),
                None => break,
            };
        }
    }

    /// Forgets the classes that no pod has any more.
    pub(super) fn retain(&mut self, classes: &BTreeSet<ClassId>) {
        self.answers.retain(|(_, class), _| classes.contains(class));
    }
}
