//! A store as an etcd of one member: etcdctl, etcd's client libraries and programs written for etcd work with it.
//!
//! `cargo run --release --features etcd-server --bin store-server -- --data-dir /tmp/store --listen 127.0.0.1:2379`

#[path = "../standalone/signals.rs"]
mod signals;

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use kore_store::{DurableStore, EtcdServer, EtcdServerOptions, Limits, Options};
use mimalloc::MiMalloc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use signals::Signals;

/// What one thread has made for a request another drops: glibc's allocator lets threads wait for each other then.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Serves a store over etcd's v3 API.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Args {
    /// Where the store lives; made if it is not there.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// Where to listen; port 0: a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:2379")]
    listen: SocketAddr,

    /// Where clients reach this server, when that is not where it listens.
    #[arg(long, value_name = "URL")]
    advertise: Vec<String>,

    /// How many MiB of keys and values the store may hold, old versions included.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    quota_mib: u64,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: Args) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut signals = Signals::listen()?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);

    let limits = Limits::default().quota_bytes(args.quota_mib << 20);
    let (store, work) = DurableStore::open(&args.data_dir, Options::default().limits(limits)).await?;
    let mut work = tokio::spawn(work);

    let advertised = if args.advertise.is_empty() { vec![url.clone()] } else { args.advertise };
    let server = EtcdServer::new(Arc::new(store.clone()), EtcdServerOptions::default().client_urls(advertised));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await });
    println!("serving {} on {url}", args.data_dir.display());

    tokio::select! {
        () = signals.told_to_end() => {}
        // The store has failed, and says why.
        ended = &mut work => return Ok(ended??),
        ended = &mut serving => return Ok(ended?),
    }
    drop(stop);
    signals.unless_told_again(serving).await??;
    store.close().await?;
    Ok(work.await??)
}
