//! The `log` subresource of pods: what the pod's node says.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use serde_json::Value;
use tower::ServiceExt;

use super::core::Call;
use super::nodes::{NodeBody, NodeService};
use crate::error::{Error, FieldError, Reason, Status};
use crate::request::Content;

/// So many bytes of what a node says instead of a log are read.
const PROBLEM_MAX_BYTES: usize = 64 * 1024;

impl Call<'_> {
    pub(super) async fn log(&self, name: &str) -> Result<Content, Status> {
        let pod = self.get(name).await?.to_value();
        self.check_log_options(name)?;
        let container = self.container(&pod, name)?;
        let waiting = |why: &str| {
            Status::bad_request(format!("container {container:?} in pod {name:?} is waiting to start: {why}"))
        };
        let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
        let node = node.ok_or_else(|| waiting("the pod is not assigned to a node"))?;
        let unreachable = |problem: &dyn std::fmt::Display| {
            Status::new(Reason::ServiceUnavailable, format!("node {node:?} cannot be reached: {problem}"))
        };
        let service = self.core.nodes.get(node).ok_or_else(|| unreachable(&"it is not connected"))?;
        let namespace = self.namespace.map(|namespace| &**namespace).unwrap_or_default();
        let body: NodeBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = http::Request::get(format!("/containerLogs/{namespace}/{name}/{container}{}", self.query()))
            .body(body)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let response = send(service, request).await.map_err(|error| unreachable(&error))?;
        let (status, body) = (response.status(), response.into_body());
        if status == http::StatusCode::NOT_FOUND {
            return Err(waiting("its node does not know it yet"));
        }
        if !status.is_success() {
            return Err(problem(status, body).await);
        }
        let broken = {
            let target = format!("the log of container {container:?} in pod {name:?}");
            move |error: tower::BoxError| Error::Transport { target: target.clone(), problem: error.to_string() }
        };
        Ok(Content::Bytes(body.into_data_stream().map(move |chunk| chunk.map_err(&broken)).boxed()))
    }

    fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.extra.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn check_log_options(&self, name: &str) -> Result<(), Status> {
        let mut errors = Vec::new();
        for (option, least) in [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)] {
            match self.option(option).map(|text| (text, text.parse::<i64>())) {
                Some((text, Err(_))) => errors.push(FieldError::invalid(option, text, "must be a number")),
                Some((_, Ok(number))) if number < least => {
                    let problem = format!("must be greater than or equal to {least}");
                    errors.push(FieldError::invalid(option, number, problem));
                }
                _ => {}
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid(self.resource(), name, &errors)) }
    }

    /// The container whose log is meant.
    fn container(&self, pod: &Value, name: &str) -> Result<String, Status> {
        let names = |field: &str| -> Vec<&str> {
            let listed = pod["spec"][field].as_array().into_iter().flatten();
            listed.filter_map(|container| container["name"].as_str()).collect()
        };
        let (main, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
        match (self.option("container"), &main[..]) {
            (Some(wanted), _) if main.iter().chain(&init).chain(&ephemeral).any(|other| *other == wanted) => {
                Ok(wanted.to_owned())
            }
            (Some(wanted), _) => Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}"))),
            (None, [only]) => Ok((*only).to_owned()),
            (None, _) => {
                let mut problem =
                    format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "));
                if !init.is_empty() {
                    problem.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
                }
                if !ephemeral.is_empty() {
                    problem.push_str(&format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" ")));
                }
                Err(Status::bad_request(problem))
            }
        }
    }

    /// The options as a query, as they came; which container is meant stands in the path.
    fn query(&self) -> String {
        let mut query = String::new();
        for (key, value) in self.options.extra.iter().filter(|(key, _)| key != "container") {
            query.push(if query.is_empty() { '?' } else { '&' });
            encode(&mut query, key);
            query.push('=');
            encode(&mut query, value);
        }
        query
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986).
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// What a node says instead of a log: a `Status`, or a text.
async fn problem(status: http::StatusCode, body: NodeBody) -> Status {
    let text = match read(body).await {
        Ok(text) => text,
        Err(problem) => return Status::internal(format!("the node answered {status}: {problem}")),
    };
    if let Ok(said) = serde_json::from_slice::<Value>(&text)
        && said["kind"] == "Status"
        && let Ok(status) = serde_json::from_value(said)
    {
        return status;
    }
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let reason = match status.as_u16() {
        400 => Reason::BadRequest,
        403 => Reason::Forbidden,
        503 => Reason::ServiceUnavailable,
        _ => Reason::InternalError,
    };
    Status::new(reason, text)
}

// Boxed, since the compiler cannot see that what is behind these boxes is sendable for every lifetime of their errors.
fn send(
    service: NodeService,
    request: http::Request<NodeBody>,
) -> BoxFuture<'static, Result<http::Response<NodeBody>, String>> {
    service.oneshot(request).map_err(|error| error.to_string()).boxed()
}

fn read(body: NodeBody) -> BoxFuture<'static, Result<Bytes, String>> {
    let collected = Limited::new(body, PROBLEM_MAX_BYTES).collect();
    collected.map_ok(Collected::to_bytes).map_err(|error| error.to_string()).boxed()
}
