//! kill -9 of a process that writes under load, at random moments, also while it opens the store: nothing that it was answered is
//! lost, and what is recovered is a prefix of what it asked for.
//!
//! - here: killing
//! - `child`: the process that is killed; this binary again
//! - `ledger`: what the child said before it died
//! - `verify`: what must be in its directory then
//!
//! `KORE_SOAK_SECONDS` says for how long; there are at least 200 kills. The seed is printed; `KORE_SOAK_SEED` repeats one, as far as the
//! operating system does. Run by `cargo test --all-targets`, it kills a few times only.
#![allow(missing_docs)]

mod child;
mod ledger;
mod verify;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kore_store::{Entropy, Options};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use ledger::Ledger;

const KILLS: u64 = 200;
const KILLS_AS_TEST: u64 = 3;

/// A kill comes at most so long after the child has opened the store, …
const KILL_WITHIN_MS: u64 = 250;

/// … and one in so many comes so soon after it was started that it may still be opening it.
const EARLY: u64 = 6;

/// Names the child's directory, and makes this binary the child.
const CHILD: &str = "KORE_SOAK_CHILD";

/// Small enough for segments to be rotated and checkpoints to be written all the time.
fn options() -> Options {
    Options::default().segment_bytes(64 << 10).checkpoint_bytes(256 << 10)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(dir) = std::env::var_os(CHILD) {
        return runtime.block_on(child::work(Path::new(&dir)));
    }
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let duration = Duration::from_secs(number("KORE_SOAK_SECONDS").filter(|_| is_bench).unwrap_or(0));
    let kills = if is_bench { KILLS } else { KILLS_AS_TEST };
    let seed = number("KORE_SOAK_SEED").unwrap_or_else(|| Entropy::system().next_u64() >> 16);
    println!("soak_kill_store: seed {seed}");
    runtime.block_on(soak(kills, duration, &Entropy::seeded(seed)));
}

async fn soak(least: u64, duration: Duration, random: &Entropy) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut ledger = Ledger::default();
    let begun = Instant::now();
    let (mut kills, mut while_opening) = (0, 0);
    while kills < least || begun.elapsed() < duration {
        let was_open = killed(dir.path(), &mut ledger, random).await;
        kills += 1;
        while_opening += u64::from(!was_open);
        verify::verify(dir.path(), &mut ledger, random).await;
    }
    let Ledger { acknowledged, unknown, recovered, compactions, leases_ended, .. } = &ledger;
    println!(
        "soak_kill_store: {kills} kills ({while_opening} while it was opening) in {:.0} s: {acknowledged} acknowledged, \
         {unknown} of unknown outcome ({recovered} of them done), {compactions} compactions and {leases_ended} ended leases \
         acknowledged, revision {}: nothing lost, no gap",
        begun.elapsed().as_secs_f64(),
        ledger.revision,
    );
    assert!(*acknowledged > 100 * kills && *unknown > kills, "hardly anything was under way");
    assert!(*compactions > 0 && *leases_ended > 0, "hardly anything was tried");
}

/// Lets a child work, and kills it; true when it had opened the store.
async fn killed(dir: &Path, ledger: &mut Ledger, random: &Entropy) -> bool {
    let mut child = spawn(dir);
    let output = child.stdout.take().expect("it is piped");
    let reading = tokio::spawn(read(BufReader::new(output)));
    if random.below(EARLY) == 0 {
        sleep(Duration::from_millis(random.below(20))).await;
    } else {
        // From when it can be working, so that the moments are spread over its work.
        sleep(Duration::from_millis(10 + random.below(KILL_WITHIN_MS))).await;
    }
    child.start_kill().expect("it is running");
    let status = child.wait().await.expect("it is our child");
    assert!(status.code().is_none(), "the child ended by itself: {status}");
    let lines = reading.await.expect("reading does not panic");
    ledger.take(&lines)
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .env(CHILD, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("this binary can be started")
}

/// Whole lines, until the end. A line that the kill cut off says nothing.
async fn read(mut output: impl AsyncBufReadExt + AsyncReadExt + Unpin) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    while output.read_line(&mut line).await.expect("a pipe can be read") > 0 {
        match line.strip_suffix('\n') {
            Some(whole) => lines.push(whole.to_owned()),
            None => break,
        }
        line.clear();
    }
    lines
}
