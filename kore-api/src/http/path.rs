//! What a URL path asks for.

use std::borrow::Cow;

use crate::error::Status;

/// What a URL path asks for, before it is known whether there is such a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A resource: `/api/VERSION/…` or `/apis/GROUP/VERSION/…`.
    Resource(ResourcePath),
    /// Anything else, without a slash at the end: `/healthz`, `/apis/apps/v1`.
    Other(String),
}

/// The parts of a resource's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourcePath {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The namespace, if the path names one.
    pub namespace: Option<String>,
    /// The resource, plural.
    pub plural: String,
    /// The object, if the path names one.
    pub name: Option<String>,
    /// The part of the object, if the path names one; what stands behind it is joined with slashes.
    pub subresource: Option<String>,
    /// Whether it is a path of the old form for watches, `/api/v1/watch/…`.
    pub watch: bool,
}

impl Target {
    /// Reads a path. Percent-encoded slashes and segments `.` and `..` are refused, so that what is authorised is what is
    /// looked up (CVE-2022-3162).
    ///
    /// # Errors
    /// 400 for a path that is not percent-encoded UTF-8 or has such segments.
    pub fn parse(path: &str) -> Result<Self, Status> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let segments = trimmed.split('/').skip(1).map(segment).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
        // An empty segment: `//`. Nothing is served there.
        let resource = match parts[..] {
            _ if parts.contains(&"") => None,
            ["api", version, ref rest @ ..] => ResourcePath::parse("", version, rest),
            ["apis", group, version, ref rest @ ..] => ResourcePath::parse(group, version, rest),
            _ => None,
        };
        Ok(resource.map_or_else(|| Self::Other(format!("/{}", parts.join("/"))), Self::Resource))
    }
}

impl ResourcePath {
    fn parse(group: &str, version: &str, rest: &[&str]) -> Option<Self> {
        let (watch, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            rest => (false, rest),
        };
        let (namespace, rest) = match rest {
            // A namespace is itself an object, with these two parts.
            ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let (plural, rest) = rest.split_first()?;
        let (name, rest) = rest.split_first().map_or((None, rest), |(name, rest)| (Some(*name), rest));
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.map(str::to_owned),
            plural: (*plural).to_owned(),
            name: name.map(str::to_owned),
            subresource: (!rest.is_empty()).then(|| rest.join("/")),
            watch,
        })
    }
}

fn segment(text: &str) -> Result<Cow<'_, str>, Status> {
    let decoded = percent_decode(text)
        .ok_or_else(|| Status::bad_request(format!("the path segment {text:?} is not percent-encoded UTF-8")))?;
    if matches!(&*decoded, "." | "..") || decoded.contains(['/', '\\', '\0']) {
        return Err(Status::bad_request(format!("the path segment {text:?} is not allowed")));
    }
    Ok(decoded)
}

/// Undoes percent-encoding (RFC 3986); `None` if it is broken or the result is not UTF-8.
pub(super) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
        } else {
            out.push(byte);
        }
    }
    Some(String::from_utf8(out).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `group/version namespace plural name subresource`, `-` for none, `watch` at the end.
    fn shown(path: &str) -> String {
        match Target::parse(path) {
            Ok(Target::Resource(path)) => {
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".into());
                let watch = if path.watch { " watch" } else { "" };
                let (namespace, name, part) = (or(path.namespace), or(path.name), or(path.subresource));
                format!("{}/{} {namespace} {} {name} {part}{watch}", path.group, path.version, path.plural)
            }
            Ok(Target::Other(path)) => path,
            Err(status) => status.code.to_string(),
        }
    }

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/api/v1/pods", "/v1 - pods - -"),
            ("/api/v1/pods/", "/v1 - pods - -"),
            ("/api/v1/namespaces", "/v1 - namespaces - -"),
            ("/api/v1/namespaces/a", "/v1 - namespaces a -"),
            ("/api/v1/namespaces/a/status", "/v1 - namespaces a status"),
            ("/api/v1/namespaces/a/finalize", "/v1 - namespaces a finalize"),
            ("/api/v1/namespaces/a/pods", "/v1 a pods - -"),
            ("/api/v1/namespaces/a/pods/b", "/v1 a pods b -"),
            ("/api/v1/namespaces/a/pods/b/log", "/v1 a pods b log"),
            ("/api/v1/namespaces/a/pods/b/proxy/x/y", "/v1 a pods b proxy/x/y"),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", "apps/v1 a deployments b scale"),
            ("/api/v1/watch/namespaces/a/pods/b", "/v1 a pods b - watch"),
            ("/api/v1/watch/pods", "/v1 - pods - - watch"),
            ("/api/v1/nodes/system%3Anode", "/v1 - nodes system:node -"),
            ("/", "/"),
            ("/api", "/api"),
            ("/api/v1", "/api/v1"),
            ("/apis/apps/v1/", "/apis/apps/v1"),
            ("/healthz", "/healthz"),
            ("/api//v1/pods", "/api//v1/pods"),
            ("/api/v1/namespaces//pods", "/api/v1/namespaces//pods"),
            ("/api/v1/namespaces/a/../b", "400"),
            ("/api/v1/namespaces/%2e%2e/pods", "400"),
            ("/api/v1/pods/a%2Fb", "400"),
            ("/api/v1/pods/a%2", "400"),
            ("/api/v1/pods/%ff", "400"),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }
}
