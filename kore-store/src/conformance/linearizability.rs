//! Whether concurrent calls were answered as if they had been made one at a time, each between its beginning and its end.
//!
//! # What is checked, and that it is enough
//!
//! A history is linearizable if its calls can be put in an order that (1) keeps the order of any two of which one had ended
//! before the other began, and (2) in which a store that does one call at a time would have given these very answers; a call whose
//! outcome is unknown may be anywhere behind its beginning, or left out. Finding such an order is NP-complete in general (Wing and Gong,
//! 1993; Lowe's and others' checkers search for it). Here there is next to nothing to search for, because answers carry revisions:
//!
//! - The store of the contract counts its writes: the n-th write takes revision n, and a read is answered with the revision that it
//!   sees. So condition (2) by itself puts a write that was answered with revision r behind all that were answered with less and
//!   before all with more, and a read that was answered with r between the writes r and r + 1. Only reads between the same two
//!   writes are free, and since they change nothing, the order in which they began will do.
//! - So the order is known, up to which unknown write took each revision that no answer claims. Each assignment is tried, in the
//!   order of revisions: a revision, once assigned, leads to one state, and whatever was read there, found before a later write, or told
//!   by a watch either fits or ends the attempt. (Places seen before, with the same writes used up and the same state, are not
//!   tried again.)
//!
//! The revisions are not trusted for that. A store whose revisions lie has an order forced upon it that does not keep condition (1) or
//! (2), and since no other order fulfils (2), it is rejected rightly. What is checked is therefore both necessary and sufficient.
//!
//! Three things are looser than that. A refusal is believed: that nothing happened is checked (there is no revision for it), that
//! it was justified is not, except for [`Compacted`](crate::Error::Compacted) and
//! [`FutureRevision`](crate::Error::FutureRevision). A revision that nobody claims may also be the end of a lease that keys were attached to,
//! whether its time was over or not. A read of an old revision is checked against the state there, as far back as the history
//! goes.
//!
//! What a watch told counts as a reader: a call that begins afterwards must see it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::facts::{Facts, Trust, revision_of};
use super::history::{Answered, Asked, History, Tick};
use super::model::{Keys, Model, Step};
use super::timeline::Timeline;
use crate::{Event, Revision};

/// How often the search may go back before it gives up.
const BACKTRACKS: usize = 100_000;

/// A sentence of the contract, about calls and about watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Property {
    /// The history was recorded to its end, and can be judged.
    Recorded,
    /// A revision is taken by one write only.
    Revision,
    /// What had ended is seen by what begins then.
    RealTime,
    /// An answer is what a store would say that does one call at a time, in the order of the revisions.
    Answer,
    /// Every revision was written by somebody who wrote.
    Explained,
    /// What is compacted is refused, and nothing else.
    Compaction,
    /// Watches: batches in the order of their revisions, events in the order of their keys.
    Ordered,
    /// Watches: nothing is told twice.
    Unique,
    /// Watches: nothing is left out, and nothing made up.
    Reliable,
    /// Watches: all that one revision changed is told at once.
    Atomic,
    /// Watches: it begins where it was asked to.
    Resumable,
    /// Watches: progress is told after what it covers, and nothing that it covers after it.
    Bookmarkable,
    /// Watches: what a key held before is told as it was.
    PreviousValue,
    /// Watches: a creation is told as one, and nothing else is.
    IsCreate,
    /// Watches: only what was asked for is told.
    Filter,
}

/// A history that no store could have that keeps its contract.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub struct Violation {
    /// The sentence that does not hold.
    pub property: Property,
    /// The revision where it shows.
    pub revision: Revision,
    /// What was found.
    pub what: String,
    /// The calls around it, with their answers, in the order in which they began.
    pub history: Vec<String>,
}

impl Violation {
    pub(super) fn new(property: Property, revision: Revision, what: String) -> Violation {
        Violation { property, revision, what, history: Vec::new() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at revision {}: {}", self.property, self.revision, self.what)?;
        self.history.iter().try_for_each(|call| write!(f, "\n    {call}"))
    }
}

/// Judges the calls of a history, and tells what happened at each revision.
pub(super) fn check(history: &History) -> Result<Timeline, Violation> {
    let judged = Facts::gather(history).and_then(|mut facts| {
        facts.real_time()?;
        let base = || history.base.clone();
        let timeline = match Search::new(&facts, Trust::All).run(base()) {
            Ok(timeline) => timeline,
            // Perhaps only the watches are wrong: they are judged one by one, by what the answers say.
            Err(doubt) => Search::new(&facts, Trust::Answers).run(base())?.doubted(doubt),
        };
        facts.compactions()?;
        Ok(timeline)
    });
    judged.map_err(|mut violation| {
        violation.history = history.around(violation.revision);
        violation
    })
}

/// How far the calls have been put in order.
#[derive(Clone)]
struct Place {
    model: Model,
    events: OrdMap<Revision, Arc<[Event]>>,
    /// Unknown calls that have been given a revision.
    used: OrdSet<usize>,
}

/// A revision that nobody claims, and who might have written it.
struct Hole {
    place: Place,
    /// The unknown call, none for the end of a lease, and what it would lead to.
    candidates: Vec<(Option<usize>, Step)>,
}

struct Search<'a> {
    facts: &'a Facts<'a>,
    trust: Trust,
    holes: Vec<Hole>,
    /// Where the search has been: by revision and by what had been used.
    seen: BTreeMap<(Revision, OrdSet<usize>), Vec<Keys>>,
    /// What was wrong where it came furthest.
    furthest: Option<Violation>,
}

impl<'a> Search<'a> {
    fn new(facts: &'a Facts<'a>, trust: Trust) -> Search<'a> {
        Search { facts, trust, holes: Vec::new(), seen: BTreeMap::new(), furthest: None }
    }

    fn run(mut self, base: Model) -> Result<Timeline, Violation> {
        let mut place = Place { model: base, events: OrdMap::new(), used: OrdSet::new() };
        let mut backtracks = 0;
        loop {
            match self.step(&mut place) {
                Ok(true) => {
                    let last = self.facts.last() + self.facts.unseen(&place.model);
                    return Ok(Timeline::new(place.events, last));
                }
                Ok(false) => continue,
                Err(violation) => self.note(violation),
            }
            backtracks += 1;
            let (Some(next), true) = (self.back(), backtracks < BACKTRACKS) else {
                return Err(self.given_up(backtracks));
            };
            place = next;
        }
    }

    /// Looks at what was read here, and goes to the next revision; true at the end.
    fn step(&mut self, place: &mut Place) -> Result<bool, Violation> {
        let facts = self.facts;
        facts.reads_hold(&place.model)?;
        let next = place.model.revision + 1;
        if next > facts.last() {
            return Ok(true);
        }
        if let Some(call) = facts.writes.get(&next) {
            let step = facts.write_holds(call, &place.model, next)?;
            if self.trust == Trust::All && !facts.is_told(&step, next) {
                let what = format!("watches told something else than {:?}", step.events);
                return Err(Violation::new(Property::Reliable, next, what));
            }
            place.take(None, step);
            return Ok(false);
        }
        let been = self.seen.entry((next, place.used.clone())).or_default();
        if been.contains(place.model.keys()) {
            return Err(Violation::new(Property::Explained, 0, "been here".into()));
        }
        been.push(place.model.keys().clone());
        let candidates = facts.candidates(&place.model, &place.used, self.trust);
        if candidates.is_empty() {
            let what = format!("nobody wrote revision {next}: no unknown write fits what was seen of it");
            return Err(Violation::new(Property::Explained, next, what));
        }
        self.holes.push(Hole { place: place.clone(), candidates });
        *place = self.back().expect("a candidate was just put there");
        Ok(false)
    }

    /// Tries another one.
    fn back(&mut self) -> Option<Place> {
        loop {
            let hole = self.holes.last_mut()?;
            if let Some((number, step)) = hole.candidates.pop() {
                let mut place = hole.place.clone();
                place.take(number, step);
                return Some(place);
            }
            self.holes.pop();
        }
    }

    fn note(&mut self, violation: Violation) {
        if self.furthest.as_ref().is_none_or(|furthest| furthest.revision < violation.revision) {
            self.furthest = Some(violation);
        }
    }

    fn given_up(self, backtracks: usize) -> Violation {
        let violation = self.furthest.expect("it went back because something was wrong");
        if backtracks < BACKTRACKS {
            return violation;
        }
        let what = format!("not decided after {backtracks} attempts; the furthest ended here: {violation}");
        Violation::new(Property::Recorded, violation.revision, what)
    }
}

impl Place {
    fn take(&mut self, number: Option<usize>, step: Step) {
        self.model = self.model.after(&step);
        self.events.insert(self.model.revision, step.events.into());
        if let Some(number) = number {
            self.used.insert(number);
        }
    }
}

/// Calls and items before a violation that are shown.
const SHOWN: usize = 40;

impl History {
    /// The calls around a revision, those with unknown outcome included, and what watches told of it.
    fn around(&self, revision: Revision) -> Vec<String> {
        let near = |at: Revision| at + 3 >= revision && at <= revision + 2;
        let calls = self.calls.iter().filter(|call| match (call.revision(), &call.answered) {
            (Some(at), _) => near(at),
            (None, Answered::Unknown) => matches!(call.asked, Asked::Txn(_) | Asked::Compact(_)),
            (None, _) => matches!(call.asked, Asked::Compact(_)),
        });
        let told = self.watches.iter().flat_map(|watch| &watch.told);
        let told = told.filter(|(_, item)| item.as_ref().is_ok_and(|item| revision_of(item) == revision));
        let told = told.map(|(tick, item)| (*tick, format!("[{tick}] told {item:?}")));
        let mut lines: Vec<(Tick, String)> = calls.map(|call| (call.begun, call.to_string())).chain(told).collect();
        lines.sort_unstable();
        let skipped = lines.len().saturating_sub(SHOWN);
        lines.into_iter().skip(skipped).map(|(_, line)| line).collect()
    }
}
