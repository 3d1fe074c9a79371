//! The shim: a tiny process between the agent and each native container, so that an agent can die without its
//! containers, and a container without its exit code.
//!
//! - this file: [`init`], which turns a re-executed program into a shim, and [`Shim`], which says what program that is
//! - `disk`: the versioned files through which agent and shim talk; nothing else passes between them but a FIFO of commands
//! - `supervise`: the shim's life: lock, start, log, stop, reap, write the exit status
//! - `enter`: the step between fork and exec: session, mounts, program look-up; and the same for `exec`
//! - `namespace`: what mounts look like to a process without privileges
//! - `tree`: finding and killing all of a container's processes
//!
//! Everything in here but [`Shim`] runs in a process of its own with a single thread, outside any async runtime.

pub(crate) mod disk;
mod enter;
mod namespace;
mod supervise;
pub(crate) mod tree;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
};

/// The name a shim goes by (`argv[0]`), and how [`init`] knows it is one.
pub(crate) const ARG0: &str = "kore-shim";

const NOT_CALLED: u8 = 0;
const CALLED: u8 = 1;
const CALLED_LATE: u8 = 2;

/// Whether `init` ran in this process: a fact about the process, written once.
static INIT: AtomicU8 = AtomicU8::new(NOT_CALLED);

/// Call this as the first statement of `main`, before any async runtime exists.
///
/// In an ordinary start it returns at once. In a process that [`Shim::this_binary`] started, it is the shim and
/// never returns. Not inside `#[tokio::main]`: entering a mount namespace needs a process with a single thread, and
/// [`Shim::this_binary`] refuses a program that called this with threads running.
///
/// ```no_run
/// kore_node::shim::init();
/// // Only now: arguments, the async runtime, the agent.
/// let runtime = tokio::runtime::Runtime::new();
/// ```
pub fn init() {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| name == ARG0) {
        let code = match run(args.collect()) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{ARG0}: {error}");
                1
            }
        };
        std::process::exit(code);
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count());
    INIT.store(if threads > 1 { CALLED_LATE } else { CALLED }, Ordering::Relaxed);
}

fn run(args: Vec<OsString>) -> Result<i32, String> {
    let usage = || format!("called as {ARG0} with arguments it does not know: {args:?}");
    let text: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    match text.as_slice() {
        ["run", dir] => supervise::run(Path::new(dir)),
        ["enter", dir, parent] => Err(enter::start(Path::new(dir), parent.parse().map_err(|_| usage())?)),
        ["probe", dir] => enter::probe(Path::new(dir)),
        ["exec", dir, "--", command @ ..] if !command.is_empty() => Err(enter::exec(Path::new(dir), command)),
        _ => Err(usage()),
    }
}

/// The program that runs shims.
#[derive(Clone, Debug)]
pub struct Shim {
    program: Program,
}

#[derive(Clone, Debug)]
enum Program {
    ThisBinary,
    Path(PathBuf),
}

/// Why there is no shim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShimError {
    /// `main` does not begin with [`init`].
    #[error(
        "Shim::this_binary() needs this program to become a shim when it is executed again: call \
         kore_node::shim::init() as the first statement of main"
    )]
    InitNotCalled,
    /// [`init`] came too late.
    #[error(
        "kore_node::shim::init() was called when other threads were running already: make it the first statement of a \
         plain `fn main()` (not #[tokio::main]) and build the async runtime after it"
    )]
    InitTooLate,
    /// The file given to [`Shim::path`] cannot be executed.
    #[error("the shim {path} cannot be used: {source}", path = .path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Shim {
    /// The running program itself, executed again. It stays the same program when the file it came from is replaced or
    /// deleted.
    ///
    /// # Errors
    /// [`ShimError::InitNotCalled`] and [`ShimError::InitTooLate`] if `main` does not begin with [`init`].
    pub fn this_binary() -> Result<Shim, ShimError> {
        match INIT.load(Ordering::Relaxed) {
            CALLED => Ok(Shim { program: Program::ThisBinary }),
            CALLED_LATE => Err(ShimError::InitTooLate),
            _ => Err(ShimError::InitNotCalled),
        }
    }

    /// A program of its own that begins with [`init`], such as this package's `kore-shim`.
    ///
    /// # Errors
    /// [`ShimError::Path`] if there is no such file.
    pub fn path(path: impl Into<PathBuf>) -> Result<Shim, ShimError> {
        let path = path.into();
        match path.canonicalize() {
            Ok(path) => Ok(Shim { program: Program::Path(path) }),
            Err(source) => Err(ShimError::Path { path, source }),
        }
    }

    /// A command that will be a shim.
    pub(crate) fn command(&self) -> Command {
        let mut command = again(match &self.program {
            Program::ThisBinary => Path::new("/proc/self/exe"),
            Program::Path(path) => path,
        });
        command.current_dir("/");
        command
    }

    /// What the application's own binary is called from inside a shim.
    pub(crate) fn application_binary(&self) -> std::io::Result<PathBuf> {
        match &self.program {
            Program::ThisBinary => Ok("/proc/self/exe".into()),
            Program::Path(_) => std::env::current_exe(),
        }
    }
}

fn again(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.arg0(ARG0);
    command
}
