//! Looks after the data directory of a store that is not running, a `standalone`'s or a `store-server`'s: checks it, writes down
//! what it holds, makes one from a snapshot.
//!
//! `cargo run --release --bin store-tool -- check /tmp/store`

use std::error::Error;
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Parser, Subcommand};
use futures::stream;
use kore_store::{DurableStore, offline};

/// Looks after the data directory of a store that is not running.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Reads all of it, and says whether it is whole and what it holds.
    Check {
        /// The data directory.
        dir: PathBuf,
    },
    /// Writes what it holds in words: keys with their versions, and the log.
    Dump {
        /// The data directory.
        dir: PathBuf,
    },
    /// Makes a data directory from a snapshot.
    Restore {
        /// The snapshot, as a store tells it or as `etcdctl snapshot save` has saved it from a store-server.
        snapshot: PathBuf,
        /// The data directory; it must not hold a store yet.
        dir: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse().task).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(task: Task) -> Result<(), Box<dyn Error>> {
    match task {
        Task::Check { dir } => println!("{}", offline::check(dir).await?),
        Task::Dump { dir } => offline::dump(dir, BufWriter::new(io::stdout())).await?,
        Task::Restore { snapshot, dir } => {
            let chunks = stream::iter(chunks(&snapshot)?);
            let revision = DurableStore::restore(&dir, chunks).await?;
            println!("{} is at revision {revision}", dir.display());
        }
    }
    Ok(())
}

/// The bytes of a file, in pieces.
fn chunks(path: &Path) -> Result<impl Iterator<Item = kore_store::Result<Bytes>> + use<>, Box<dyn Error>> {
    let called = |error| format!("cannot read {}: {error}", path.display());
    let mut file = std::fs::File::open(path).map_err(called)?;
    let path = path.to_owned();
    Ok(std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        match file.by_ref().take(1 << 20).read_to_end(&mut chunk) {
            Ok(0) => None,
            Ok(_) => Some(Ok(chunk.into())),
            Err(error) => {
                let reason = format!("cannot read {}: {error}", path.display());
                Some(Err(kore_store::Error::Unavailable { reason: reason.into() }))
            }
        }
    }))
}
