//! What the children said before they died.

use std::collections::BTreeMap;

use kore_store::{LeaseId, Revision};

use super::child::WRITERS;

/// What is known of what was asked, across all kills, and how much of it there was.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) writers: BTreeMap<u64, Writer>,
    /// Leases that may exist.
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// How far it was compacted for sure, and how far it may have been.
    pub(crate) compacted: (Revision, Revision),
    /// The last revision that was answered or found.
    pub(crate) revision: Revision,
    /// Writes that were answered.
    pub(crate) acknowledged: u64,
    /// Writes that were not.
    pub(crate) unknown: u64,
    /// Those of them that were found done.
    pub(crate) recovered: u64,
    pub(crate) compactions: u64,
    pub(crate) leases_ended: u64,
}

/// A writer numbers its writes, and sends one at a time.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    /// Of its last writes that were answered, at which revision each was done.
    pub(crate) revisions: BTreeMap<u64, Revision>,
}

/// How far something has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    #[default]
    NotAsked,
    Asked,
    Done,
}

#[derive(Debug, Default)]
pub(crate) struct Lease {
    pub(crate) granted: Stage,
    pub(crate) attached: Stage,
    pub(crate) revoked: Stage,
}

impl Ledger {
    /// Takes what a child said; true when it had opened the store.
    pub(crate) fn take(&mut self, lines: &[String]) -> bool {
        for line in lines {
            self.line(line);
        }
        lines.iter().any(|line| line == "open")
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let stage = |mark: &str| match mark {
            "+" | "?" => Stage::Asked,
            "=" => Stage::Done,
            other => panic!("{line:?}: {other:?}"),
        };
        let number = |word: &str| -> u64 { word.parse().unwrap_or_else(|_| panic!("{line:?}: {word:?}")) };
        match words[..] {
            ["open"] => {}
            ["write", writer, count, "+"] => {
                let writer = self.writers.entry(number(writer)).or_default();
                writer.sent = number(count);
                self.unknown += 1;
            }
            ["write", _, _, "?"] => {}
            ["write", writer, count, "=", revision] => {
                let writer = self.writers.entry(number(writer)).or_default();
                writer.acknowledged = number(count);
                writer.revisions.insert(number(count), number(revision));
                self.unknown -= 1;
                self.acknowledged += 1;
                self.revision = self.revision.max(number(revision));
            }
            ["grant", id, mark] => self.lease(id).granted = stage(mark),
            ["attach", id, mark] => self.lease(id).attached = stage(mark),
            ["attach", id, mark, revision] => {
                self.lease(id).attached = stage(mark);
                self.revision = self.revision.max(number(revision));
            }
            ["revoke", id, mark] => {
                self.lease(id).revoked = stage(mark);
                self.leases_ended += u64::from(mark == "=");
            }
            ["compact", at, mark] => {
                self.compacted.1 = self.compacted.1.max(number(at));
                if mark == "=" {
                    self.compacted.0 = self.compacted.0.max(number(at));
                    self.compactions += 1;
                }
            }
            _ => panic!("the child says: {line}"),
        }
    }

    fn lease(&mut self, id: &str) -> &mut Lease {
        self.leases.entry(id.parse().expect("an id")).or_default()
    }

    /// Every writer there is, also one that has not said anything.
    pub(crate) fn writers(&mut self) -> impl Iterator<Item = (u64, &mut Writer)> {
        for writer in 0..WRITERS {
            self.writers.entry(writer).or_default();
        }
        self.writers.iter_mut().map(|(number, writer)| (*number, writer))
    }
}
