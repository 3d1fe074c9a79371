//! The server behind the image name `kore.dev/hello`: a workload that comes with the binary.
//!
//! It binds the pod's own address (`POD_IP`, else what the runtime says: `KORE_POD_IP`), and every answer shows the pod's name (`POD_NAME`), the greeting from the
//! environment (`GREETING`) and the line from the mounted ConfigMap (`/etc/hello/motd`), read anew each time.

use std::env;
use std::io;
use std::path::PathBuf;

use axum::Router;
use axum::routing::get;

use crate::signals::Signals;

/// The image name under which pods ask for this server.
pub(crate) const IMAGE: &str = "kore.dev/hello";
/// The argument that makes the binary this server.
pub(crate) const SUBCOMMAND: &str = "serve-hello";
/// The port unless `PORT` says otherwise.
const PORT: u16 = 8080;

/// Serves until it is told to end (SIGTERM).
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn serve() -> io::Result<()> {
    let address = variable("POD_IP", &variable("KORE_POD_IP", "127.0.0.1"));
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(PORT);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}:{port}: {error}"));
    let listener = tokio::net::TcpListener::bind((address.as_str(), port)).await.map_err(named)?;
    let mut signals = Signals::listen()?;
    println!("serving on {}", listener.local_addr()?);
    let app = Router::new().route("/", get(answer)).route("/healthz", get(|| async { "ok" }));
    axum::serve(listener, app).with_graceful_shutdown(async move { signals.told_to_end().await }).await?;
    println!("told to end");
    Ok(())
}

async fn answer() -> String {
    let (greeting, pod) = (variable("GREETING", "Hello"), variable("POD_NAME", "nobody"));
    let motd = tokio::fs::read_to_string(mounted("/etc/hello").join("motd")).await.unwrap_or_default();
    println!("answering");
    format!("{greeting} from {pod}: {}\n", motd.trim())
}

fn variable(name: &str, otherwise: &str) -> String {
    env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// Where a mount path is found: as written, or below `KORE_ROOT` where the machine allows no mount namespaces.
fn mounted(path: &str) -> PathBuf {
    PathBuf::from(variable("KORE_ROOT", "") + path)
}
