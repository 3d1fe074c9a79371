//! Streams: changes as they come, and bytes.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use http_body::Frame;
use serde::Deserialize;
use serde_json::Value;

use super::decode::object;
use crate::error::{Error, Status};
use crate::object::ResourceType;
use crate::request::{WatchEvent, WatchStream};

/// The longest line: an object is a few MiB at most.
const LINE_BYTES_MAX: usize = 32 << 20;

/// The lines of a watch as events. An error ends it.
pub(super) fn events(
    frames: impl Stream<Item = Result<Frame<Bytes>, String>> + Send + 'static,
    resource: Arc<ResourceType>,
    target: String,
) -> WatchStream {
    let lines = Lines { frames: Box::pin(frames), read: BytesMut::new(), searched: 0 };
    stream::unfold(Some(lines), move |lines| {
        let (resource, target) = (resource.clone(), target.clone());
        async move {
            let mut lines = lines?;
            let line = lines.next().await?;
            let failed = |problem| Error::Transport { target, problem };
            let event = line.map_err(failed).and_then(|line| event(&line, &resource));
            let rest = event.is_ok().then_some(lines);
            Some((event, rest))
        }
    })
    .boxed()
}

/// The bytes of a log.
pub(super) fn bytes(
    frames: impl Stream<Item = Result<Frame<Bytes>, String>> + Send + 'static,
    target: String,
) -> BoxStream<'static, Result<Bytes, Error>> {
    frames
        .filter_map(move |frame| {
            let failed = |problem| Error::Transport { target: target.clone(), problem };
            let data = frame.map(|frame| frame.into_data().ok()).map_err(failed).transpose();
            std::future::ready(data)
        })
        .boxed()
}

type Frames = std::pin::Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, String>> + Send>>;

struct Lines {
    frames: Frames,
    read: BytesMut,
    /// How much of `read` is known to hold no end of a line.
    searched: usize,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            if let Some(end) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(self.searched + end).freeze();
                self.read.advance(1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Some(Ok(line));
            }
            self.searched = self.read.len();
            if self.read.len() > LINE_BYTES_MAX {
                return Some(Err(format!("an event of more than {LINE_BYTES_MAX} bytes")));
            }
            match self.frames.next().await {
                Some(Ok(frame)) => self.read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(problem)) => return Some(Err(problem)),
                None if self.read.trim_ascii().is_empty() => return None,
                None => return Some(Err("the watch broke off within an event".into())),
            }
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

fn event(line: &[u8], resource: &ResourceType) -> Result<WatchEvent, Error> {
    let unreadable = |error: &dyn std::fmt::Display| Status::internal(format!("an event cannot be read: {error}"));
    let Line { kind, object: value } = serde_json::from_slice(line).map_err(|error| unreadable(&error))?;
    match &*kind {
        "ADDED" => Ok(WatchEvent::Added(object(value, resource)?)),
        "MODIFIED" => Ok(WatchEvent::Modified(object(value, resource)?)),
        "DELETED" => Ok(WatchEvent::Deleted(object(value, resource)?)),
        "BOOKMARK" => {
            let metadata = &value["metadata"];
            let revision = metadata["resourceVersion"].as_str().and_then(|revision| revision.parse().ok());
            Ok(WatchEvent::Bookmark {
                revision: revision.ok_or_else(|| unreadable(&"a bookmark without a revision"))?,
                initial_events_end: metadata["annotations"]["k8s.io/initial-events-end"] == "true",
            })
        }
        "ERROR" => {
            let status: Status = serde_json::from_value(value).map_err(|error| unreadable(&error))?;
            Err(status.into())
        }
        other => Err(unreadable(&format!("type {other:?}")).into()),
    }
}
