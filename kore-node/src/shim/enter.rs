//! Between fork and exec: the process that becomes the container's, and the one that becomes a command in it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    process::{Gid, Signal, Uid, set_parent_process_death_signal},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

use super::{
    disk::{self, Launch, Started},
    namespace,
};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the container's program. Returns only with the reason why not, which the shim has been told by then.
pub(super) fn start(dir: &Path, parent: i32) -> String {
    let control = match control() {
        Ok(control) => control,
        Err(error) => return error.to_string(),
    };
    let error = match become_program(dir, parent, &control) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let _ = (&control).write_all(format!("error {error}\n").as_bytes());
    error
}

/// Standard input is the way to the shim; the program gets `/dev/null` in its place.
fn control() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    let control = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    Ok(control)
}

enum Never {}

fn become_program(dir: &Path, parent: i32, control: &UnixStream) -> Result<Never, String> {
    let text = |error: io::Error| error.to_string();
    // A session and process group of its own: one signal reaches the program and what it starts.
    rustix::process::setsid().map_err(|error| format!("setsid: {error}"))?;
    let launch = Launch::read(dir).map_err(text)?;
    enter(dir, &launch)?;
    become_user(&launch)?;
    // After namespaces and user: changing credentials clears it. Then look whether the shim died before it was set.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("prctl: {error}"))?;
    if rustix::process::getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
        return Err("the shim is gone".into());
    }
    let mut command = command(dir, &launch, &launch.argv, launch.executable.as_deref())?;
    let mut line = String::new();
    (&*control).write_all(b"ready\n").map_err(text)?;
    BufReader::new(control).read_line(&mut line).map_err(text)?;
    if line != "go\n" {
        return Err("the shim is gone".into());
    }
    Err(cannot_execute(&launch.argv[0], &command.exec()))
}

/// Becomes a command in a running container. Returns only with the reason why not.
pub(super) fn exec(dir: &Path, argv: &[&str]) -> String {
    let run = || -> Result<Never, String> {
        let launch = Launch::read(dir).map_err(|error| error.to_string())?;
        let started: Started = disk::read(&dir.join(disk::STARTED)).map_err(|error| error.to_string())?;
        namespace::join(started.pid).map_err(|error| format!("entering the container: {error}"))?;
        become_user(&launch)?;
        let argv: Vec<String> = argv.iter().map(|&arg| arg.to_owned()).collect();
        let mut command = command(dir, &launch, &argv, None)?;
        Err(cannot_execute(&argv[0], &command.exec()))
    };
    match run() {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Whether mounts work here: exits with 0 if they do. `dir` is an empty directory.
pub(super) fn probe(dir: &Path) -> Result<i32, String> {
    if namespace::unshare() { namespace::mount(&[], dir).map(|()| 0) } else { Ok(1) }
}

/// Makes the mounts visible at their paths, or as links below the container's root.
fn enter(dir: &Path, launch: &Launch) -> Result<(), String> {
    let root = dir.join(disk::ROOT);
    if launch.mounts.is_empty() {
        Ok(())
    } else if !launch.namespace {
        namespace::link(&launch.mounts, &root)
    } else if namespace::unshare() {
        namespace::mount(&launch.mounts, &root)
    } else {
        Err("unshare: this machine no longer allows a mount namespace".into())
    }
}

/// Changes to the user that the program is to run as: from here on with that user's rights, also in looking it up.
fn become_user(launch: &Launch) -> Result<(), String> {
    let Some(identity) = &launch.identity else {
        return Ok(());
    };
    let failed = |error: rustix::io::Errno| format!("cannot become user {}: {error}", identity.user);
    let groups: Vec<Gid> = identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    // The process has one thread, so that the thread's credentials are its own. The user last: after that nothing may be changed.
    set_thread_groups(&groups).map_err(failed)?;
    set_thread_gid(Gid::from_raw(identity.group)).map_err(failed)?;
    set_thread_uid(Uid::from_raw(identity.user)).map_err(failed)
}

/// Where mount paths begin: nowhere, if they hold as written.
fn root(dir: &Path, launch: &Launch) -> String {
    if launch.namespace || launch.mounts.is_empty() {
        String::new()
    } else {
        dir.join(disk::ROOT).display().to_string()
    }
}

fn command(dir: &Path, launch: &Launch, argv: &[String], executable: Option<&Path>) -> Result<Command, String> {
    let root = &root(dir, launch);
    let reference = format!("$({})", disk::ROOT_VARIABLE);
    let resolve = |text: &str| text.replace(&reference, root);
    let variable = |name: &str| launch.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let working_dir = launch.working_dir.as_ref().map(|dir| PathBuf::from(resolve(&dir.display().to_string())));
    if let Some(dir) = &working_dir {
        std::env::set_current_dir(dir).map_err(|error| format!("chdir to cwd ({:?}): {}", dir, plain(&error)))?;
    }
    let name = resolve(&argv[0]);
    let file = match executable {
        Some(file) => file.to_owned(),
        None => look_up(&name, variable("PATH").unwrap_or(DEFAULT_PATH))?,
    };
    let mut command = Command::new(file);
    command.arg0(&name).args(argv[1..].iter().map(|arg| resolve(arg))).env_clear();
    if variable("PATH").is_none() {
        command.env("PATH", DEFAULT_PATH);
    }
    command.envs(launch.env.iter().map(|(key, value)| (key, resolve(value))));
    command.env(disk::ROOT_VARIABLE, root).env(disk::MARK, dir);
    Ok(command)
}

/// Finds a program as a shell would, with the errors upstream's runtimes give.
fn look_up(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return match fs::metadata(name) {
            Err(error) => Err(format!("exec: {name:?}: stat {name}: {}", plain(&error))),
            Ok(file) if file.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(file) if file.permissions().mode() & 0o111 == 0 => Err(format!("exec: {name:?}: permission denied")),
            Ok(_) => Ok(name.into()),
        };
    }
    let candidates = path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(name));
    candidates
        .into_iter()
        .find(|file| fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0))
        .filter(|_| !name.is_empty())
        .ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))
}

fn cannot_execute(name: &str, error: &io::Error) -> String {
    format!("exec: {name:?}: {}", plain(error))
}

/// The operating system's words, without Rust's addition of the number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
