//! What happened at each revision, and whether a watch told it as it must.

use std::sync::Arc;

use imbl::OrdMap;

use super::Property;
use super::facts::{Compactions, revision_of};
use super::history::{Answered, Asked, History, Tick, Watching, wrote};
use super::linearizability::Violation;
use crate::{Error, Event, EventBatch, Revision, WatchRequest, Watched};

/// What happened at each revision.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    events: OrdMap<Revision, Arc<[Event]>>,
    /// The last revision that there can have been.
    last: Revision,
    /// Why it is not the timeline that watches told.
    doubt: Option<Violation>,
}

impl Timeline {
    pub(super) fn new(events: OrdMap<Revision, Arc<[Event]>>, last: Revision) -> Timeline {
        Timeline { events, last, doubt: None }
    }

    /// The same, found without trusting the watches: with them, there was this.
    pub(super) fn doubted(self, doubt: Violation) -> Timeline {
        Timeline { doubt: Some(doubt), ..self }
    }

    /// What a watch must tell of a revision.
    fn wanted<'a>(&'a self, request: &'a WatchRequest, revision: Revision) -> impl Iterator<Item = &'a Event> {
        let events = self.events.get(&revision).into_iter().flat_map(|events| events.iter());
        events.filter(|event| request.wants(event))
    }

    /// The first of these revisions that has something for a watch.
    fn first_wanted(&self, request: &WatchRequest, from: Revision, until: Revision) -> Option<Revision> {
        let mut between = self.events.range(from..until).map(|(revision, _)| *revision);
        between.find(|revision| self.wanted(request, *revision).next().is_some())
    }

    /// Judges everything that watches told.
    pub(super) fn check_watches(&self, history: &History) -> Result<(), Violation> {
        let compactions = Compactions::of(history);
        let written = history.written();
        history.watches.iter().try_for_each(|watching| {
            let mut cursor = Cursor {
                timeline: self,
                compactions: &compactions,
                request: &watching.request,
                begin: watching.begin(&written),
                told: 0,
                progress: 0,
                next: None,
            };
            cursor.check(watching).map_err(|mut violation| {
                violation.history = watching.until(violation.revision);
                violation
            })
        })?;
        self.doubt.clone().map_or(Ok(()), Err)
    }
}

/// The revisions of answered calls: with the end and the beginning of the call.
struct Written {
    ended: Vec<(Tick, Revision)>,
    begun: Vec<(Tick, Revision)>,
}

impl History {
    fn written(&self) -> Written {
        let mut written = Written { ended: vec![(0, self.base.revision)], begun: Vec::new() };
        for call in &self.calls {
            if let Some(revision) = call.revision() {
                written.ended.push((call.ended, revision));
            }
            match (&call.asked, &call.answered) {
                (Asked::Txn(txn), Answered::Txn(done)) if wrote(txn, done) => {
                    written.begun.push((call.begun, done.revision));
                }
                _ => {}
            }
        }
        written
    }
}

/// Where a watch begins: its first revision is within these bounds.
struct Begin {
    /// It tells nothing before this.
    earliest: Revision,
    /// It tells everything from this on.
    latest: Revision,
}

impl Watching {
    fn begin(&self, written: &Written) -> Begin {
        if self.request.from > 0 {
            return Begin { earliest: self.request.from, latest: self.request.from };
        }
        // The next revision to come, at some moment between the beginning and the end of the call.
        let before = written.ended.iter().filter(|(ended, _)| *ended < self.begun).map(|(_, revision)| *revision);
        let after = written.begun.iter().filter(|(begun, _)| *begun > self.ended).map(|(_, revision)| *revision);
        Begin { earliest: before.max().map_or(0, |last| last + 1), latest: after.min().unwrap_or(Revision::MAX) }
    }

    /// What it told up to a revision, the last of it.
    fn until(&self, revision: Revision) -> Vec<String> {
        let items = self
            .told
            .iter()
            .map(|(tick, item)| (item.as_ref().map_or(0, revision_of), format!("[{tick}] told {item:?}")));
        let lines: Vec<String> = items.filter(|(at, _)| *at <= revision + 1).map(|(_, line)| line).collect();
        let skipped = lines.len().saturating_sub(10);
        let asked = format!("[{}..{}] {:?}", self.begun, self.ended, self.request);
        std::iter::once(asked).chain(lines.into_iter().skip(skipped)).collect()
    }
}

/// A watch being followed.
struct Cursor<'a> {
    timeline: &'a Timeline,
    compactions: &'a Compactions,
    request: &'a WatchRequest,
    begin: Begin,
    /// The last revision of which something was told.
    told: Revision,
    /// The last progress.
    progress: Revision,
    /// What it tells next is at this or later; None: it has told nothing yet.
    next: Option<Revision>,
}

impl Cursor<'_> {
    fn check(&mut self, watching: &Watching) -> Result<(), Violation> {
        for (tick, item) in &watching.told {
            match item {
                Ok(Watched::Batch(batch)) => self.batch(batch)?,
                Ok(Watched::Progress(revision)) => self.progress(*revision)?,
                // Where a watch of what is to come stands that was told nothing, is known by its bounds only.
                Err(Error::Compacted { .. }) => {
                    let next = self.next.unwrap_or(self.begin.earliest);
                    if self.compactions.possible(*tick) < next {
                        let what = format!("it was to go on at {next}, and that was not compacted: {item:?}");
                        return Err(Violation::new(Property::Compaction, next, what));
                    }
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Everything from this revision on is still to be told.
    fn next(&self) -> Revision {
        self.next.unwrap_or(self.begin.latest)
    }

    fn batch(&mut self, batch: &EventBatch) -> Result<(), Violation> {
        let revision = batch.revision;
        let wrong = |property, what: String| Err(Violation::new(property, revision, what));
        if revision <= self.told {
            return self.again(batch);
        }
        if revision <= self.progress {
            return wrong(Property::Bookmarkable, format!("told behind progress {}", self.progress));
        }
        if revision < self.begin.earliest {
            return wrong(Property::Resumable, format!("told although it begins at {}", self.begin.earliest));
        }
        if let Some(skipped) = self.timeline.first_wanted(self.request, self.next(), revision) {
            let property = if self.next.is_none() { Property::Resumable } else { Property::Reliable };
            return Err(Violation::new(
                property,
                skipped,
                format!("left out: {revision} was told after {}", self.told),
            ));
        }
        self.told = revision;
        self.next = Some(revision + 1);
        self.events(batch)
    }

    /// A revision that is not behind the last one told.
    fn again(&self, batch: &EventBatch) -> Result<(), Violation> {
        let property = if batch.revision < self.told { Property::Ordered } else { Property::Unique };
        Err(Violation::new(property, batch.revision, format!("told after {}", self.told)))
    }

    fn events(&self, batch: &EventBatch) -> Result<(), Violation> {
        let revision = batch.revision;
        let wrong = |property, what: String| Err(Violation::new(property, revision, what));
        for pair in batch.events.windows(2) {
            match pair[0].kv.key.cmp(&pair[1].kv.key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return wrong(Property::Unique, format!("twice in it: {pair:?}")),
                std::cmp::Ordering::Greater => return wrong(Property::Ordered, format!("not in order: {pair:?}")),
            }
        }
        if let Some(stray) = batch.events.iter().find(|event| !self.request.wants(event)) {
            return wrong(Property::Filter, format!("not asked for: {stray:?}"));
        }
        let wanted: Vec<&Event> = self.timeline.wanted(self.request, revision).collect();
        for event in batch.events.iter() {
            let Some(expected) = wanted.iter().find(|expected| expected.kv.key == event.kv.key) else {
                return wrong(Property::Reliable, format!("this did not happen: {event:?}"));
            };
            self.event(event, expected)?;
        }
        let untold = |expected: &&&Event| batch.events.iter().all(|event| event.kv.key != expected.kv.key);
        match wanted.iter().find(untold) {
            Some(untold) => wrong(Property::Atomic, format!("a part of it was not told: {untold:?}")),
            None => Ok(()),
        }
    }

    fn event(&self, event: &Event, expected: &Event) -> Result<(), Violation> {
        let revision = expected.kv.mod_revision;
        let wrong = |property| {
            let what = format!("told {event:?} instead of {expected:?}");
            Err(Violation::new(property, revision, what))
        };
        let created = |event: &Event| (event.is_creation(), event.kv.create_revision);
        if created(event) != created(expected) {
            return wrong(Property::IsCreate);
        }
        if event.kv != expected.kv {
            return wrong(Property::Reliable);
        }
        let may_lack = !self.request.previous || self.compactions.is_boundary(revision);
        let lacks = event.previous.is_none() && may_lack;
        if event.previous != expected.previous && !lacks {
            return wrong(Property::PreviousValue);
        }
        Ok(())
    }

    fn progress(&mut self, progress: Revision) -> Result<(), Violation> {
        if let Some(untold) = self.timeline.first_wanted(self.request, self.next(), progress.saturating_add(1)) {
            let what = format!("progress {progress} came before what happened at {untold} was told");
            return Err(Violation::new(Property::Bookmarkable, untold, what));
        }
        if progress > self.timeline.last {
            let what = format!("progress {progress} was told, and there cannot have been that revision");
            return Err(Violation::new(Property::Bookmarkable, progress, what));
        }
        self.progress = self.progress.max(progress);
        let begin = self.next.unwrap_or(self.begin.earliest.max(self.request.from));
        self.next = Some(begin.max(progress + 1));
        Ok(())
    }
}
