//! HTTP requests of probes and hooks: one connection each, bounded, no redirect is followed.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    probe::{connect, port},
    tls,
};

/// The most of an answer that is read, in bytes.
const ANSWER_BYTES: usize = 10 * 1024;

/// A GET as a probe or hook describes it.
pub(super) struct Get {
    tls: bool,
    host: String,
    port: u16,
    request: Request<Full<Bytes>>,
}

impl Get {
    pub(super) fn of(action: &HTTPGetAction, container: &Container, address: IpAddr) -> Result<Get, String> {
        let port = port(&action.port, container)?;
        let host = action.host.clone().filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| address.to_string());
        let path = action.path.as_deref().filter(|path| !path.is_empty());
        let path = path.unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("{slash}{path}"))
            .header(header::USER_AGENT, "kube-probe/1.36")
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close")
            .body(Full::default())
            .map_err(|error| format!("path {path:?}: {error}"))?;
        let headers = request.headers_mut();
        for one in action.http_headers.iter().flatten() {
            let name = HeaderName::try_from(&one.name).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(&one.value).map_err(|error| error.to_string())?;
            headers.insert(name, value);
        }
        if !headers.contains_key(header::HOST) {
            let value = HeaderValue::try_from(format!("{host}:{port}"));
            headers.insert(header::HOST, value.map_err(|error| error.to_string())?);
        }
        Ok(Get { tls: action.scheme.as_deref() == Some("HTTPS"), host, port, request })
    }

    /// Sends it; any answer from 200 to 399 is good.
    pub(super) async fn send(self) -> Result<(), String> {
        let scheme = if self.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}:{}{}", self.host, self.port, self.request.uri());
        let fail = |error: String| format!("Get \"{url}\": {error}");
        let stream = connect(&self.host, self.port).await.map_err(fail)?;
        let answer = match self.tls {
            true => exchange(tls::connect(&self.host, stream).await.map_err(fail)?, self.request).await,
            false => exchange(stream, self.request).await,
        };
        match answer.map_err(|error| fail(error.to_string()))?.as_u16() {
            200..400 => Ok(()),
            code => Err(format!("HTTP probe failed with statuscode: {code}")),
        }
    }
}

/// Sends a request on a connection of its own, and returns the status of its answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut exchange = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The end of the connection may be how the answer came.
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error),
        },
    };
    Ok(answer?.status())
}

/// `grpc.health.v1.Health/Check`, which must answer `SERVING`.
pub(super) async fn grpc_health(address: IpAddr, port: i32, service: &str) -> Result<(), String> {
    let port = u16::try_from(port).map_err(|_| format!("port {port}"))?;
    let stream = connect(&address.to_string(), port).await?;
    let text = |error: hyper::Error| format!("grpc {address}:{port}: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}:{port}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(health_request(service)))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("grpc {address}:{port}: status {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| format!("grpc {address}:{port}: {error}"))?;
        Ok(body.to_bytes())
    };
    let mut exchange = std::pin::pin!(exchange);
    let body = tokio::select! {
        biased;
        body = &mut exchange => body?,
        ended = connection => match ended {
            Ok(()) => exchange.await?,
            Err(error) => return Err(text(error)),
        },
    };
    // Five bytes of frame, then the message: field 1, a varint, 1 is SERVING.
    match body.get(5..) {
        Some([0x08, 0x01, ..]) => Ok(()),
        _ => Err(format!("service unhealthy (responded with {:?})", body.get(6).copied())),
    }
}

/// A message whose field 1 is the service's name, in its frame.
fn health_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put(message);
    framed.freeze()
}
