//! Who waits for what: watchers that have been told everything, by the keys they wait for.
//!
//! A write wakes those that it has something for, and nobody else. Finding those who wait for a key or a prefix takes a look for
//! each key written and each length of a prefix, however many wait; those who wait for other intervals are looked through. Who waits need not look at the log: nothing has come for it until it is woken, and
//! then it is told from where on to look.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::task::AtomicWaker;
use rustc_hash::FxHashMap;

use crate::{EventBatch, KeyRange, Revision, WatchRequest};

/// Watchers that have gone away, and lists that are empty, of which so many may be kept around.
const LEFTOVERS: usize = 64;

/// A watcher's place among those that wait.
#[derive(Default)]
pub(crate) struct Place {
    /// The revision that has something for it; [`WAITING`], while it waits; [`GONE`], when it has gone away.
    found: AtomicU64,
    pub(crate) waker: AtomicWaker,
}

const WAITING: Revision = 0;
const GONE: Revision = Revision::MAX;

impl Place {
    /// From where on to look at the log; None: it waits.
    pub(crate) fn found(&self) -> Option<Revision> {
        Some(self.found.load(Ordering::Acquire)).filter(|found| *found != WAITING)
    }
}

type Places = Vec<Arc<Place>>;

/// Those who are to be woken, when no lock is held any more.
#[must_use]
pub(crate) struct Woken(Places);

impl Woken {
    pub(crate) fn wake(self) {
        self.0.iter().for_each(|place| place.waker.wake());
    }
}

/// Those who wait.
pub(crate) struct Waiters(Mutex<Waiting>);

struct Waiting {
    /// Everybody has been told of everything up to this revision.
    told: Revision,
    /// Nothing more will come.
    closed: bool,
    keys: FxHashMap<Bytes, Places>,
    prefixes: FxHashMap<Bytes, Places>,
    /// How many of `prefixes` have which length.
    lengths: BTreeMap<usize, usize>,
    intervals: Vec<(KeyRange, Arc<Place>)>,
    /// Those who want to hear of everything that happens.
    all: Places,
    /// How many wait, those that have gone away included.
    count: usize,
    gone: usize,
}

impl Waiters {
    pub(crate) fn new(told: Revision) -> Waiters {
        Waiters(Mutex::new(Waiting {
            told,
            closed: false,
            keys: FxHashMap::default(),
            prefixes: FxHashMap::default(),
            lengths: BTreeMap::new(),
            intervals: Vec::new(),
            all: Vec::new(),
            count: 0,
            gone: 0,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a watcher wait that has been told everything before `end`, the end of the log; false: there is more by now.
    pub(crate) fn wait(&self, place: &Arc<Place>, request: &WatchRequest, end: Revision) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.told >= end {
            return false;
        }
        place.found.store(WAITING, Ordering::Release);
        waiting.add(place.clone(), request);
        true
    }

    /// A watcher has gone away.
    pub(crate) fn leave(&self, place: &Place) {
        let mut waiting = self.lock();
        if place.found.swap(GONE, Ordering::AcqRel) == WAITING {
            waiting.gone += 1;
            if waiting.gone > LEFTOVERS + waiting.count / 2 {
                waiting.tidy();
            }
        }
    }

    /// Up to which revision nothing has come for a watcher that waits; None: it does not wait any more.
    pub(crate) fn told(&self, place: &Place) -> Option<Revision> {
        let waiting = self.lock();
        place.found().is_none().then_some(waiting.told)
    }

    /// Lets those go that these batches, which are in the log, have something for. Called while the view is locked.
    pub(crate) fn tell(&self, batches: &[EventBatch]) -> Woken {
        let mut woken = Vec::new();
        let Some(last) = batches.last() else { return Woken(woken) };
        let mut waiting = self.lock();
        waiting.told = last.revision;
        for batch in batches {
            waiting.take(batch, &mut woken);
        }
        Woken(woken)
    }

    /// Wakes everybody, for good.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let mut woken = Vec::new();
        waiting.everybody(&mut |place| woken.push(place.clone()));
        (waiting.keys, waiting.prefixes, waiting.intervals, waiting.all) = Default::default();
        (waiting.count, waiting.gone) = (0, 0);
        for place in &woken {
            // Any revision will do: there is an error to be found. Who has gone away stays away.
            let _ = place.found.compare_exchange(WAITING, 1, Ordering::AcqRel, Ordering::Acquire);
        }
        drop(waiting);
        Woken(woken).wake();
    }

    /// Lets everybody look at something other than the log.
    pub(crate) fn nudge(&self) {
        let mut woken = Vec::new();
        self.lock().everybody(&mut |place| woken.push(place.clone()));
        Woken(woken).wake();
    }
}

impl Waiting {
    fn add(&mut self, place: Arc<Place>, request: &WatchRequest) {
        self.count += 1;
        if self.keys.len() + self.prefixes.len() > LEFTOVERS + 2 * self.count {
            self.tidy();
        }
        match &request.keys {
            _ if request.progress => self.all.push(place),
            KeyRange::Prefix(prefix) if prefix.is_empty() => self.all.push(place),
            KeyRange::Key(key) => push(&mut self.keys, key, place),
            KeyRange::Prefix(prefix) => self.add_prefix(prefix, place),
            KeyRange::Interval { start, end: Some(end) } if is_prefix(start, end) => self.add_prefix(start, place),
            keys => self.intervals.push((keys.clone(), place)),
        }
    }

    fn add_prefix(&mut self, prefix: &Bytes, place: Arc<Place>) {
        if !self.prefixes.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        push(&mut self.prefixes, prefix, place);
    }

    /// Takes out those that a batch has something for.
    fn take(&mut self, batch: &EventBatch, woken: &mut Places) {
        let before = woken.len();
        woken.append(&mut self.all);
        for event in batch.events.iter() {
            let key = &event.kv.key[..];
            if let Some(places) = self.keys.get_mut(key) {
                woken.append(places);
            }
            for length in self.lengths.range(..=key.len()).map(|(length, _)| *length) {
                if let Some(places) = self.prefixes.get_mut(&key[..length]) {
                    woken.append(places);
                }
            }
            for (_, place) in self.intervals.extract_if(.., |(keys, _)| keys.contains(key)) {
                woken.push(place);
            }
        }
        for place in &woken[before..] {
            let waited = place.found.compare_exchange(WAITING, batch.revision, Ordering::AcqRel, Ordering::Acquire);
            self.gone -= usize::from(waited.is_err());
        }
        self.count -= woken.len() - before;
    }

    fn everybody(&self, each: &mut impl FnMut(&Arc<Place>)) {
        let lists = self.keys.values().chain(self.prefixes.values()).chain([&self.all]);
        lists.flatten().for_each(&mut *each);
        self.intervals.iter().for_each(|(_, place)| each(place));
    }

    /// Forgets those that have gone away, and lists that are empty.
    fn tidy(&mut self) {
        let is_here = |place: &Arc<Place>| place.found.load(Ordering::Acquire) != GONE;
        for lists in [&mut self.keys, &mut self.prefixes] {
            lists.retain(|_, places| {
                places.retain(is_here);
                !places.is_empty()
            });
        }
        self.all.retain(is_here);
        self.intervals.retain(|(_, place)| is_here(place));
        self.lengths.clear();
        for prefix in self.prefixes.keys() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        self.count -= mem::take(&mut self.gone);
    }
}

/// Whether an interval is all keys that begin with its start: how etcd's clients ask for a prefix.
fn is_prefix(start: &[u8], end: &[u8]) -> bool {
    match (start.split_last(), end.split_last()) {
        (Some((a, start)), Some((b, end))) => start == end && a.checked_add(1) == Some(*b),
        _ => false,
    }
}

fn push(lists: &mut FxHashMap<Bytes, Places>, key: &Bytes, place: Arc<Place>) {
    match lists.get_mut(key) {
        Some(places) => places.push(place),
        None => drop(lists.insert(key.clone(), vec![place])),
    }
}
