//! The body of a response.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};

use crate::error::Error;

/// How many bytes a part of a long body has at least before it is handed on.
const PART_BYTES: usize = 64 * 1024;

/// The body of a response: whole, written part by part as the connection takes it, or a stream.
///
/// An `Err` breaks the connection off: the client must not take what it got for the whole.
pub struct Body(Kind);

enum Kind {
    Whole(Bytes),
    Parts(Box<dyn Iterator<Item = Bytes> + Send>),
    Stream(BoxStream<'static, Result<Bytes, Error>>),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self(Kind::Whole(Bytes::new()))
    }

    /// A body that arrives as it is made.
    pub fn stream(stream: BoxStream<'static, Result<Bytes, Error>>) -> Self {
        Self(Kind::Stream(stream))
    }

    /// `head`, the items with commas in between, and `tail`. Items are written when the connection takes them, so that a
    /// list of any length needs memory for one part only.
    pub(crate) fn joined<T: Send>(
        head: Vec<u8>,
        items: impl Iterator<Item = T> + Send + 'static,
        mut write: impl FnMut(&mut Vec<u8>, T) + Send + 'static,
        tail: &'static [u8],
    ) -> Self {
        let mut items = items.peekable();
        let mut next = Some(head);
        let mut parts = std::iter::from_fn(move || {
            let mut part = next.take()?;
            while let Some(item) = items.next() {
                write(&mut part, item);
                if items.peek().is_some() {
                    part.push(b',');
                    if part.len() >= PART_BYTES {
                        next = Some(Vec::with_capacity(PART_BYTES * 5 / 4));
                        return Some(Bytes::from(part));
                    }
                }
            }
            part.extend_from_slice(tail);
            Some(Bytes::from(part))
        })
        .peekable();
        let first = parts.next().unwrap_or_default();
        if parts.peek().is_none() {
            return Self(Kind::Whole(first));
        }
        Self(Kind::Parts(Box::new(std::iter::once(first).chain(parts))))
    }

    /// A body that is written part by part.
    pub(super) fn parts(parts: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self(Kind::Parts(Box::new(parts)))
    }

    /// The parts of a body that is no stream, and has so many bytes or more; one of several parts is long.
    pub(super) fn into_parts_of(self, bytes_min: usize) -> Result<Box<dyn Iterator<Item = Bytes> + Send>, Self> {
        match self.0 {
            Kind::Whole(bytes) if bytes.len() >= bytes_min => Ok(Box::new(std::iter::once(bytes))),
            Kind::Parts(parts) => Ok(parts),
            Kind::Whole(_) | Kind::Stream(_) => Err(self),
        }
    }

    /// All of it, for a body that is no stream.
    pub(crate) fn into_bytes(self) -> Result<Bytes, Self> {
        match self.0 {
            Kind::Whole(bytes) => Ok(bytes),
            Kind::Parts(parts) => Ok(parts
                .fold(Vec::new(), |mut all, part| {
                    all.extend_from_slice(&part);
                    all
                })
                .into()),
            Kind::Stream(_) => Err(self),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Kind::Whole(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => None,
            Kind::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Kind::Parts(parts) => parts.next().map(Ok),
            Kind::Stream(stream) => match Pin::new(stream).poll_next(context) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(next.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Parts(_) | Kind::Stream(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Parts(_) => f.write_str("Body(parts)"),
            Kind::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn joined(count: usize, size: usize) -> Body {
        let items = std::iter::repeat_n("x".repeat(size), count);
        Body::joined(b"[".to_vec(), items, |out, item| out.extend_from_slice(item.as_bytes()), b"]")
    }

    #[tokio::test]
    async fn a_joined_body_is_the_same_in_one_part_and_in_many() {
        for (count, size) in [(0, 0), (1, 10), (3, 10), (5, PART_BYTES), (100, 5_000)] {
            let expected = format!("[{}]", vec!["x".repeat(size); count].join(","));
            let sent = joined(count, size).collect().await.unwrap().to_bytes();
            assert_eq!(sent, expected);
            assert_eq!(joined(count, size).into_bytes().unwrap(), expected);
            let known = http_body::Body::size_hint(&joined(count, size)).exact();
            assert_eq!(known.is_some(), expected.len() <= PART_BYTES, "{count} of {size}");
        }
    }
}
