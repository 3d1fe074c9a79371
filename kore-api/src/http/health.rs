//! Whether the server is alive and ready, and which one it is.

use std::fmt::Write as _;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::respond::with_type;
use super::{Body, Core, Query};

/// The version of the Kubernetes API that the server speaks, as major and minor.
const API_VERSION: (&str, &str) = ("1", "37");

/// `/version`: clients read the version of the API from it; `gitVersion` is a semantic version.
pub(super) fn version() -> Value {
    let (major, minor) = API_VERSION;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0+kore"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform_arch()),
    })
}

/// As Go names it.
fn platform_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/healthz`, `/livez` and `/readyz`: `ok`, or with `?verbose` every single check.
pub(super) fn answer(core: &dyn Core, probe: &str, query: &Query) -> Response<Body> {
    let ready = probe != "readyz" || core.is_ready();
    let checks = [("ping", true), ("storage", ready)];
    let mut text = String::new();
    for (check, passed) in checks {
        let line = if passed { format!("[+]{check} ok") } else { format!("[-]{check} failed: not ready yet") };
        writeln!(text, "{line}").expect("writing to a string does not fail");
    }
    writeln!(text, "{probe} check {}", if ready { "passed" } else { "failed" }).expect("as above");
    let verbose = query.get("verbose").is_some();
    let mut response = match (ready, verbose) {
        (true, false) => with_type("text/plain; charset=utf-8", "ok"),
        _ => with_type("text/plain; charset=utf-8", text),
    };
    if !ready {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}
