//! The files of a container's directory: all that agent and shim know of each other.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `container.json` | agent, at create | what to run ([`Launch`] is the shim's part of it) |
//! | `lock` | shim, held while it lives | somebody owns this container |
//! | `control` | FIFO, agent to shim | `stop MILLISECONDS\n` |
//! | `started.json` | shim, before the program may run | it was started: it never will be again |
//! | `exit.json` | shim, synced | how it ended |
//!
//! `VERSION` changes when an older shim could not understand a newer agent, or the other way round.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::runtime::Mount;

/// The version of the protocol between agent and shim.
pub(crate) const VERSION: u32 = 2;
pub(crate) const CONTAINER: &str = "container.json";
pub(crate) const STARTED: &str = "started.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const LOCK: &str = "lock";
pub(crate) const CONTROL: &str = "control";
/// Where mounts are linked when they cannot be mounted.
pub(crate) const ROOT: &str = "root";

/// The environment variable that marks every process of a container with the container's directory: ids are unique in one runtime
/// only.
pub(crate) const MARK: &str = "KORE_CONTAINER_DIR";
/// The environment variable that says where mount paths begin: empty when they hold as written.
pub(crate) const ROOT_VARIABLE: &str = "KORE_ROOT";

/// What the shim is to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// [`VERSION`] of the agent that wrote it.
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) pod_uid: String,
    /// The program as the user wrote it, looked up in the container's `PATH`, and its arguments.
    pub(crate) argv: Vec<String>,
    /// The file to execute instead of looking `argv[0]` up.
    #[serde(default)]
    pub(crate) executable: Option<PathBuf>,
    pub(crate) env: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) working_dir: Option<PathBuf>,
    #[serde(default)]
    pub(crate) mounts: Vec<Mount>,
    /// As whom it runs, if not as the shim.
    #[serde(default)]
    pub(crate) identity: Option<Identity>,
    /// Mounts are made in a mount namespace; links otherwise.
    #[serde(default)]
    pub(crate) namespace: bool,
    pub(crate) log_path: PathBuf,
    pub(crate) log_max_bytes: u64,
    pub(crate) log_max_files: u32,
    /// A FIFO that is told the pod's uid when the container has ended.
    pub(crate) events: PathBuf,
}

/// A user and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32>,
}

impl Launch {
    pub(crate) fn read(dir: &Path) -> io::Result<Launch> {
        let launch: Launch = read(&dir.join(CONTAINER))?;
        if launch.version > VERSION {
            let text = format!(
                "{}: written for protocol {}, this shim speaks {VERSION}",
                dir.join(CONTAINER).display(),
                launch.version
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(launch)
    }
}

/// That a container was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    pub(crate) at: Timestamp,
    /// The machine's boot id: a pid of another boot means nothing.
    pub(crate) boot: String,
}

/// What the shim tells the agent that started it, as one line of JSON on its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The program runs.
    Running,
    /// It was started before, or is being started by another shim.
    AlreadyStarted,
    /// The program cannot be executed; the exit status says so too.
    CannotStart(String),
    /// The shim could not do its work: nothing was started.
    Failed(String),
}

/// Reads a JSON file; an error names the file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let bytes = fs::read(path).map_err(|error| named(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| named(path, error.into()))
}

/// Reads a JSON file that may not be there.
pub(crate) fn read_opt<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match read(path) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a JSON file as a whole: a reader sees the old one or the new one. With `durable` it survives the machine.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T, durable: bool) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let bytes = serde_json::to_vec(value).expect("plain data serializes");
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&temporary, path)?;
        if durable {
            File::open(path.parent().expect("a file in a directory"))?.sync_all()?;
        }
        Ok(())
    })();
    result.map_err(|error| named(path, error))
}

/// Takes the lock at `path`, or says that somebody holds it.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(named(path, error.into())),
    }
}

/// Identifies this boot of the machine.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The machine's time. The shim is a process of its own: no simulated clock reaches it.
pub(crate) fn now() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp::new(now.tv_sec, now.tv_nsec as i32).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Puts the file's name into the error.
pub(crate) fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
