//! Versions: what is stored as one is shown as another.

use futures::StreamExt;
use serde_json::Value;

use super::core::Call;
use super::routes::Route;
use crate::error::Status;
use crate::object::Object;
use crate::request::{WatchEvent, WatchStream};

impl Route {
    /// Whether an object has to be converted to be shown.
    fn is_shown(&self, object: &Object) -> bool {
        self.info.versions.is_none() || object.api_version() == self.resource().api_version()
    }

    /// Objects as this version shows them, in the same order.
    pub(super) async fn show_all(&self, mut objects: Vec<Object>) -> Result<Vec<Object>, Status> {
        let Some(versions) = &self.info.versions else {
            return Ok(objects);
        };
        let places: Vec<usize> = (0..objects.len()).filter(|at| !self.is_shown(&objects[*at])).collect();
        if places.is_empty() {
            return Ok(objects);
        }
        let value = |at: &usize| serde_json::from_slice(objects[*at].body()).map_err(Status::internal);
        let values = places.iter().map(value).collect::<Result<Vec<Value>, Status>>()?;
        let converted = versions.convert(values, &self.resource().api_version()).await?;
        for (at, mut value) in places.into_iter().zip(converted) {
            let before = &objects[at];
            self.info.settle(&mut value);
            let shown = Object::with_managed_fields(value, before.managed_fields().cloned(), before.revision());
            objects[at] = shown.map_err(Status::internal)?;
        }
        Ok(objects)
    }

    pub(super) async fn show(&self, object: Object) -> Result<Object, Status> {
        if self.is_shown(&object) {
            return Ok(object);
        }
        let mut shown = self.show_all(vec![object]).await?;
        shown.pop().ok_or_else(|| Status::internal("a conversion lost an object"))
    }

    async fn show_event(&self, event: WatchEvent) -> Result<WatchEvent, Status> {
        Ok(match event {
            WatchEvent::Added(object) => WatchEvent::Added(self.show(object).await?),
            WatchEvent::Modified(object) => WatchEvent::Modified(self.show(object).await?),
            WatchEvent::Deleted(object) => WatchEvent::Deleted(self.show(object).await?),
            bookmark => bookmark,
        })
    }
}

impl Call<'_> {
    /// An object of this version as it is stored.
    pub(super) async fn stored(&self, object: Value) -> Result<Value, Status> {
        let Some(versions) = &self.route.info.versions else {
            return Ok(object);
        };
        let to = versions.storage.api_version();
        if object["apiVersion"] == *to {
            return Ok(object);
        }
        let mut stored = versions.convert(vec![object], &to).await?;
        let mut stored = stored.pop().ok_or_else(|| Status::internal("a conversion lost an object"))?;
        self.route.cache.info().settle(&mut stored);
        Ok(stored)
    }

    /// A watch's events as this version shows them.
    pub(super) fn show_events(&self, events: WatchStream) -> WatchStream {
        if self.route.info.versions.is_none() {
            return events;
        }
        let route = self.route.clone();
        let shown = events.then(move |event| {
            let route = route.clone();
            async move { Ok(route.show_event(event?).await?) }
        });
        shown.boxed()
    }
}
