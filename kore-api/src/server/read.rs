//! Get and list.

use kore_store::{Error, KeyRange, Range, Revision};

use super::commit::store_failed;
use super::core::Call;
use super::page::Continuation;
use crate::cache::{Entry, Filter, Snapshot, entries, layout};
use crate::error::{Reason, Status};
use crate::object::{Object, ObjectKey};
use crate::request::{ObjectList, Options};

/// How many objects of an old revision are read from the store at a time.
const STORE_PAGE: usize = 512;

/// Which revision a reader wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Whatever there is.
    Any,
    /// The newest.
    Newest,
    /// This one or a later one.
    NotOlderThan(Revision),
    /// This one.
    Exactly(Revision),
}

impl Freshness {
    /// What `resourceVersion` and `resourceVersionMatch` ask for.
    pub(super) fn of(options: &Options) -> Result<Self, Status> {
        let revision = revision_of(options)?;
        match (revision, options.resource_version_match.as_deref()) {
            (None, None) => Ok(Self::Newest),
            (None, Some(_)) => {
                Err(Status::bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided"))
            }
            (Some(0), Some("Exact")) => {
                Err(Status::bad_request("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\""))
            }
            (Some(0), None | Some("NotOlderThan")) => Ok(Self::Any),
            (Some(revision), Some("Exact")) => Ok(Self::Exactly(revision)),
            // In pages and without a match, upstream's old rule: exactly this revision.
            (Some(revision), None) if options.limit > 0 => Ok(Self::Exactly(revision)),
            (Some(revision), None | Some("NotOlderThan")) => Ok(Self::NotOlderThan(revision)),
            (Some(_), Some(other)) => Err(Status::bad_request(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            ))),
        }
    }
}

/// The revision in `resourceVersion`; `None`: not set.
pub(super) fn revision_of(options: &Options) -> Result<Option<Revision>, Status> {
    match options.resource_version.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(revision) => Ok(Some(revision)),
            Err(_) => Err(Status::bad_request(format!("resourceVersion: Invalid value: {text:?}: must be a number"))),
        },
    }
}

impl Call<'_> {
    pub(super) async fn get(&self, name: &str) -> Result<Object, Status> {
        let freshness = match revision_of(self.options)? {
            None => Freshness::Newest,
            Some(0) => Freshness::Any,
            Some(revision) => Freshness::NotOlderThan(revision),
        };
        self.wait_for(freshness).await?;
        match self.route.cache.get(&self.key(name)) {
            Some(entry) => self.route.show(entry.object).await,
            None => Err(Status::not_found(self.resource(), name)),
        }
    }

    /// Waits until the cache is fresh enough.
    pub(super) async fn wait_for(&self, freshness: Freshness) -> Result<(), Status> {
        match freshness {
            // Anything but nothing: the caches have been filled once.
            Freshness::Any => self.core.caches.reach(1).await,
            Freshness::Newest => self.core.catch_up().await.map(drop),
            Freshness::NotOlderThan(revision) | Freshness::Exactly(revision) => self.core.caches.reach(revision).await,
        }
    }

    pub(super) async fn list(&self) -> Result<ObjectList, Status> {
        let mut list = self.list_stored().await?;
        list.items = self.route.show_all(list.items).await?;
        Ok(list)
    }

    async fn list_stored(&self) -> Result<ObjectList, Status> {
        let filter = Filter::new(&self.route.info, self.route.cache.info(), self.namespace.cloned(), self.options)?;
        let page = self.options.continue_token.as_deref().filter(|token| !token.is_empty());
        let page = page.map(Continuation::parse).transpose()?;
        let freshness = match &page {
            Some(page) => {
                if revision_of(self.options)?.is_some_and(|revision| revision != 0) {
                    return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
                }
                Freshness::Exactly(page.revision)
            }
            None => Freshness::of(self.options)?,
        };
        self.wait_for(freshness).await?;
        let cache = &self.route.cache;
        let Freshness::Exactly(revision) = freshness else {
            // Read first: all that is told as progress is in the snapshot.
            let progress = self.core.caches.progress();
            let (objects, _, changed) = cache.snapshot();
            return Ok(self.page(&objects, progress.max(changed), &filter, None));
        };
        match cache.snapshot_at(revision) {
            Ok(objects) => Ok(self.page(&objects, revision, &filter, page.as_ref())),
            Err(_) => self.page_of_store(revision, &filter, page.as_ref()).await,
        }
    }

    fn page(&self, objects: &Snapshot, revision: Revision, filter: &Filter, page: Option<&Continuation>) -> ObjectList {
        if let (Some(key), None) = (filter.only(), page) {
            let found = objects.get(&key).filter(|entry| filter.matches(entry));
            let items = found.map(|entry| entry.object.clone()).into_iter().collect();
            return ObjectList { items, revision, ..ObjectList::default() };
        }
        let after = page.map(|page| &page.after);
        let mut matching = entries(objects, filter.namespace(), after).filter(|entry| filter.matches(entry));
        let limit = usize::try_from(self.options.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let items: Vec<Object> = matching.by_ref().take(limit).map(|entry| entry.object.clone()).collect();
        let mut list = ObjectList { items, revision, ..ObjectList::default() };
        if list.items.len() == limit && matching.next().is_some() {
            let listed = page.map_or(0, |page| page.listed).saturating_add(limit as u64);
            list.continue_token = self.token(&list, listed);
            list.remaining = if filter.is_all() {
                Some((objects.len() as u64).saturating_sub(listed))
            } else if filter.is_plain() {
                Some(1 + matching.count() as u64)
            } else {
                // Upstream leaves the number out where selectors make it costly to know.
                None
            };
        }
        list
    }

    fn token(&self, list: &ObjectList, listed: u64) -> Option<String> {
        let after = list.items.last()?.key().clone();
        Some(Continuation { revision: list.revision, after, listed }.token())
    }

    /// A page of a revision that the cache no longer knows.
    async fn page_of_store(
        &self,
        revision: Revision,
        filter: &Filter,
        page: Option<&Continuation>,
    ) -> Result<ObjectList, Status> {
        let mut prefix = self.route.prefix.clone();
        if let Some(namespace) = filter.namespace() {
            prefix = format!("{prefix}{namespace}/");
        }
        let key = |key: &ObjectKey| layout::object_key(&self.route.prefix, key);
        let mut after = page.map(|page| key(&page.after));
        let limit = usize::try_from(self.options.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut list = ObjectList { revision, ..ObjectList::default() };
        loop {
            let mut range = Range::new(KeyRange::Prefix(prefix.clone().into())).at(revision).limit(STORE_PAGE);
            range.after = after.take();
            let read = self.core.store.range(range).await.map_err(|error| match error {
                Error::Compacted { .. } if page.is_some() => Status::new(
                    Reason::Expired,
                    "The provided continue parameter is too old to display a consistent list result: start a new list \
                     without it",
                ),
                Error::Compacted { at, .. } => Status::new(
                    Reason::Expired,
                    format!("The resourceVersion for the provided list is too old: {revision} ({at})"),
                ),
                other => store_failed(other),
            })?;
            after = read.kvs.last().map(|kv| kv.key.clone());
            for kv in &read.kvs {
                let object = self.route.cache.decode(kv).map_err(Status::internal)?;
                let entry: Entry = self.route.cache.entry_of(object);
                if !filter.matches(&entry) {
                    continue;
                }
                if list.items.len() == limit {
                    let listed = page.map_or(0, |page| page.listed).saturating_add(limit as u64);
                    list.continue_token = self.token(&list, listed);
                    return Ok(list);
                }
                list.items.push(entry.object);
            }
            if !read.more {
                return Ok(list);
            }
        }
    }
}
