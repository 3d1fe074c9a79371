//! The cache of one resource.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imbl::OrdMap;
use kore_store::{KeyValue, Revision};
use serde_json::Value;

use super::{Handoff, layout};
use crate::object::{MalformedObject, Object, ObjectKey};
use crate::progress::Progress;
use crate::registry::ResourceInfo;

/// The values of an object's selectable fields, in the order in which its resource names them; `None`: it names none.
pub(crate) type Fields = Option<Arc<[Box<str>]>>;

/// An object in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The object.
    pub(crate) object: Object,
    /// The values of its selectable fields, taken out once.
    pub(crate) fields: Fields,
}

/// All objects of a resource at one revision. Cloning shares them; whoever keeps one keeps what has changed since.
pub(crate) type Snapshot = OrdMap<ObjectKey, Entry>;

/// One change in the window.
#[derive(Debug)]
pub(crate) struct CacheEvent {
    /// At which revision.
    pub(crate) revision: Revision,
    /// What there was; `None`: nothing.
    pub(crate) before: Option<Entry>,
    /// What there is; `None`: nothing.
    pub(crate) after: Option<Entry>,
    departed: OnceLock<Object>,
}

impl CacheEvent {
    /// The object as it last was, at the revision of the change, for those to whom it is gone.
    pub(crate) fn departed(&self) -> Option<&Object> {
        let before = self.before.as_ref()?;
        Some(self.departed.get_or_init(|| before.object.at_revision(self.revision)))
    }

    fn key(&self) -> &ObjectKey {
        let entry = self.after.as_ref().or(self.before.as_ref());
        entry.expect("a change has a before or an after").object.key()
    }

    fn bytes(&self) -> usize {
        let size = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.object.body().len());
        size(&self.before)
    }
}

/// How much of the past is kept for each resource. Beyond either limit the oldest changes are forgotten: who wants to
/// watch from there is told that its revision has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Changes.
    pub(crate) events: usize,
    /// Bytes of replaced and deleted objects' bodies.
    pub(crate) bytes: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { events: 65_536, bytes: 32 << 20 }
    }
}

/// How many changes lie between two of the snapshots that are kept.
const SNAPSHOT_EVERY: u64 = 256;

/// The cache of one resource.
pub(crate) struct ResourceCache {
    info: Arc<ResourceInfo>,
    window: Window,
    state: RwLock<State>,
    changes: Progress,
    closed: AtomicBool,
    /// Where writers leave what they write.
    pub(crate) handoff: Handoff,
}

#[derive(Default)]
struct State {
    objects: Snapshot,
    /// The window: every change since `floor`, in order.
    events: VecDeque<Arc<CacheEvent>>,
    /// Bytes of what the window keeps.
    bytes: usize,
    /// The number of the change to come; the window's first has the number `next - events.len()`.
    next: u64,
    /// Every later change is in the window.
    floor: Revision,
    /// Now and then, what there was before the change of that number.
    snapshots: VecDeque<(u64, Snapshot)>,
    /// What has been told before the objects are known; `None`: they are.
    early: Option<Early>,
}

/// Changes that come while a cache is being filled.
#[derive(Default)]
struct Early {
    changes: Vec<(Revision, Vec<Change>)>,
    count: usize,
}

/// What one revision did to one object.
enum Change {
    Written(Entry),
    Deleted(ObjectKey),
}

/// The changes that were asked for are no longer in the window, which begins behind this revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten(pub(crate) Revision);

impl ResourceCache {
    pub(crate) fn new(info: Arc<ResourceInfo>, window: Window) -> Self {
        Self {
            info,
            window,
            state: RwLock::default(),
            changes: Progress::default(),
            closed: AtomicBool::new(false),
            handoff: Handoff::default(),
        }
    }

    /// One that is filled while changes are told already.
    pub(super) fn to_be_filled(info: Arc<ResourceInfo>, window: Window) -> Self {
        let state = State { early: Some(Early::default()), ..State::default() };
        Self { state: RwLock::new(state), ..Self::new(info, window) }
    }

    /// The entry of the version as which its objects are stored.
    pub(crate) fn info(&self) -> &Arc<ResourceInfo> {
        &self.info
    }

    /// Ends its watches: it is no longer fed.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changes.step();
    }

    /// Whether it is no longer fed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object, as it is now.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Entry> {
        self.read().objects.get(key).cloned()
    }

    /// All objects now, and the number of the change to come.
    pub(crate) fn snapshot(&self) -> (Snapshot, u64, Revision) {
        let state = self.read();
        let revision = state.events.back().map_or(state.floor, |event| event.revision);
        (state.objects.clone(), state.next, revision)
    }

    /// All objects at a revision that the caches have reached.
    pub(crate) fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, Forgotten> {
        let state = self.read();
        let wanted = state.number_after(revision)?;
        let (from, mut objects) = match state.snapshots.iter().find(|(number, _)| *number >= wanted) {
            Some((number, objects)) => (*number, objects.clone()),
            None => (state.next, state.objects.clone()),
        };
        let first = state.first();
        let undone: Vec<Arc<CacheEvent>> =
            state.events.range((wanted - first) as usize..(from - first) as usize).rev().cloned().collect();
        drop(state);
        for event in undone {
            match &event.before {
                Some(before) => objects.insert(event.key().clone(), before.clone()),
                None => objects.remove(event.key()),
            };
        }
        Ok(objects)
    }

    /// The number of the first change after `revision`.
    pub(crate) fn number_after(&self, revision: Revision) -> Result<u64, Forgotten> {
        self.read().number_after(revision)
    }

    /// At most `limit` changes from this number on.
    pub(crate) fn events(&self, number: u64, limit: usize) -> Result<Vec<Arc<CacheEvent>>, Forgotten> {
        let state = self.read();
        let at = number.checked_sub(state.first()).ok_or(Forgotten(state.floor))? as usize;
        let until = state.events.len().min(at.saturating_add(limit));
        Ok(state.events.range(at.min(until)..until).cloned().collect())
    }

    /// Grows whenever there are new changes.
    pub(crate) fn changes(&self) -> &Progress {
        &self.changes
    }

    /// Wakes those who wait for a change.
    pub(super) fn notify(&self) {
        self.changes.step();
    }

    /// The values of the selectable fields of an object.
    pub(crate) fn fields_of(&self, object: &Value) -> Fields {
        if self.info.selectable_fields.is_empty() {
            return None;
        }
        let value = |path: &Cow<'static, str>| -> Box<str> {
            if let Some(text) = self.info.strategy.selectable(object, path) {
                return text.into();
            }
            let mut fields = path.split('.');
            match fields.try_fold(object, |value, field| value.get(field)) {
                None | Some(Value::Null) => Box::default(),
                Some(Value::String(text)) => text.as_str().into(),
                Some(other) => other.to_string().into(),
            }
        };
        Some(self.info.selectable_fields.iter().map(value).collect())
    }

    /// An object that the store holds, as the resource is defined at present: what has been defined since it was written is filled in, and
    /// what no longer is is left out.
    pub(crate) fn decode(&self, written: &KeyValue) -> Result<Object, MalformedObject> {
        let object = layout::decode(&written.value, written.mod_revision)?;
        self.info.settle_stored(object)
    }

    /// The entry for an object that was written by somebody else.
    pub(crate) fn entry_of(&self, object: Object) -> Entry {
        let fields = match self.info.selectable_fields.is_empty() {
            true => None,
            false => self.fields_of(&serde_json::from_slice(object.body()).unwrap_or_default()),
        };
        Entry { object, fields }
    }

    fn entry_from(&self, written: &KeyValue) -> Option<Entry> {
        if let Some(entry) = self.handoff.take(written) {
            return Some(entry);
        }
        match self.decode(written) {
            Ok(object) => Some(self.entry_of(object)),
            Err(error) => {
                let key = String::from_utf8_lossy(&written.key);
                tracing::error!(%key, revision = written.mod_revision, %error, "a stored object cannot be read; left out");
                None
            }
        }
    }

    /// Takes over what one revision has changed, each with the object's part of its key: all of it, or nothing of it is seen.
    pub(super) fn apply<'a>(&self, revision: Revision, changes: impl Iterator<Item = (&'a str, &'a KeyValue)>) {
        let changes: Vec<Change> = changes
            .filter_map(|(object, kv)| match kv.is_deletion() {
                true => Some(Change::Deleted(layout::named(object))),
                false => self.entry_from(kv).map(Change::Written),
            })
            .collect();
        let mut state = self.write();
        if let Some(early) = &mut state.early {
            early.count += changes.len();
            // Beyond, it is filled again.
            if early.count <= self.window.events {
                early.changes.push((revision, changes));
            }
            return;
        }
        state.take(revision, changes);
        state.shrink(self.window);
    }

    /// Begins with the objects that there were at `revision`, and what has been told since. False: too much has been told meanwhile, and
    /// it has to be filled again.
    pub(super) fn fill(&self, revision: Revision, listed: impl Iterator<Item = KeyValue>) -> bool {
        let objects =
            listed.filter_map(|kv| self.entry_from(&kv)).map(|entry| (entry.object.key().clone(), entry)).collect();
        let mut state = self.write();
        let Some(early) = state.early.take() else {
            // The loop itself has begun anew meanwhile.
            return true;
        };
        if early.count > self.window.events {
            state.early = Some(Early::default());
            return false;
        }
        state.objects = objects;
        state.floor = revision;
        for (later, changes) in early.changes.into_iter().filter(|(later, _)| *later > revision) {
            state.take(later, changes);
        }
        state.shrink(self.window);
        true
    }

    /// Begins anew with these objects: nothing before `revision` is known any more.
    pub(super) fn reset(&self, revision: Revision, listed: impl Iterator<Item = KeyValue>) {
        let objects =
            listed.filter_map(|kv| self.entry_from(&kv)).map(|entry| (entry.object.key().clone(), entry)).collect();
        let mut state = self.write();
        // A number that nobody has reached: whoever stands at the old end is told that something is missing.
        let next = state.next + 1;
        *state = State { objects, next, floor: revision, ..State::default() };
    }

    /// Forgets the changes up to `revision`.
    pub(super) fn forget(&self, revision: Revision) {
        let mut state = self.write();
        while state.events.front().is_some_and(|event| event.revision <= revision) {
            state.forget_first();
        }
        state.floor = state.floor.max(revision);
    }
}

impl State {
    fn first(&self) -> u64 {
        self.next - self.events.len() as u64
    }

    fn number_after(&self, revision: Revision) -> Result<u64, Forgotten> {
        if revision < self.floor {
            return Err(Forgotten(self.floor));
        }
        Ok(self.first() + self.events.partition_point(|event| event.revision <= revision) as u64)
    }

    fn take(&mut self, revision: Revision, changes: Vec<Change>) {
        for change in changes {
            self.change(revision, change);
        }
    }

    fn change(&mut self, revision: Revision, change: Change) {
        if matches!(&change, Change::Deleted(key) if !self.objects.contains_key(key)) {
            return;
        }
        if self.next.is_multiple_of(SNAPSHOT_EVERY) {
            self.snapshots.push_back((self.next, self.objects.clone()));
        }
        let (before, after) = match change {
            Change::Written(entry) => {
                let key = entry.object.key().clone();
                (self.objects.insert(key, entry.clone()), Some(entry))
            }
            Change::Deleted(key) => (self.objects.remove(&key), None),
        };
        let event = CacheEvent { revision, before, after, departed: OnceLock::new() };
        self.bytes += event.bytes();
        self.events.push_back(Arc::new(event));
        self.next += 1;
    }

    fn shrink(&mut self, window: Window) {
        while self.events.len() > window.events || self.bytes > window.bytes {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(event) = self.events.pop_front() else {
            return;
        };
        self.bytes -= event.bytes();
        self.floor = event.revision;
        let first = self.first();
        while self.snapshots.front().is_some_and(|(number, _)| *number < first) {
            self.snapshots.pop_front();
        }
    }
}

/// The entries of a snapshot behind `after`, in order, of one namespace or of all.
pub(crate) fn entries<'a>(
    objects: &'a Snapshot,
    namespace: Option<&'a str>,
    after: Option<&ObjectKey>,
) -> impl Iterator<Item = &'a Entry> + 'a {
    let start = match (after, namespace) {
        (Some(key), Some(namespace)) if &*key.namespace < namespace => {
            Bound::Included(ObjectKey::namespaced(namespace, ""))
        }
        (Some(key), _) => Bound::Excluded(key.clone()),
        (None, Some(namespace)) => Bound::Included(ObjectKey::namespaced(namespace, "")),
        (None, None) => Bound::Unbounded,
    };
    objects
        .range((start, Bound::Unbounded))
        .take_while(move |(key, _)| namespace.is_none_or(|namespace| &*key.namespace == namespace))
        .map(|(_, entry)| entry)
}
