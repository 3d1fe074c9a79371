//! Who waits for what: watchers that have been told everything, by the keys they watch.
//!
//! A write wakes those who watch a key that it writes, and those who want to hear how far it is. Finding those who watch a key
//! or a prefix takes a look for each key written and each length of a prefix, however many watch others; those who watch other
//! intervals, or only some kinds of changes, or begin later, are looked through.
//! Who waits need not look at the log: nothing has come for it until it is woken, and then it is told from where on to look.
//! It waits again without a look at the log, or at the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::{EventBatch, KeyRange, Revision, WatchRequest};

/// So many places of watchers that have gone away may be kept around, and half as many as there are places.
const LEFTOVERS: usize = 64;

/// A watcher's place among the others.
#[derive(Default)]
pub(crate) struct Place(Mutex<Seat>);

#[derive(Default)]
struct Seat {
    waits: bool,
    waker: Option<Waker>,
    /// A revision that has something for it: what comes before has not. Of use to who waited.
    found: Revision,
    gone: bool,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Seat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From where on to look at the log; None: it waits, and wakes whoever asks.
    pub(crate) fn found(&self, context: &Context<'_>) -> Option<Revision> {
        let mut seat = self.lock();
        if !seat.waits {
            return Some(seat.found);
        }
        let before = seat.wake(context);
        drop(seat);
        drop(before);
        None
    }

    /// Wakes it, whether it waits or not.
    pub(crate) fn wake(&self) {
        let waker = self.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// A revision has something for it, if it waits.
    fn find(&self, revision: Revision) -> Option<Waker> {
        let mut seat = self.lock();
        if !seat.waits {
            return None;
        }
        (seat.waits, seat.found) = (false, revision);
        seat.waker.take()
    }
}

impl Seat {
    /// Whoever asks is to be woken. Answers with who was to be: to be dropped when nothing is locked, since a task may go with
    /// its last waker, and watches with the task.
    #[must_use]
    fn wake(&mut self, context: &Context<'_>) -> Option<Waker> {
        match &self.waker {
            Some(waker) if waker.will_wake(context.waker()) => None,
            _ => self.waker.replace(context.waker().clone()),
        }
    }
}

/// Those who are to be woken, when no lock is held any more.
#[must_use]
pub(crate) struct Woken(Vec<Waker>);

impl Woken {
    pub(crate) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

/// Those who watch.
pub(crate) struct Waiters {
    /// What has come up to this revision has been put before everybody who waits; [`Revision::MAX`]: nothing more will come.
    /// Changed while `watching` is locked.
    told: AtomicU64,
    watching: Mutex<Watching>,
}

#[derive(Default)]
struct Watching {
    keys: FxHashMap<Bytes, Places>,
    prefixes: FxHashMap<Bytes, Places>,
    /// How many of `prefixes` have which length.
    lengths: BTreeMap<usize, usize>,
    /// Those who watch other intervals, or only some of what happens there, or from a later revision on.
    others: Vec<(WatchRequest, Arc<Place>)>,
    /// Those who watch everything.
    all: Places,
    /// Those who want to hear how far it is although there is nothing for them: among the others, too.
    progress: Vec<Arc<Place>>,
    /// How many there are, those that have gone away included.
    count: usize,
    gone: usize,
}

/// Those who watch the same.
#[derive(Default)]
struct Places {
    places: Vec<Arc<Place>>,
    /// Everybody has been looked at for what has come up to this revision.
    told: Revision,
}

impl Places {
    /// A revision has something for them; it came together with those up to `last`.
    fn find(&mut self, revision: Revision, last: Revision, woken: &mut Vec<Waker>) {
        // Who waits since has seen those already.
        if self.told < last {
            self.told = last;
            woken.extend(self.places.iter().filter_map(|place| place.find(revision)));
        }
    }
}

impl Waiters {
    pub(crate) fn new(told: Revision) -> Waiters {
        Waiters { told: AtomicU64::new(told), watching: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Watching> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing has come after this revision; later ones are being put before those who wait, or there is an error to be found.
    pub(crate) fn told(&self) -> Revision {
        self.told.load(Ordering::Acquire)
    }

    /// Lets a watcher take its place. It does not wait yet.
    pub(crate) fn join(&self, place: &Arc<Place>, request: &WatchRequest) {
        let mut watching = self.lock();
        let is_ahead = request.from > self.told().saturating_add(1);
        watching.add(place.clone(), request, is_ahead);
    }

    /// Lets a watcher that has joined, and has seen everything before `next`, wait; false: there is more by now.
    pub(crate) fn wait(&self, place: &Place, next: Revision, context: &Context<'_>) -> bool {
        let mut seat = place.lock();
        let before = seat.wake(context);
        // Who tells changes this first and looks at the places then: it has not come here yet, or is seen here.
        // For who has been waiting nothing was found meanwhile.
        seat.waits |= self.told() < next;
        let waits = seat.waits;
        drop(seat);
        drop(before);
        waits
    }

    /// A watcher that had joined has gone away.
    pub(crate) fn leave(&self, place: &Place) {
        let mut watching = self.lock();
        let left = std::mem::replace(&mut *place.lock(), Seat { gone: true, ..Seat::default() });
        watching.gone += 1;
        if watching.gone > LEFTOVERS + watching.count / 2 {
            watching.tidy();
        }
        drop(watching);
        drop(left);
    }

    /// Up to which revision nothing has come for a watcher that waits; None: it does not wait any more.
    pub(crate) fn told_to(&self, place: &Place) -> Option<Revision> {
        // Nobody is being told meanwhile.
        let _watching = self.lock();
        place.lock().waits.then(|| self.told())
    }

    /// Lets those go that these batches, which are in the log, have something for. Called while the view is locked.
    pub(crate) fn tell(&self, batches: &[EventBatch]) -> Woken {
        let mut woken = Vec::new();
        let Some(last) = batches.last() else { return Woken(woken) };
        let mut watching = self.lock();
        self.told.fetch_max(last.revision, Ordering::Release);
        for batch in batches {
            watching.find(batch, last.revision, &mut woken);
        }
        woken.extend(watching.progress.iter().filter_map(|place| place.lock().waker.take()));
        Woken(woken)
    }

    /// Wakes everybody, for good.
    pub(crate) fn close(&self) {
        let watching = self.lock();
        self.told.store(Revision::MAX, Ordering::Release);
        let mut woken = Vec::new();
        watching.everybody(|place| woken.extend(place.find(0)));
        drop(watching);
        Woken(woken).wake();
    }

    /// Lets everybody look at something other than the log.
    pub(crate) fn nudge(&self) {
        let mut woken = Vec::new();
        self.lock().everybody(|place| woken.extend(place.lock().waker.take()));
        Woken(woken).wake();
    }
}

impl Watching {
    /// `is_ahead`: its first revision is not the next one, but a later one.
    fn add(&mut self, place: Arc<Place>, request: &WatchRequest, is_ahead: bool) {
        self.count += 1;
        if request.progress {
            self.progress.push(place.clone());
        }
        match &request.keys {
            _ if is_ahead || !request.puts || !request.deletions => self.others.push((request.clone(), place)),
            KeyRange::Prefix(prefix) if prefix.is_empty() => self.all.places.push(place),
            KeyRange::Key(key) => push(&mut self.keys, key, place),
            KeyRange::Prefix(prefix) => self.add_prefix(prefix, place),
            KeyRange::Interval { start, end: Some(end) } if is_prefix(start, end) => self.add_prefix(start, place),
            KeyRange::Interval { .. } => self.others.push((request.clone(), place)),
        }
    }

    fn add_prefix(&mut self, prefix: &Bytes, place: Arc<Place>) {
        if !self.prefixes.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        push(&mut self.prefixes, prefix, place);
    }

    /// Finds those that a batch has something for; it came together with those up to `last`.
    fn find(&mut self, batch: &EventBatch, last: Revision, woken: &mut Vec<Waker>) {
        self.all.find(batch.revision, last, woken);
        for event in batch.events.iter() {
            let key = &event.kv.key[..];
            if let Some(places) = self.keys.get_mut(key) {
                places.find(batch.revision, last, woken);
            }
            for length in self.lengths.range(..=key.len()).map(|(length, _)| *length) {
                if let Some(places) = self.prefixes.get_mut(&key[..length]) {
                    places.find(batch.revision, last, woken);
                }
            }
            for (request, place) in &self.others {
                if request.from <= batch.revision && request.wants(event) {
                    woken.extend(place.find(batch.revision));
                }
            }
        }
    }

    fn everybody(&self, each: impl FnMut(&Arc<Place>)) {
        let lists = self.keys.values().chain(self.prefixes.values()).chain([&self.all]);
        let others = self.others.iter().map(|(_, place)| place);
        lists.flat_map(|list| &list.places).chain(others).for_each(each);
    }

    /// Forgets those that have gone away.
    fn tidy(&mut self) {
        let is_here = |place: &Arc<Place>| !place.lock().gone;
        let tidy = |list: &mut Places| {
            list.places.retain(is_here);
            !list.places.is_empty()
        };
        self.keys.retain(|_, list| tidy(list));
        self.prefixes.retain(|_, list| tidy(list));
        tidy(&mut self.all);
        self.others.retain(|(_, place)| is_here(place));
        self.progress.retain(is_here);
        self.lengths.clear();
        for prefix in self.prefixes.keys() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        self.count -= std::mem::take(&mut self.gone);
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
        Some(list) => list.places.push(place),
        None => drop(lists.insert(key.clone(), Places { places: vec![place], told: 0 })),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use futures::StreamExt;

    use super::*;
    use crate::{MemoryStore, Store, Watch};

    /// A task that owns a watch, and goes with its last waker.
    struct Task {
        _watch: Mutex<Watch>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Task>) {}
    }

    #[tokio::test]
    async fn a_task_may_go_with_its_last_waker_and_its_watches_with_it() {
        let store = MemoryStore::new();
        let waiting = async || {
            let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
            assert!(futures::poll!(watch.next()).is_pending());
            watch
        };
        let left_with = async || {
            let mut watch = waiting().await;
            let waker = Waker::from(Arc::new(Task { _watch: Mutex::new(waiting().await) }));
            assert!(watch.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
            watch
        };
        // It goes when another task takes over, when its watch is told something, when it leaves, and when others tidy up.
        let mut watch = left_with().await;
        assert!(futures::poll!(watch.next()).is_pending());
        let told = left_with().await;
        store.put("a".into(), "1".into()).await.unwrap();
        drop(told);
        for _ in 0..3 * LEFTOVERS {
            drop(left_with().await);
        }
    }
}
