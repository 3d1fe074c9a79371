//! Changes as lines of JSON, and streams that end when the server does.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kore_store::Revision;
use serde_json::{Value, json};

use super::accept::Shape;
use super::respond::{append, partial};
use super::table::Table;
use crate::error::{Error, Status};
use crate::object::Object;
use crate::registry::ResourceInfo;
use crate::request::{WatchEvent, WatchStream};

/// How many bytes of events that are there at the same time are sent as one.
const BATCH_BYTES: usize = 64 * 1024;

/// In the extensions of a request: says when its connection is to be closed, and streams should end.
#[derive(Clone, Debug)]
pub(super) struct Closing(pub(super) tokio::sync::watch::Receiver<bool>);

impl Closing {
    /// Waits until the connection is to be closed.
    pub(super) async fn asked(mut self) {
        // An error: the listener is gone, and its connections with it.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// The stream, until the connection is to be closed.
pub(super) fn until_closing(
    stream: BoxStream<'static, Result<Bytes, Error>>,
    closing: Option<Closing>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    match closing {
        None => stream,
        Some(closing) => stream.take_until(Box::pin(closing.asked())).boxed(),
    }
}

/// Watch events as JSON, a line each. What is there at the same time is sent at once; nothing waits for more.
pub(super) fn lines(
    events: WatchStream,
    shape: Shape,
    table: Table,
    resource: Arc<ResourceInfo>,
    closing: Option<Closing>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let mut events = events.fuse();
    let mut writer = Writer { shape, table, resource, rows_sent: false };
    let batches = stream::poll_fn(move |context| {
        let mut batch = Vec::new();
        while batch.len() < BATCH_BYTES {
            match events.poll_next_unpin(context) {
                Poll::Ready(Some(event)) => writer.write(&mut batch, event),
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Ready(None) if batch.is_empty() => return Poll::Ready(None),
                Poll::Pending | Poll::Ready(None) => break,
            }
        }
        Poll::Ready(Some(Ok(Bytes::from(batch))))
    });
    until_closing(batches.boxed(), closing)
}

struct Writer {
    shape: Shape,
    table: Table,
    resource: Arc<ResourceInfo>,
    rows_sent: bool,
}

impl Writer {
    fn write(&mut self, out: &mut Vec<u8>, event: Result<WatchEvent, Error>) {
        let mut line = |kind: &str, write: &mut dyn FnMut(&mut Vec<u8>)| {
            out.extend_from_slice(format!(r#"{{"type":"{kind}","object":"#).as_bytes());
            write(out);
            out.extend_from_slice(b"}\n");
        };
        match event {
            Ok(WatchEvent::Added(object)) => line("ADDED", &mut |out| self.object(out, &object)),
            Ok(WatchEvent::Modified(object)) => line("MODIFIED", &mut |out| self.object(out, &object)),
            Ok(WatchEvent::Deleted(object)) => line("DELETED", &mut |out| self.object(out, &object)),
            Ok(WatchEvent::Bookmark { revision, initial_events_end }) => {
                line("BOOKMARK", &mut |out| append(out, &self.bookmark(revision, initial_events_end)));
            }
            Err(error) => {
                let status = error.status().cloned().unwrap_or_else(|| Status::internal(&error));
                line("ERROR", &mut |out| append(out, &status));
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, object: &Object) {
        match self.shape {
            Shape::Whole => object.write_json(out),
            Shape::Metadata => append(out, &partial(&object.to_value())),
            Shape::Table => {
                let columns = !std::mem::replace(&mut self.rows_sent, true);
                append(out, &self.table.of_event(object, columns));
            }
        }
    }

    fn bookmark(&self, revision: Revision, initial_events_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let resource = &self.resource.resource;
        match self.shape {
            Shape::Whole => {
                json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata})
            }
            Shape::Metadata => partial(&json!({"metadata": metadata})),
            Shape::Table => self.table.empty(&metadata),
        }
    }
}
