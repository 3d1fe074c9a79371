//! What a history says without any search: who claims which revision, what was seen of it, and in which order things happened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use imbl::OrdSet;

use super::Property;
use super::history::{Answered, Asked, Called, History, Tick, wrote};
use super::linearizability::Violation;
use super::model::{Model, Step};
use crate::{Error, EventBatch, KeyValue, Op, OpResponse, Revision, Txn, TxnResponse, WatchRequest, Watched};

/// What the search for who wrote an unclaimed revision goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// All that was answered, and all that watches told.
    All,
    /// All that was answered, and what watches told of revisions that nobody claims.
    Answers,
}

/// A place in the order: write r is at 2r, and what sees it but not the next at 2r + 1.
type Position = u64;

pub(super) struct Facts<'a> {
    history: &'a History,
    /// Who was answered that he wrote it.
    pub(super) writes: BTreeMap<Revision, &'a Called>,
    /// Who was answered that this is the current one, and those who asked for it as an old one.
    reads: BTreeMap<Revision, Vec<&'a Called>>,
    /// Transactions with unknown outcome, each with the position of the last that had ended when it began.
    unknown: Vec<(&'a Called, Position)>,
    /// Pairs that were seen, by the revision that wrote them, as far as nobody claims it.
    seen: BTreeMap<Revision, Vec<&'a Arc<KeyValue>>>,
    /// What watches told of each revision.
    told: BTreeMap<Revision, Vec<(&'a WatchRequest, &'a EventBatch)>>,
    /// What watches told as what was there before, by the revision that wrote it, as far as nobody claims it.
    before: BTreeMap<Revision, Vec<&'a Arc<KeyValue>>>,
    last: Revision,
}

impl Called {
    /// The position that its answer puts it at.
    fn position(&self) -> Option<Position> {
        match (&self.asked, &self.answered) {
            (Asked::Txn(txn), Answered::Txn(done)) => Some(2 * done.revision + u64::from(!wrote(txn, done))),
            (Asked::Range(range), Answered::Range(found)) if range.revision == 0 => Some(2 * found.revision + 1),
            (_, Answered::Revision(revision)) => Some(2 * revision + 1),
            _ => None,
        }
    }

    /// A position that the store had reached when it ended.
    fn reached(&self) -> Option<Position> {
        match &self.answered {
            Answered::Range(found) => Some(2 * found.revision + 1),
            _ => self.position(),
        }
    }

    /// The revision that its answer names.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.reached().map(|position| position / 2)
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Called { asked, begun, ended, answered, .. } = self;
        match *ended {
            Tick::MAX => write!(f, "[{begun}..] {asked:?} -> {answered:?}"),
            ended => write!(f, "[{begun}..{ended}] {asked:?} -> {answered:?}"),
        }
    }
}

impl<'a> Facts<'a> {
    pub(super) fn gather(history: &'a History) -> Result<Facts<'a>, Violation> {
        let mut facts = Facts {
            history,
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            unknown: Vec::new(),
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
            before: BTreeMap::new(),
            last: history.base.revision,
        };
        for call in &history.calls {
            facts.last = facts.last.max(call.revision().unwrap_or(0));
            match (&call.asked, &call.answered) {
                (Asked::Txn(txn), Answered::Txn(done)) if wrote(txn, done) => facts.claim(call, done.revision)?,
                (Asked::Txn(_), Answered::Txn(done)) => facts.reads.entry(done.revision).or_default().push(call),
                (Asked::Txn(_), Answered::Unknown) => facts.unknown.push((call, 0)),
                (Asked::Range(_), Answered::Range(found)) => {
                    facts.reads.entry(found.revision).or_default().push(call);
                }
                _ => {}
            }
        }
        for watch in &history.watches {
            for (_, item) in &watch.told {
                // Progress may tell of a revision whose events nobody was told.
                if let Ok(Watched::Batch(batch)) = item {
                    facts.last = facts.last.max(batch.revision);
                    facts.told.entry(batch.revision).or_default().push((&watch.request, batch));
                    for kv in batch.events.iter().filter_map(|event| event.previous.as_ref()) {
                        if facts.is_open(kv.mod_revision) {
                            facts.before.entry(kv.mod_revision).or_default().push(kv);
                        }
                    }
                }
            }
        }
        for call in &history.calls {
            match (&call.asked, &call.answered) {
                (Asked::Txn(txn), Answered::Txn(done)) => facts.see_txn(txn, done),
                (Asked::Range(range), Answered::Range(found)) if !range.keys_only => facts.see(&found.kvs),
                _ => {}
            }
        }
        Ok(facts)
    }

    fn claim(&mut self, call: &'a Called, revision: Revision) -> Result<(), Violation> {
        if revision <= self.history.base.revision {
            let what = format!("a write took a revision from before the history began: {call}");
            return Err(Violation::new(Property::Revision, revision, what));
        }
        match self.writes.insert(revision, call) {
            None => Ok(()),
            Some(other) => {
                let what = format!("two writes took it: {other} and {call}");
                Err(Violation::new(Property::Revision, revision, what))
            }
        }
    }

    /// Whether it is part of the history, and nobody claims it.
    fn is_open(&self, revision: Revision) -> bool {
        revision > self.history.base.revision && !self.writes.contains_key(&revision)
    }

    fn see(&mut self, kvs: &'a [Arc<KeyValue>]) {
        for kv in kvs {
            if self.is_open(kv.mod_revision) {
                self.seen.entry(kv.mod_revision).or_default().push(kv);
            }
        }
    }

    fn see_txn(&mut self, txn: &'a Txn, done: &'a TxnResponse) {
        let ops = if done.succeeded { &txn.success } else { &txn.failure };
        for (op, response) in ops.iter().zip(&done.responses) {
            match (op, response) {
                (_, OpResponse::Put { previous }) => self.see(previous.as_slice()),
                (_, OpResponse::Delete { previous, .. }) => self.see(previous),
                (Op::Range(range), OpResponse::Range(found)) if !range.keys_only => self.see(&found.kvs),
                (Op::Txn(nested), OpResponse::Txn(done)) => self.see_txn(nested, done),
                _ => {}
            }
        }
    }

    /// The last revision that anybody saw.
    pub(super) fn last(&self) -> Revision {
        self.last
    }

    /// How many writes there can have been behind it.
    pub(super) fn unseen(&self, model: &Model) -> u64 {
        (self.unknown.len() + model.leases().len()) as u64
    }

    /// What had ended is at or before what begins then.
    pub(super) fn real_time(&mut self) -> Result<(), Violation> {
        let history = self.history;
        let mut reached = history.reached().into_iter().peekable();
        let mut unknown = self.unknown.iter_mut().peekable();
        let mut highest = (0, 2 * history.base.revision, Witness::Beginning);
        for call in &history.calls {
            while let Some(next) = reached.next_if(|(ended, ..)| *ended < call.begun) {
                if next.1 > highest.1 {
                    highest = next;
                }
            }
            if let Some((_, floor)) = unknown.next_if(|(unknown, _)| unknown.begun == call.begun) {
                *floor = highest.1;
            }
            let too_early = match (call.position(), &call.answered) {
                (Some(position), _) => position < highest.1,
                // It had happened: it was no longer in the future.
                (None, Answered::Refused(Error::FutureRevision { requested, .. })) => 2 * requested <= highest.1,
                (None, _) => false,
            };
            if too_early {
                let what = format!("{call} did not see what had ended when it began: {}", highest.2);
                // A write that came later than the progress that covers it: the progress was too early. A read is late itself.
                let property = match (highest.2, call.position()) {
                    (Witness::Told(Watched::Progress(_)), Some(position)) if position % 2 == 0 => {
                        Property::Bookmarkable
                    }
                    _ => Property::RealTime,
                };
                return Err(Violation::new(property, highest.1 / 2, what));
            }
        }
        Ok(())
    }

    /// Whatever was read here is what is here.
    pub(super) fn reads_hold(&self, model: &Model) -> Result<(), Violation> {
        for call in self.reads.get(&model.revision).into_iter().flatten() {
            let expected = match (&call.asked, &call.answered) {
                (Asked::Range(range), Answered::Range(found)) => {
                    model.range(range).filter(|expected| expected != found).map(|expected| format!("{expected:?}"))
                }
                (Asked::Txn(txn), Answered::Txn(done)) => {
                    let step = model.txn(txn);
                    let same = step.is_blind || step.response == *done;
                    (!same).then(|| format!("{:?}", step.response))
                }
                _ => None,
            };
            if let Some(expected) = expected {
                let what = format!("instead of {expected}: {call}");
                return Err(Violation::new(Property::Answer, model.revision, what));
            }
        }
        Ok(())
    }

    /// What a write that was answered leads to, if its answer is right.
    pub(super) fn write_holds(&self, call: &Called, model: &Model, revision: Revision) -> Result<Step, Violation> {
        let (Asked::Txn(txn), Answered::Txn(done)) = (&call.asked, &call.answered) else {
            unreachable!("only transactions claim revisions");
        };
        let step = model.txn(txn);
        if step.events.is_empty() || !step.is_blind && step.response != *done {
            let what = format!("instead of {:?}: {call}", step.response);
            return Err(Violation::new(Property::Answer, revision, what));
        }
        Ok(step)
    }

    /// Who might have written the next revision, the likeliest last: those that were begun first.
    pub(super) fn candidates(&self, model: &Model, used: &OrdSet<usize>, trust: Trust) -> Vec<(Option<usize>, Step)> {
        let revision = model.revision + 1;
        let ends = model.leases().into_iter().map(|lease| (None, model.end(lease)));
        let unknown = self.unknown.iter().enumerate().rev().filter_map(|(number, (call, floor))| {
            let Asked::Txn(txn) = &call.asked else { return None };
            let may = *floor < 2 * revision && !used.contains(&number);
            may.then(|| (Some(number), model.txn(txn)))
        });
        let fits = |step: &Step| {
            !step.events.is_empty()
                && self.is_seen(&self.seen, step, revision)
                && self.is_told(step, revision)
                && (trust == Trust::Answers || self.is_seen(&self.before, step, revision))
        };
        ends.chain(unknown).filter(|(_, step)| fits(step)).collect()
    }

    /// Whether all that was seen of a revision is part of it.
    fn is_seen(&self, seen: &BTreeMap<Revision, Vec<&Arc<KeyValue>>>, step: &Step, revision: Revision) -> bool {
        let mut seen = seen.get(&revision).into_iter().flatten();
        seen.all(|kv| step.events.iter().any(|event| event.kv == **kv))
    }

    /// Whether every watch that told of a revision told it so.
    pub(super) fn is_told(&self, step: &Step, revision: Revision) -> bool {
        let mut told = self.told.get(&revision).into_iter().flatten();
        told.all(|(request, batch)| {
            let wanted = step.events.iter().filter(|event| request.wants(event)).map(|event| &event.kv);
            wanted.eq(batch.events.iter().map(|event| &event.kv))
        })
    }

    /// What is compacted is refused, and nothing else.
    pub(super) fn compactions(&self) -> Result<(), Violation> {
        let compactions = Compactions::of(self.history);
        for call in &self.history.calls {
            // A watch from the compacted revision itself may be refused; a read may not.
            let (at, needed) = match &call.asked {
                Asked::Range(range) => (range.revision, range.revision + 1),
                Asked::Watch(request) => (request.from, request.from),
                _ => continue,
            };
            let what = match &call.answered {
                Answered::Refused(Error::Compacted { .. }) => {
                    let may = at != 0 && compactions.possible(call.ended) >= needed;
                    (!may).then_some("nothing that it asks for has been compacted")
                }
                Answered::Range(_) | Answered::Done => {
                    let must = at != 0 && compactions.certain(call.begun) > at;
                    must.then_some("it has been compacted")
                }
                _ => None,
            };
            if let Some(what) = what {
                return Err(Violation::new(Property::Compaction, at, format!("{what}: {call}")));
            }
        }
        Ok(())
    }
}

/// Who showed that the store had come to a position.
#[derive(Clone, Copy)]
enum Witness<'a> {
    Beginning,
    Call(&'a Called),
    Told(&'a Watched),
}

impl fmt::Display for Witness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Witness::Beginning => f.write_str("the history's beginning"),
            Witness::Call(call) => call.fmt(f),
            Witness::Told(item) => write!(f, "a watch told {item:?}"),
        }
    }
}

impl History {
    /// When the store had come to which position for sure, in the order of time.
    fn reached(&self) -> Vec<(Tick, Position, Witness<'_>)> {
        let calls = self.calls.iter().filter_map(|call| Some((call.ended, call.reached()?, Witness::Call(call))));
        let told = self.watches.iter().flat_map(|watch| &watch.told).filter_map(|(tick, item)| {
            let item = item.as_ref().ok()?;
            Some((*tick, 2 * revision_of(item) + 1, Witness::Told(item)))
        });
        let mut reached: Vec<_> = calls.chain(told).collect();
        reached.sort_unstable_by_key(|(tick, ..)| *tick);
        reached
    }
}

pub(super) fn revision_of(item: &Watched) -> Revision {
    match item {
        Watched::Batch(batch) => batch.revision,
        Watched::Progress(revision) => *revision,
    }
}

/// How far the store was compacted, and when.
pub(super) struct Compactions {
    base: Revision,
    /// Each with its beginning, and its end if it is known to have happened.
    asked: Vec<(Revision, Tick, Tick)>,
}

impl Compactions {
    pub(super) fn of(history: &History) -> Compactions {
        let asked = history.calls.iter().filter_map(|call| match (&call.asked, &call.answered) {
            (Asked::Compact(at), Answered::Done | Answered::Unknown) => Some((*at, call.begun, call.ended)),
            _ => None,
        });
        Compactions { base: history.compacted, asked: asked.collect() }
    }

    /// How far it may have been compacted by then.
    pub(super) fn possible(&self, by: Tick) -> Revision {
        let begun = self.asked.iter().filter(|(_, begun, _)| *begun < by).map(|(at, ..)| *at);
        begun.fold(self.base, Revision::max)
    }

    /// How far it had been compacted for sure by then.
    fn certain(&self, by: Tick) -> Revision {
        let ended = self.asked.iter().filter(|(.., ended)| *ended < by).map(|(at, ..)| *at);
        ended.fold(self.base, Revision::max)
    }

    /// Whether it may have been compacted at exactly this revision.
    pub(super) fn is_boundary(&self, revision: Revision) -> bool {
        self.base == revision || self.asked.iter().any(|(at, ..)| *at == revision)
    }
}
