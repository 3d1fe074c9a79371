//! Large answers are compressed for clients that take gzip, part by part as the connection takes them.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, Response};

use super::Body;

/// Smaller answers are sent as they are; upstream's figure.
const GZIP_BYTES_MIN: usize = 128 * 1024;

/// Whether the client takes gzip (RFC 9110, section 12.5.3).
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.trim().parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The response compressed, if it is large enough to be worth it.
pub(super) fn compress(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Response::from_parts(head, body);
    }
    let parts = match body.into_parts_of(GZIP_BYTES_MIN) {
        Ok(parts) => parts,
        Err(body) => return Response::from_parts(head, body),
    };
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(
        head,
        Body::parts(Gzip { parts, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }),
    )
}

/// Parts of a body, compressed.
struct Gzip {
    parts: Box<dyn Iterator<Item = Bytes> + Send>,
    /// `None`: all has been written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Iterator for Gzip {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let encoder = self.encoder.as_mut()?;
            match self.parts.next() {
                Some(part) => {
                    // A Vec takes whatever is written to it.
                    let _ = encoder.write_all(&part);
                    let ready = std::mem::take(encoder.get_mut());
                    if !ready.is_empty() {
                        return Some(ready.into());
                    }
                }
                None => return self.encoder.take()?.finish().ok().map(Bytes::from),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn who_takes_gzip() {
        for (value, expected) in
            [("gzip", true), ("deflate, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("", false)]
        {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(is_accepted(&headers), expected, "{value}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[test]
    fn what_is_large_is_compressed_and_nothing_is_lost() {
        let text: Vec<u8> = (0..400_000_u32).map(|at| (at % 251) as u8).collect();
        let joined = || {
            let items = (0..60_000_u32).map(|at| at.to_string());
            Body::joined(b"[".to_vec(), items, |out, item| out.extend_from_slice(item.as_bytes()), b"]")
        };
        for body in
            [|| Body::from(Bytes::from((0..400_000_u32).map(|at| (at % 251) as u8).collect::<Vec<u8>>())), joined]
        {
            let plain = body().into_bytes().ok().unwrap();
            let response = compress(Response::new(body()));
            assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
            let compressed = response.into_body().into_bytes().ok().unwrap();
            assert!(compressed.len() < plain.len());
            let mut restored = Vec::new();
            flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut restored).unwrap();
            assert_eq!(restored, plain);
        }
        let small = compress(Response::new(Body::from(Bytes::from(text[..1000].to_vec()))));
        assert!(small.headers().get(CONTENT_ENCODING).is_none());
    }
}
