//! Where a writer leaves its object for the loop that follows the store.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kore_store::{KeyValue, Revision};

use super::resource::{Entry, Fields};
use crate::object::Object;

/// How many objects wait for their event at most. Beyond, the oldest is dropped, and the loop decodes what the store tells it:
/// slower, and nothing is lost.
const WAITING_MAX: usize = 1024;

/// An object on its way into the store, whose revision is not known yet. Whoever learns the revision first, the writer from
/// the store's answer or the loop from its event, gives it to the one `Object`, which both then share.
pub(crate) struct Pending {
    key: Bytes,
    value: Bytes,
    state: Mutex<State>,
}

enum State {
    Draft(Object, Fields),
    Written(Entry),
    /// Only ever seen within [`Pending::at`].
    Between,
}

impl Pending {
    pub(crate) fn new(key: Bytes, value: Bytes, draft: Object, fields: Fields) -> Arc<Self> {
        Arc::new(Self { key, value, state: Mutex::new(State::Draft(draft, fields)) })
    }

    pub(crate) fn key(&self) -> &Bytes {
        &self.key
    }

    pub(crate) fn value(&self) -> &Bytes {
        &self.value
    }

    /// The object, written at `revision`.
    pub(crate) fn at(&self, revision: Revision) -> Entry {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match mem::replace(&mut *state, State::Between) {
            State::Draft(draft, fields) => Entry { object: draft.into_revision(revision), fields },
            State::Written(entry) if entry.object.revision() == revision => entry,
            // The same bytes were written twice.
            State::Written(entry) => Entry { object: entry.object.at_revision(revision), fields: entry.fields },
            State::Between => {
                unreachable!("the lock is held for as long as the state is taken out")
            }
        };
        *state = State::Written(entry.clone());
        entry
    }

    fn is_of(&self, written: &KeyValue) -> bool {
        self.key == written.key && self.value == written.value
    }
}

/// The objects of one resource that are on their way into the store, oldest first. Events come in about the order of the
/// writes, so that a search ends at or near the front.
#[derive(Default)]
pub(crate) struct Handoff {
    waiting: Mutex<VecDeque<Arc<Pending>>>,
}

impl Handoff {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Pending>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an object that is about to be written.
    pub(crate) fn leave(&self, pending: Arc<Pending>) {
        let mut waiting = self.lock();
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(pending);
    }

    /// Takes an object back that has not been written after all.
    pub(crate) fn take_back(&self, pending: &Arc<Pending>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, pending));
    }

    /// The object that an event tells about, if it was written here.
    pub(super) fn take(&self, written: &KeyValue) -> Option<Entry> {
        let mut waiting = self.lock();
        let at = waiting.iter().position(|pending| pending.is_of(written))?;
        let pending = waiting.remove(at)?;
        drop(waiting);
        Some(pending.at(written.mod_revision))
    }
}
