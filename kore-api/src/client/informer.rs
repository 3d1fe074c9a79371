//! A copy of a collection that follows the server's.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use futures::StreamExt;
use kore_store::Revision;

use super::DynamicApi;
use super::changes::{Changes, Queue};
use crate::error::Error;
use crate::object::{Kind, Object, ObjectKey, UndecodableView, View};
use crate::progress::Progress;
use crate::request::{Options, WatchEvent};

/// How long to wait before trying again after a first failure; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Which objects an informer holds. The default: all of the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
}

impl Selection {
    /// All objects of the kind.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those in `namespace`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Only those whose labels match, in selector syntax.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only those whose fields match, for example `spec.nodeName=node-1`.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }
}

/// A copy of a collection that follows the server's: a list, then a watch from the list's revision, started anew from where it
/// was when the connection breaks, and from a list when the server no longer has that revision. In the server's own process it
/// holds the server's own objects. Cloning shares the copy.
pub struct Informer<K> {
    cache: Arc<Cache>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Informer<K> {
    /// The typed view of the object of this key.
    ///
    /// # Errors
    /// When the object is no `K`.
    pub fn view(&self, key: &ObjectKey) -> Result<Option<View<K>>, UndecodableView> {
        self.get(key).map(|object| object.view()).transpose()
    }
}

impl Informer<()> {
    /// The same copy, for the kind of its objects: where that is another one, views do not decode.
    pub fn typed<K: Kind>(&self) -> Informer<K> {
        Informer { cache: self.cache.clone(), kind: PhantomData }
    }
}

impl<K> Informer<K> {
    pub(super) fn new(api: DynamicApi, selection: Selection) -> (Self, impl Future<Output = ()> + Send + use<K>) {
        let cache = Arc::new(Cache::default());
        let run = follow(api, selection, Closing(cache.clone()));
        (Self { cache, kind: PhantomData }, run)
    }

    /// The object of this key.
    pub fn get(&self, key: &ObjectKey) -> Option<Object> {
        self.cache.read().objects.get(key).cloned()
    }

    /// All objects, ordered by namespace and name.
    pub fn list(&self) -> Vec<Object> {
        self.cache.read().objects.values().cloned().collect()
    }

    /// The objects of one namespace, ordered by name.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Object> {
        let first = ObjectKey::namespaced(namespace, "");
        let state = self.cache.read();
        let from_first = state.objects.range((Bound::Included(first), Bound::Unbounded));
        from_first.take_while(|(key, _)| &*key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.cache.read().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to which revision this copy has followed the server; 0 before the first list.
    pub fn revision(&self) -> Revision {
        self.cache.progress.get()
    }

    /// Waits until the first list is here.
    pub async fn synced(&self) {
        self.reached(1).await;
    }

    /// Waits until this copy has followed the server up to `revision`: who has written an object of this collection at that
    /// revision then reads what it wrote.
    pub async fn reached(&self, revision: Revision) {
        self.cache.progress.reach(revision).await;
    }

    /// A new subscription, which first yields all there is.
    pub fn subscribe(&self) -> Changes {
        let queue = Arc::new(Queue::default());
        let mut state = self.cache.write();
        for key in state.objects.keys() {
            queue.push(key, None);
        }
        state.subscribers.push(Arc::downgrade(&queue));
        drop(state);
        Changes::new(self.cache.clone(), queue)
    }
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for Informer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Informer({} at {})", self.cache.read().objects.len(), self.cache.progress.get())
    }
}

/// What an informer and its subscribers share.
///
/// A plain lock around a plain map: writes come from one task, one watch event each, and hold it for a map insertion; readers
/// clone one `Arc`.
#[derive(Default)]
pub(super) struct Cache {
    state: RwLock<State>,
    progress: Progress,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, Object>,
    subscribers: Vec<Weak<Queue>>,
    closed: bool,
}

impl Cache {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.read().closed
    }

    /// The next key that `queue` has yet to see, as it was and as it is.
    pub(super) fn take(&self, queue: &Queue) -> Option<(ObjectKey, Option<Object>, Option<Object>)> {
        // The state stays locked in between: what is taken is taken as it is now, and what changes later is queued anew.
        let state = self.read();
        let (key, before) = queue.pop()?;
        let after = state.objects.get(&key).cloned();
        Some((key, before, after))
    }

    /// Takes over one watch event.
    fn apply(&self, event: WatchEvent) {
        let revision = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let (key, revision) = (object.key().clone(), object.revision());
                self.write().set(&key, Some(object));
                revision
            }
            WatchEvent::Deleted(object) => {
                self.write().set(object.key(), None);
                object.revision()
            }
            WatchEvent::Bookmark { revision, .. } => revision,
        };
        self.advance(revision);
    }

    /// Takes over a whole list: what is not in it is gone.
    fn replace(&self, objects: Vec<Object>, revision: Revision) {
        let listed: BTreeMap<ObjectKey, Object> =
            objects.into_iter().map(|object| (object.key().clone(), object)).collect();
        let mut state = self.write();
        let gone: Vec<ObjectKey> = state.objects.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        for key in gone {
            state.set(&key, None);
        }
        for (key, object) in listed {
            let is_same = |known: &Object| (known.revision(), known.uid()) == (object.revision(), object.uid());
            if !state.objects.get(&key).is_some_and(is_same) {
                state.set(&key, Some(object));
            }
        }
        drop(state);
        // A store that was put back to an earlier state has lower revisions.
        self.progress.set(revision.max(1));
    }

    fn advance(&self, revision: Revision) {
        self.progress.advance(revision);
    }
}

impl State {
    fn set(&mut self, key: &ObjectKey, object: Option<Object>) {
        let before = match object {
            Some(object) => self.objects.insert(key.clone(), object),
            None => self.objects.remove(key),
        };
        self.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(queue) => {
                queue.push(key, before.as_ref());
                true
            }
            None => false,
        });
    }
}

/// Tells the subscribers when nobody follows the server any longer.
struct Closing(Arc<Cache>);

impl Drop for Closing {
    fn drop(&mut self) {
        let mut state = self.0.write();
        state.closed = true;
        for queue in state.subscribers.iter().filter_map(Weak::upgrade) {
            queue.close();
        }
    }
}

/// Lists and watches, for ever.
async fn follow(api: DynamicApi, selection: Selection, closing: Closing) {
    let cache = &closing.0;
    let api = match &selection.namespace {
        Some(namespace) => api.in_namespace(namespace),
        None => api,
    };
    let mut options = Options {
        label_selector: selection.labels,
        field_selector: selection.fields,
        allow_watch_bookmarks: true,
        ..Options::default()
    };
    let mut wait = BACKOFF_MIN;
    let mut listed = false;
    loop {
        let before = cache.progress.get();
        let outcome = if listed { resume(&api, &mut options, cache).await } else { list(&api, &options, cache).await };
        match outcome {
            Ok(true) => {
                listed = true;
                wait = BACKOFF_MIN;
                continue;
            }
            // A watch that ended before it brought anything: not at once again.
            Ok(false) => {}
            // The server no longer has the revision: what happened since is found by comparing with a list.
            Err(error) if listed && error.is_expired() => listed = false,
            // Nor does one that does not have it yet: it is behind, or its store is another one than before.
            Err(error) if listed && error.is_future_revision() => listed = false,
            Err(error) => {
                tracing::warn!(resource = %api.resource(), %error, "cannot follow; trying again")
            }
        }
        if cache.progress.get() != before {
            wait = BACKOFF_MIN;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
}

async fn list(api: &DynamicApi, options: &Options, cache: &Cache) -> Result<bool, Error> {
    let mut options = Options { allow_watch_bookmarks: false, resource_version: None, ..options.clone() };
    let mut objects = Vec::new();
    loop {
        let page = api.list(&options).await?;
        objects.extend(page.items);
        options.continue_token = page.continue_token;
        if options.continue_token.is_none() {
            cache.replace(objects, page.revision);
            return Ok(true);
        }
    }
}

/// Watches from where the cache is until the watch ends; whether it brought anything.
async fn resume(api: &DynamicApi, options: &mut Options, cache: &Cache) -> Result<bool, Error> {
    options.resource_version = Some(cache.progress.get().to_string());
    let mut events = api.watch(options).await?;
    let mut progressed = false;
    while let Some(event) = events.next().await {
        cache.apply(event?);
        progressed = true;
    }
    Ok(progressed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, revision: Revision) -> Object {
        let metadata = json!({"name": name, "namespace": "ns"});
        Object::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}), revision).unwrap()
    }

    fn subscribed(cache: &Arc<Cache>) -> Changes {
        let queue = Arc::new(Queue::default());
        let mut state = cache.write();
        for key in state.objects.keys() {
            queue.push(key, None);
        }
        state.subscribers.push(Arc::downgrade(&queue));
        Changes::new(cache.clone(), queue)
    }

    fn seen(changes: &mut Changes) -> Vec<(String, Option<Revision>, Option<Revision>)> {
        let revision = |object: Option<Object>| object.map(|object| object.revision());
        std::iter::from_fn(|| changes.try_next())
            .map(|change| (change.key.name.to_string(), revision(change.before), revision(change.after)))
            .collect()
    }

    #[test]
    fn changes_are_the_difference_to_what_the_subscriber_last_saw() {
        let cache = Arc::new(Cache::default());
        cache.replace(vec![object("a", 1), object("b", 2)], 2);
        let mut changes = subscribed(&cache);
        let at = |name: &str, before, after| (name.to_owned(), before, after);
        assert_eq!(seen(&mut changes), [at("a", None, Some(1)), at("b", None, Some(2))]);

        cache.apply(WatchEvent::Modified(object("b", 3)));
        cache.apply(WatchEvent::Modified(object("b", 4)));
        cache.apply(WatchEvent::Added(object("c", 5)));
        cache.apply(WatchEvent::Deleted(object("c", 6)));
        cache.apply(WatchEvent::Deleted(object("a", 7)));
        assert_eq!(seen(&mut changes), [at("b", Some(2), Some(4)), at("a", Some(1), None)]);
        assert_eq!(cache.progress.get(), 7);
    }

    #[test]
    fn a_list_after_a_gap_yields_only_what_differs() {
        let cache = Arc::new(Cache::default());
        cache.replace(vec![object("a", 1), object("b", 2), object("c", 3)], 3);
        let mut changes = subscribed(&cache);
        assert_eq!(seen(&mut changes).len(), 3);
        cache.replace(vec![object("a", 1), object("c", 9), object("d", 8)], 9);
        let names: Vec<String> = seen(&mut changes).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["b", "c", "d"]);
    }

    #[test]
    fn a_list_of_another_store_takes_the_place_of_everything() {
        let cache = Arc::new(Cache::default());
        cache.replace(vec![object("a", 3), object("b", 9)], 9);
        let mut changes = subscribed(&cache);
        assert_eq!(seen(&mut changes).len(), 2);
        let other = json!({"name": "a", "namespace": "ns", "uid": "another"});
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": other});
        cache.replace(vec![Object::from_value(other, 3).unwrap()], 4);
        let names: Vec<String> = seen(&mut changes).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(cache.progress.get(), 4);
        cache.apply(WatchEvent::Added(object("c", 5)));
        assert_eq!(cache.progress.get(), 5);
    }

    #[tokio::test]
    async fn a_subscriber_learns_that_the_informer_is_closed() {
        let cache = Arc::new(Cache::default());
        let mut changes = subscribed(&cache);
        let closing = Closing(cache.clone());
        let (next, ()) = futures::join!(changes.next(), async { drop(closing) });
        assert_eq!(next, None);
    }
}
