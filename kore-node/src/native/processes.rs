//! Starting, stopping and entering a container's processes, from the agent's side. Blocking.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process_group},
};
use tokio::io::AsyncReadExt;

use crate::{
    runtime::{ContainerId, Error, ExecOutput, Result},
    shim::{
        Shim,
        disk::{self, Answer},
    },
};

/// Starts the shim and waits for its answer. The child is to be reaped by the caller when the shim ends, which may be in a year.
pub(super) fn start(shim: &Shim, dir: &Path, id: &ContainerId) -> (Option<Child>, Result<()>) {
    let mut command = shim.command();
    command.arg("run").arg(dir).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            return (None, Err(Error::Transient(format!("starting a shim: {error}"))));
        }
    };
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a piped stdout");
    let read = BufReader::new(stdout).read_line(&mut line);
    let result = match read.map_err(|error| error.to_string()).and_then(|_| parse(&line)) {
        Ok(Answer::Running) => Ok(()),
        Ok(Answer::AlreadyStarted) => Err(Error::already_exists("container", id)),
        Ok(Answer::CannotStart(message)) => Err(Error::Start(message)),
        Ok(Answer::Failed(message)) => Err(Error::Transient(message)),
        Err(message) => Err(Error::Transient(format!("the shim ended without an answer: {message}"))),
    };
    (Some(child), result)
}

fn parse(line: &str) -> std::result::Result<Answer, String> {
    serde_json::from_str(line).map_err(|error| format!("{error} in {line:?}"))
}

/// Tells the shim to stop its container. False if there is no shim.
pub(super) fn stop(dir: &Path, grace: Duration) -> io::Result<bool> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(dir.join(disk::CONTROL), flags, Mode::empty()) {
        Ok(fifo) => {
            // One write this small reaches the other side whole or not at all.
            let milliseconds = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            File::from(fifo).write_all(format!("stop {milliseconds}\n").as_bytes())?;
            Ok(true)
        }
        Err(rustix::io::Errno::NXIO | rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether this machine lets this user mount in a namespace of their own.
pub(super) fn can_mount(shim: &Shim, dir: &Path) -> bool {
    let scratch = dir.join("probe");
    if fs::create_dir_all(&scratch).is_err() {
        return false;
    }
    let mut command = shim.command();
    command.arg("probe").arg(&scratch).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command in a running container.
pub(super) async fn exec(shim: &Shim, dir: &Path, argv: &[String], timeout: Duration) -> Result<ExecOutput> {
    let failed = |error: io::Error| Error::Transient(format!("exec {argv:?}: {error}"));
    let mut command = tokio::process::Command::from(shim.command());
    command.arg("exec").arg(dir).arg("--").args(argv).env_clear().process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let run = async {
        let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), child.wait());
        Ok((stdout?, stderr?, status?))
    };
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok((stdout, stderr, status))) => {
            // What the command left behind on purpose ends with the container.
            group.0 = None;
            use std::os::unix::process::ExitStatusExt;
            let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(137);
            Ok(ExecOutput::new(code, stdout, stderr))
        }
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(Error::DeadlineExceeded { command: argv.join(" "), seconds: timeout.as_secs() }),
    }
}

/// The processes of a command, killed together when nobody waits for its end any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads to the end and keeps the beginning.
async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = vec![];
    if let Some(mut from) = from {
        (&mut from).take(ExecOutput::MAX_BYTES as u64).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
