//! Old etcd clients, and gRPC clients of sockets in the file system, state as the authority of their calls what is none:
//! `http://127.0.0.1:2379`, `#initial=[127.0.0.1:2379]`, a path. Nothing depends on it here, but HTTP/2 as it is
//! implemented below refuses such calls. So it is replaced on its way in, by as many letters as it was long: what the
//! client remembers of its headers (HPACK's dynamic table) stays what the server remembers.
//!
//! A connection whose first call states a proper authority is not looked at any further.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 client says first.
const PREFACE: usize = 24;

/// The head of a frame: three bytes of length, then type and flags, then the stream.
const FRAME_HEAD: usize = 9;

/// The largest frame that a client may send.
const FRAME_MAX: usize = 16 << 10;

/// Bytes that are read at a time.
const READ: usize = 8 << 10;

/// A connection on which calls may state any authority.
pub(super) struct AnyAuthority<IO> {
    inner: IO,
    /// What has been read and not been looked at.
    raw: BytesMut,
    /// What has been looked at.
    seen: BytesMut,
    /// How much of what comes is of no interest.
    skip: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No call has been seen.
    First,
    /// The first call had to be changed, and so will others.
    Changing,
    /// There is nothing to change.
    Plain,
}

impl<IO> AnyAuthority<IO> {
    pub(super) fn new(inner: IO) -> AnyAuthority<IO> {
        let (raw, seen) = (BytesMut::new(), BytesMut::new());
        AnyAuthority { inner, raw, seen, skip: PREFACE, state: State::First }
    }

    /// Looks at what has been read, as far as it is complete.
    fn look(&mut self) {
        while !self.raw.is_empty() && self.state != State::Plain {
            if self.skip > 0 {
                let skipped = self.raw.split_to(self.skip.min(self.raw.len()));
                self.skip -= skipped.len();
                self.seen.unsplit(skipped);
                continue;
            }
            if self.raw.len() < FRAME_HEAD {
                return;
            }
            let length = (&self.raw[..4]).get_u32() as usize >> 8;
            let (kind, flags) = (self.raw[3], self.raw[4]);
            const HEADERS: u8 = 1;
            const END_HEADERS: u8 = 4;
            if kind != HEADERS || length > FRAME_MAX {
                self.skip = FRAME_HEAD + length;
                continue;
            }
            if self.raw.len() < FRAME_HEAD + length {
                return;
            }
            // Headers that go over several frames are longer than any that need to be changed.
            let changed = match flags & END_HEADERS {
                0 => None,
                _ => changed(&self.raw[FRAME_HEAD..FRAME_HEAD + length], flags),
            };
            match changed {
                Some(changed) => {
                    self.state = State::Changing;
                    self.seen.put_uint(changed.len() as u64, 3);
                    self.seen.put_slice(&self.raw[3..FRAME_HEAD]);
                    self.seen.put_slice(&changed);
                    self.raw.advance(FRAME_HEAD + length);
                }
                None => {
                    self.skip = FRAME_HEAD + length;
                    if self.state == State::First {
                        self.state = State::Plain;
                    }
                }
            }
        }
        if self.state == State::Plain {
            self.seen.unsplit(self.raw.split());
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for AnyAuthority<IO> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.seen.is_empty() {
                let length = self.seen.len().min(into.remaining());
                into.put_slice(&self.seen.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if self.state == State::Plain {
                return Pin::new(&mut self.inner).poll_read(context, into);
            }
            let mut read = [0; READ];
            let mut read = ReadBuf::new(&mut read);
            ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // What was not complete never will be.
                self.state = State::Plain;
            }
            self.raw.extend_from_slice(read.filled());
            self.look();
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for AnyAuthority<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The headers of a call with another authority; None: they are as they must be, or make no sense.
fn changed(payload: &[u8], flags: u8) -> Option<Vec<u8>> {
    const PADDED: u8 = 8;
    const PRIORITY: u8 = 32;
    let (mut begin, mut end) = (0, payload.len());
    if flags & PADDED != 0 {
        begin = 1;
        end = end.checked_sub(usize::from(*payload.first()?))?;
    }
    if flags & PRIORITY != 0 {
        begin += 5;
    }
    let mut rest = payload.get(begin..end)?;
    while !rest.is_empty() {
        if let Some(authority) = field(&mut rest)? {
            let length = authority.literal().len();
            let stated = authority.text()?;
            if http::uri::Authority::try_from(&stated[..]).is_ok() {
                return None;
            }
            let at = end - rest.len();
            let mut changed = payload[..at - length].to_vec();
            put_length(&mut changed, stated.len());
            changed.resize(changed.len() + stated.len(), b'x');
            changed.extend_from_slice(&payload[at..]);
            return (changed.len() <= FRAME_MAX).then_some(changed);
        }
    }
    None
}

/// A string of HPACK (RFC 7541, 5.2), as it is written.
struct Text<'a> {
    literal: &'a [u8],
    body: &'a [u8],
}

impl<'a> Text<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Text<'a>> {
        let whole = *rest;
        let length = number(rest, 7)?;
        let (body, behind) = rest.split_at_checked(length)?;
        *rest = behind;
        Some(Text { literal: &whole[..whole.len() - behind.len()], body })
    }

    fn literal(&self) -> &[u8] {
        self.literal
    }

    fn text(&self) -> Option<Vec<u8>> {
        match self.literal[0] & 0x80 {
            0 => Some(self.body.to_vec()),
            _ => huffman(self.body),
        }
    }
}

/// The next header field (RFC 7541, 6): its value, if it is an authority that is written out.
fn field<'a>(rest: &mut &'a [u8]) -> Option<Option<Text<'a>>> {
    const AUTHORITY: usize = 1;
    let name = match *rest.first()? {
        indexed if indexed & 0x80 != 0 => {
            number(rest, 7)?;
            return Some(None);
        }
        size if size & 0xe0 == 0x20 => {
            number(rest, 5)?;
            return Some(None);
        }
        remembered if remembered & 0x40 != 0 => number(rest, 6)?,
        _ => number(rest, 4)?,
    };
    if name == 0 {
        Text::take(rest)?;
    }
    let value = Text::take(rest)?;
    Some((name == AUTHORITY).then_some(value))
}

/// A number of HPACK (RFC 7541, 5.1), in the last so many bits of a byte and those behind it.
fn number(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let most = (1 << bits) - 1;
    let mut number = usize::from(*rest.split_off_first()?) & most;
    if number == most {
        for shift in [0, 7, 14] {
            let byte = *rest.split_off_first()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        return None;
    }
    Some(number)
}

/// The length of a string that is not compressed.
fn put_length(into: &mut Vec<u8>, length: usize) {
    let Some(mut more) = length.checked_sub(0x7f) else {
        return into.push(length as u8);
    };
    into.push(0x7f);
    while more >= 0x80 {
        into.push(more as u8 | 0x80);
        more >>= 7;
    }
    into.push(more as u8);
}

/// HPACK's Huffman code (RFC 7541, appendix B), which is canonical: the characters with codes of each length, in the order
/// of their codes. Longer ones are no part of an authority.
const CODES: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

fn huffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let (mut code, mut length) = (0_u32, 0);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if let Some(character) = character(code, length) {
            text.push(character);
            (code, length) = (0, 0);
        } else if length > 15 {
            return None;
        }
    }
    // What is left are ones up to the end of the byte.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

fn character(code: u32, length: u32) -> Option<u8> {
    let (mut first, mut last_length) = (0, 0);
    for (of_length, characters) in CODES {
        first <<= of_length - last_length;
        if of_length == length {
            return characters.get(code.checked_sub(first)? as usize).copied();
        }
        first += characters.len() as u32;
        last_length = of_length;
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn the_code_is_that_of_the_rfc() {
        // RFC 7541, C.4.1 and C.6.1.
        let example = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(huffman(&example).unwrap(), b"www.example.com");
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82,
            0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(huffman(&date).unwrap(), b"Mon, 21 Oct 2013 20:13:21 GMT");
        assert_eq!(huffman(&[0xff; 4]), None);
        assert_eq!(huffman(&[0]), None, "zeros are no padding");
    }

    /// What comes out of a connection on which this comes in, byte by byte.
    async fn through(bytes: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(1);
        let mut server = AnyAuthority::new(server);
        let mut read = Vec::new();
        let write = async {
            client.write_all(bytes).await.unwrap();
            drop(client);
        };
        let (_, end) = tokio::join!(write, server.read_to_end(&mut read));
        end.unwrap();
        read
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    #[tokio::test]
    async fn only_what_is_no_authority_is_changed() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let settings = frame(4, 0, &[0, 3, 0, 0, 0, 9]);
        // :method POST, a size update, :authority written out and remembered, a header with a name of its own.
        let headers = |authority: &[u8]| {
            let mut block = vec![0x83, 0x20, 0x41];
            put_length(&mut block, authority.len());
            block.extend_from_slice(authority);
            block.extend_from_slice(b"\x40\x01a\x01b");
            block
        };
        let call = |authority: &[u8]| [frame(1, 4, &headers(authority)), frame(0, 1, b"body")].concat();
        let begin = [preface, settings].concat();
        let good = [&begin[..], &call(b"127.0.0.1:2379"), &call(b"http://127.0.0.1:2379")].concat();
        assert_eq!(through(&good).await, good, "the first one was good");
        let bad = [&begin[..], &call(b"http://127.0.0.1:2379"), &call(b"host"), &call(b"#initial=[h]")].concat();
        let changed = [&begin[..], &call(&[b'x'; 21]), &call(b"host"), &call(&[b'x'; 12])].concat();
        assert_eq!(through(&bad).await, changed);
        let long = [b'/'; 300];
        assert_eq!(through(&[&begin[..], &call(&long)].concat()).await, [&begin[..], &call(&[b'x'; 300])].concat());
        // Padded, and with a priority.
        let padded = |authority| {
            let mut payload = vec![2, 0, 0, 0, 0, 7];
            payload.extend_from_slice(&headers(authority));
            payload.extend_from_slice(&[0, 0]);
            [&begin[..], &frame(1, 4 | 8 | 32, &payload)].concat()
        };
        assert_eq!(through(&padded(b"a/b")).await, padded(b"xxx"));
        // What makes no sense goes on as it is.
        for nonsense in [&b"\x41\x7f\xff\xff\xff\xff"[..], b"\x41", b"\x41\x09abc", b"\x00"] {
            let nonsense = [&begin[..], &frame(1, 4, nonsense), &frame(1, 12, b"\xff")].concat();
            assert_eq!(through(&nonsense).await, nonsense);
        }
        assert_eq!(through(&begin[..7]).await, &begin[..7]);
    }
}
