//! Watch: what a request asks for, as a start and a filter.

use std::time::Duration;

use super::core::Call;
use super::read::{Freshness, revision_of};
use crate::cache::{Filter, Start, Watcher};
use crate::error::Status;
use crate::request::{Options, WatchStream};
use futures::StreamExt;

impl Call<'_> {
    pub(super) async fn watch(&self, name: Option<&str>) -> Result<WatchStream, Status> {
        let options = self.options;
        let revision = revision_of(options)?;
        if options.send_initial_events && options.resource_version_match.as_deref() != Some("NotOlderThan") {
            return Err(Status::bad_request(
                "sendInitialEvents: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if options.resource_version_match.as_deref().is_some_and(|rule| rule != "NotOlderThan") {
            return Err(Status::bad_request("resourceVersionMatch: Forbidden: only NotOlderThan is allowed for watch"));
        }
        let filter = self.filter(name)?;
        let bookmark = options.send_initial_events && options.allow_watch_bookmarks;
        let (freshness, start) = match (revision, options.send_initial_events) {
            (None, _) => (Freshness::Newest, Start::Objects { bookmark }),
            (Some(0), _) => (Freshness::Any, Start::Objects { bookmark }),
            (Some(revision), true) => (Freshness::NotOlderThan(revision), Start::Objects { bookmark }),
            (Some(revision), false) => (Freshness::NotOlderThan(revision), Start::After(revision)),
        };
        let watcher = async {
            self.wait_for(freshness).await?;
            Watcher::new(
                self.core.caches.clone(),
                self.route.cache.clone(),
                filter,
                start,
                options.allow_watch_bookmarks,
                options.timeout_seconds.map(Duration::from_secs),
            )
        };
        // A request that was in order is answered with a watch, and what keeps that from starting is its one event, as
        // upstream has it: it is there that clients look for an expired revision.
        Ok(match watcher.await {
            Ok(watcher) => self.show_events(watcher.into_stream()),
            Err(status) => futures::stream::iter([Err(status.into())]).boxed(),
        })
    }

    fn filter(&self, name: Option<&str>) -> Result<Filter, Status> {
        let namespace = self.namespace.cloned();
        let Some(name) = name else {
            return Filter::new(&self.route.info, self.route.cache.info(), namespace, self.options);
        };
        // A watch of one object by its path.
        let mut fields = self.options.field_selector.clone().unwrap_or_default();
        if !fields.is_empty() {
            fields.push(',');
        }
        fields.push_str("metadata.name=");
        fields.push_str(name);
        let options = Options { field_selector: Some(fields), ..self.options.clone() };
        Filter::new(&self.route.info, self.route.cache.info(), namespace, &options)
    }
}
