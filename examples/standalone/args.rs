//! What the command line says.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::settle::NODES_MAX;

/// A whole cluster in one process: durable store, API server, scheduler, controllers, nodes with native processes, service
/// proxy. kubectl, Helm and every other Kubernetes client work with it.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Args {
    /// Apply these manifests, and show how they become available.
    #[arg(long, value_name = "FILE")]
    pub(crate) apply: Vec<PathBuf>,

    /// End as soon as everything applied is available: with 0, or with the reason and 1 after --timeout.
    #[arg(long)]
    pub(crate) once: bool,

    /// How long what is applied may take to become available (90s, 2m).
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// Where the cluster lives; a second start resumes it [default: ~/.kore/standalone].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Where the API is served [default: 127.0.0.1:6443, or a free port if that is taken].
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// How many nodes run in this process, at most 62; 0: a control plane alone. Fewer than before: the pods of the others go elsewhere
    /// [default: as many as at the last start, 1 at the first].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=i64::from(NODES_MAX)))]
    pub(crate) nodes: Option<u16>,

    /// A file with the administrator's token [default: one made at the first start].
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// Which controllers run: names, * for all, -name for all but.
    #[arg(long, value_name = "LIST", default_value = "*", allow_hyphen_values = true)]
    pub(crate) controllers: String,

    /// For how long the past is kept: a watch can go on from a revision that is at most so old.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) history: Duration,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the binary is besides a cluster.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Command {
    /// The server behind the image kore.dev/hello.
    #[command(hide = true)]
    ServeHello,
}

impl Args {
    /// Where the cluster lives.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, String> {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kore/standalone"));
        let dir = self.data_dir.clone().or_else(home).ok_or("HOME is not set: say --data-dir DIR")?;
        std::path::absolute(&dir).map_err(|error| format!("{}: {error}", dir.display()))
    }

    /// How it ends when it is told to.
    ///
    /// # Errors
    /// With `--once` it was told too early.
    pub(crate) fn interrupted(&self) -> Result<(), String> {
        if self.once { Err("told to end before everything was available".into()) } else { Ok(()) }
    }

    /// Where to listen, in the order in which to try.
    pub(crate) fn listen(&self) -> Vec<SocketAddr> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.listen.map_or_else(|| vec![local(6443), local(0)], |chosen| vec![chosen])
    }
}

/// A number with a unit: `500ms`, `90s`, `2m`, `1h`; without one, seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a time like 90s"))?;
    let milliseconds = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let milliseconds = milliseconds.and_then(|unit| number.checked_mul(unit));
    milliseconds.map(Duration::from_millis).ok_or_else(|| format!("{text:?} is not a time like 90s"))
}
