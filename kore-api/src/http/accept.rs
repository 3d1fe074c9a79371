//! Content negotiation: in which format and shape a client wants its answer.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::codec::Format;
use crate::error::{Reason, Status};

/// What an answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// JSON or YAML; protobuf for who accepts nothing else.
    pub(super) format: Format,
    /// The whole, or less of it.
    pub(super) shape: Shape,
}

/// How much of each object an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The objects.
    Whole,
    /// A `Table` (`as=Table`).
    Table,
    /// Their metadata (`as=PartialObjectMetadata`, `as=PartialObjectMetadataList`).
    Metadata,
}

/// One range of an `Accept` header.
#[derive(Debug, PartialEq)]
struct Range<'a> {
    /// `application/json`, in lower case.
    essence: String,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Range<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn format(&self) -> Option<Format> {
        match &*self.essence {
            "application/json" | "*/*" | "application/*" => Some(Format::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Format::Yaml),
            _ => None,
        }
    }

    /// `None`: a shape that the server does not have.
    fn shape(&self) -> Option<Shape> {
        let ours = self.parameter("g") == Some("meta.k8s.io") && self.parameter("v") == Some("v1");
        match self.parameter("as") {
            None => Some(Shape::Whole),
            Some("Table") if ours => Some(Shape::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if ours => Some(Shape::Metadata),
            Some(_) => None,
        }
    }
}

/// The ranges that the client accepts, best first; an absent header accepts anything.
fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut ranges: Vec<Range<'_>> = lines
        .flat_map(|line| line.split(','))
        .filter(|range| !range.trim().is_empty())
        .map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters.iter().find(|(name, _)| *name == "q");
            let quality = quality.map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
            Range { essence, parameters, quality }
        })
        .filter(|range| range.quality > 0.0)
        .collect();
    // Stable: of equals, the first one.
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    if ranges.is_empty() && !headers.contains_key(ACCEPT) {
        ranges.push(Range { essence: "*/*".into(), parameters: Vec::new(), quality: 1.0 });
    }
    ranges
}

/// The first format and shape among those accepted that the server has. Protobuf is for who accepts nothing else: objects are
/// kept as JSON, and sent as they are.
///
/// # Errors
/// 406 when there is none.
pub(super) fn negotiate(headers: &HeaderMap, streams: bool) -> Result<Accepted, Status> {
    let mut lines = headers.get_all(ACCEPT).iter();
    // What most programs say.
    if let (None | Some(b"application/json" | b"*/*"), None) = (lines.next().map(|line| line.as_bytes()), lines.next())
    {
        return Ok(Accepted { format: Format::Json, shape: Shape::Whole });
    }
    let offered = |range: &Range<'_>| {
        let accepted = Accepted { format: range.format()?, shape: range.shape()? };
        // A stream of YAML documents is nothing that clients read.
        (!streams || accepted.format == Format::Json).then_some(accepted)
    };
    let protobuf = |range: &Range<'_>| {
        let asked = range.essence == "application/vnd.kubernetes.protobuf" && range.shape() == Some(Shape::Whole);
        (asked && !streams).then_some(Accepted { format: Format::Protobuf, shape: Shape::Whole })
    };
    let ranges = ranges(headers);
    ranges.iter().find_map(offered).or_else(|| ranges.iter().find_map(protobuf)).ok_or_else(|| {
        let streams = if streams { "application/json" } else { "application/json, application/yaml" };
        let message = format!("only the following media types are accepted: {streams}");
        Status::new(Reason::NotAcceptable, message)
    })
}

/// Whether the client prefers one of these media types to JSON.
pub(super) fn first_of(headers: &HeaderMap, media_types: &[&str]) -> bool {
    let ranges = ranges(headers);
    let is_ours = |range: &&Range<'_>| media_types.contains(&&*range.essence);
    let first = ranges.iter().find(|range| is_ours(range) || range.format() == Some(Format::Json));
    first.as_ref().is_some_and(is_ours)
}

/// Whether the client prefers aggregated discovery (`v2`, KEP-3352) to the plain form.
pub(super) fn prefers_aggregated_discovery(headers: &HeaderMap) -> bool {
    let form = |range: &Range<'_>| {
        let json = range.format() == Some(Format::Json);
        match (range.parameter("as"), range.parameter("g"), range.parameter("v")) {
            (None, ..) if json => Some(false),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) if json => Some(true),
            _ => None,
        }
    };
    ranges(headers).iter().find_map(form).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(accept: Option<&str>) -> HeaderMap {
        accept.map(|accept| (ACCEPT, HeaderValue::from_str(accept).unwrap())).into_iter().collect()
    }

    #[test]
    fn the_first_range_that_can_be_served_is() {
        let json = |shape| Some((Format::Json, shape));
        let yaml = Some((Format::Yaml, Shape::Whole));
        for (accept, expected) in [
            (None, json(Shape::Whole)),
            (Some("*/*"), json(Shape::Whole)),
            (Some("application/json"), json(Shape::Whole)),
            (Some("application/yaml"), yaml),
            (Some("Application/YAML; charset=utf-8"), yaml),
            (Some("application/json;q=0.5, application/yaml"), yaml),
            (Some("application/vnd.kubernetes.protobuf,application/json"), json(Shape::Whole)),
            (
                Some(
                    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                ),
                json(Shape::Table),
            ),
            (Some("application/json;as=Table;v=v9;g=meta.k8s.io,application/json"), json(Shape::Whole)),
            (Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), json(Shape::Metadata)),
            (Some("application/json;as=Nonsense;g=meta.k8s.io;v=v1"), None),
            (Some("application/vnd.kubernetes.protobuf"), Some((Format::Protobuf, Shape::Whole))),
            (Some("text/html"), None),
            (Some(""), None),
            (Some("application/json;q=0"), None),
        ] {
            let accepted = negotiate(&headers(accept), false);
            let accepted = accepted.map(|accepted| (accepted.format, accepted.shape));
            assert_eq!(accepted.clone().ok(), expected, "{accept:?}");
            if let Err(status) = accepted {
                assert_eq!(status.code, 406);
            }
        }
        for accept in ["application/yaml", "application/vnd.kubernetes.protobuf"] {
            assert!(negotiate(&headers(Some(accept)), true).is_err());
        }
    }

    #[test]
    fn a_media_type_before_json() {
        for (accept, expected) in [
            (None, false),
            (Some("application/json"), false),
            (Some("application/x"), true),
            (Some("application/x, application/json"), true),
            (Some("application/json, application/x"), false),
            (Some("text/html, application/x"), true),
            (Some("application/json;q=0.1, application/X"), true),
        ] {
            assert_eq!(first_of(&headers(accept), &["application/x"]), expected, "{accept:?}");
        }
    }

    #[test]
    fn discovery_in_the_preferred_form() {
        let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let both = format!("{aggregated},application/json");
        let reverse = format!("application/json,{aggregated}");
        for (accept, expected) in
            [(None, false), (Some("application/json"), false), (Some(&*both), true), (Some(&*reverse), false)]
        {
            assert_eq!(prefers_aggregated_discovery(&headers(accept)), expected, "{accept:?}");
        }
    }
}
