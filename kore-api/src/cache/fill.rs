//! Fills the cache of a resource that is defined while the store is followed.

use std::sync::Arc;

use kore_store::{Error, KeyRange, KeyValue, Range, Store};

use super::{ResourceCache, layout};

/// How many objects are listed from the store at a time.
const PAGE: usize = 2048;

/// Fills a cache that [`super::Caches::replace`] has made. The loop that follows the store goes on meanwhile: what it tells the cache of
/// waits there.
///
/// # Errors
/// When the store fails; it may be tried again.
pub(crate) async fn fill(store: &dyn Store, cache: &ResourceCache) -> Result<(), Error> {
    let prefix = layout::resource_prefix(&cache.info().resource);
    loop {
        // The present revision: what is older than this is in the list, and what is younger is told to the cache.
        let revision = store.status().await?.revision;
        let mut listed: Vec<Arc<KeyValue>> = Vec::new();
        let mut after = None;
        loop {
            let mut range = Range::new(KeyRange::Prefix(prefix.clone().into())).at(revision).limit(PAGE);
            range.after = after.take();
            let page = store.range(range).await?;
            after = page.kvs.last().map(|kv| kv.key.clone());
            listed.extend(page.kvs);
            if !page.more {
                break;
            }
        }
        if cache.fill(revision, listed.into_iter().map(Arc::unwrap_or_clone)) {
            return Ok(());
        }
    }
}
