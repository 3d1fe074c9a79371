//! Answers remembered for classes of pods.

use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

use super::cycle::{Answers, Cycle, RefusedAll};
use crate::nodes::Nodes;
use crate::pod::ClassId;

/// The answers for the classes asked about most recently, of as many nodes in total as the limit says.
pub(super) struct Memo {
    answers: FxHashMap<(usize, ClassId), (u64, Box<Answers>)>,
    clock: u64,
    most_rows: usize,
}

impl Memo {
    pub(super) fn new(most_rows: usize) -> Memo {
        Memo {
            answers: FxHashMap::default(),
            clock: 0,
            most_rows,
        }
    }

    /// Takes out what is known, brought up to date, or asks. An answer that is taken out and not put back is forgotten: so is
    /// that of a plugin that panics half-way.
    pub(super) fn take(
        &mut self,
        key: (usize, ClassId),
        cycle: &Cycle<'_>,
    ) -> Result<Box<Answers>, RefusedAll> {
        if let Some((_, mut answers)) = self.answers.remove(&key) {
            let nodes = cycle.ctx.nodes();
            // Beyond that, looking at all nodes at once is cheaper than at each changed one.
            let worth = nodes.rows() / 8 + 8;
            if let Some(changed) = nodes
                .changed_since(answers.cursor)
                .filter(|changed| changed.len() <= worth)
            {
                cycle.refresh(&mut answers, changed);
                return Ok(answers);
            }
        }
        cycle.filter().map(Box::new)
    }

    /// Remembers answers, unless they are limited to nodes by name: which nodes those are may change.
    pub(super) fn put(&mut self, key: (usize, ClassId), answers: Box<Answers>, nodes: &Nodes) {
        if answers.candidates.is_some() {
            return;
        }
        self.clock += 1;
        self.answers.insert(key, (self.clock, answers));
        let most = (self.most_rows / nodes.rows().max(1)).max(1);
        while self.answers.len() > most {
            let oldest = self
                .answers
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(key, _)| *key);
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
