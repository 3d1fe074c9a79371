//! The shim's life, from lock to exit status.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, OFlags, mknodat},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, wait},
    time::{ClockId, clock_gettime},
};

use super::{
    again,
    disk::{self, Answer, Launch, Started},
    tree,
};
use crate::{
    log::{LogWriter, Stream},
    runtime::Exit,
};

/// How often descendants that outlived their parents are reaped while nothing else happens.
const REAP_EVERY: Duration = Duration::from_secs(10);
/// How often the end of the last descendants is looked for during a stop.
const STOP_EVERY: Duration = Duration::from_millis(20);

/// Is the shim of the container in `dir`, to its end.
pub(super) fn run(dir: &Path) -> Result<i32, String> {
    // Its own session: signals of the terminal the agent was started from do not reach it.
    let _ = rustix::process::setsid();
    match begin(dir) {
        Ok(Begun::Running(supervisor)) => {
            answer(&Answer::Running);
            supervisor.watch(dir).map_err(|error| error.to_string())?;
        }
        Ok(Begun::Refused(refusal)) => answer(&refusal),
        Err(error) => answer(&Answer::Failed(error.to_string())),
    }
    Ok(0)
}

/// Tells the agent, if it still listens, and lets go of it.
fn answer(answer: &Answer) {
    let mut line = serde_json::to_vec(answer).expect("plain data serializes");
    line.push(b'\n');
    let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

enum Begun {
    Running(Box<Supervisor>),
    Refused(Answer),
}

struct Supervisor {
    launch: Launch,
    started: Started,
    main: Pid,
    /// Readable when the main process has ended.
    pidfd: OwnedFd,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    control: File,
    log: LogWriter,
    _lock: File,
}

fn begin(dir: &Path) -> io::Result<Begun> {
    let launch = Launch::read(dir)?;
    let Some(lock) = disk::lock(&dir.join(disk::LOCK))? else {
        return Ok(Begun::Refused(Answer::AlreadyStarted));
    };
    if dir.join(disk::STARTED).exists() || dir.join(disk::EXIT).exists() {
        return Ok(Begun::Refused(Answer::AlreadyStarted));
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let log = LogWriter::open(&launch.log_path, launch.log_max_bytes, launch.log_max_files)?;
    let control = control(dir)?;

    let (ours, theirs) = UnixStream::pair()?;
    let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let child = again(Path::new("/proc/self/exe"))
        .arg("enter")
        .arg(dir)
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(stdout_end))
        .stderr(Stdio::from(stderr_end))
        .spawn()?;
    let main = Pid::from_raw(child.id() as i32).expect("a child has a pid");
    let pidfd = pidfd_open(main, PidfdFlags::empty())?;
    let started = Started { pid: child.id() as i32, at: disk::now(), boot: disk::boot_id() };

    // The other side says `ready` when everything but exec is done, waits for `go`, and says nothing more if exec succeeds.
    let mut from = BufReader::new(&ours);
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut problem = line.strip_prefix("error ").map(|text| text.trim_end().to_owned());
    if problem.is_none() {
        disk::write(&dir.join(disk::STARTED), &started, false)?;
        (&ours).write_all(b"go\n")?;
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        if line != "ready\n" || !text.is_empty() {
            problem = Some(text.strip_prefix("error ").unwrap_or(&text).trim_end().to_owned());
        }
    }
    drop(from);
    if let Some(message) = problem {
        let _ = wait(WaitOptions::empty());
        let exit = Exit {
            started_at: Some(started.at),
            finished_at: Some(disk::now()),
            reason: Some("StartError".into()),
            message: Some(message.clone()),
            ..Exit::code(128)
        };
        disk::write(&dir.join(disk::EXIT), &exit, true)?;
        return Ok(Begun::Refused(Answer::CannotStart(message)));
    }
    for fd in [&stdout, &stderr] {
        rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK)?;
    }
    Ok(Begun::Running(Box::new(Supervisor {
        launch,
        started,
        main,
        pidfd,
        stdout: Some(stdout),
        stderr: Some(stderr),
        control,
        log,
        _lock: lock,
    })))
}

/// The FIFO the agent's commands come through. Opened for writing, too, so that it never ends.
fn control(dir: &Path) -> io::Result<File> {
    let path = dir.join(disk::CONTROL);
    match mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(disk::named(&path, error.into())),
    }
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(&path, flags, Mode::empty())?.into())
}

impl Supervisor {
    fn watch(mut self, dir: &Path) -> io::Result<()> {
        let mut status = None;
        let mut kill_at: Option<Duration> = None;
        let mut stopping = false;
        while status.is_none() {
            let wait_for = kill_at.map_or(REAP_EVERY, |at| at.saturating_sub(monotonic()).min(REAP_EVERY));
            self.poll(wait_for)?;
            self.drain();
            if let Some(grace) = self.command() {
                if !stopping && !grace.is_zero() {
                    stopping = true;
                    let _ = kill_process_group(self.main, Signal::TERM);
                }
                kill_at = sooner(kill_at, grace);
            }
            if kill_at.is_some_and(|at| monotonic() >= at) {
                self.kill();
                kill_at = None;
            }
            status = self.reap().main;
        }
        let finished_at = disk::now();
        if stopping {
            // Once more, for what was just being forked and missed it.
            let _ = kill_process_group(self.main, Signal::TERM);
        }
        self.end_descendants(kill_at);
        // Commands that were executed in the container do not descend from it.
        tree::kill_marked(dir);
        self.drain();
        self.log.finish(finished_at);
        let status = status.expect("the loop ends with a status");
        let signal = status.terminating_signal();
        let exit = Exit {
            exit_code: status.exit_status().or(signal.map(|signal| 128 + signal)).unwrap_or(137),
            signal,
            started_at: Some(self.started.at),
            finished_at: Some(finished_at),
            reason: None,
            message: None,
        };
        disk::write(&dir.join(disk::EXIT), &exit, true)?;
        tell(&self.launch);
        Ok(())
    }

    /// Waits until something happens, at most that long.
    fn poll(&self, timeout: Duration) -> io::Result<()> {
        let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
        fds.extend([&self.stdout, &self.stderr].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves what the container has written into its log.
    fn drain(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for (end, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
            // Bounded, so that a container that never stops writing cannot keep the shim from its other work.
            for _ in 0..64 {
                let Some(fd) = end.as_ref() else { break };
                match rustix::io::read(fd.as_fd(), &mut buffer) {
                    Ok(0) => *end = None,
                    Ok(length) => self.log.write(stream, &buffer[..length], disk::now()),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(_) => *end = None,
                }
            }
        }
    }

    /// The shortest grace among the stop commands that came in.
    fn command(&mut self) -> Option<Duration> {
        let mut buffer = [0; 4096];
        let length = self.control.read(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let stops = text.lines().filter_map(|line| line.strip_prefix("stop ")?.trim().parse().ok());
        stops.min().map(Duration::from_millis)
    }

    fn reap(&self) -> Reaped {
        let mut reaped = Reaped { main: None, none_left: false };
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => reaped.main = Some(status),
                Ok(Some(_)) => {}
                Ok(None) => return reaped,
                Err(Errno::INTR) => {}
                Err(_) => {
                    reaped.none_left = true;
                    return reaped;
                }
            }
        }
    }

    fn kill(&self) {
        let _ = kill_process_group(self.main, Signal::KILL);
        tree::kill_descendants_of(rustix::process::getpid());
    }

    /// The main process is gone: the others have what is left of a stop's grace, or nothing.
    fn end_descendants(&mut self, mut kill_at: Option<Duration>) {
        while !self.reap().none_left {
            // A stop may be shortened still.
            if let Some(grace) = self.command()
                && kill_at.is_some()
            {
                kill_at = sooner(kill_at, grace);
            }
            if kill_at.is_none_or(|at| monotonic() >= at) {
                self.kill();
            }
            self.drain();
            let mut none: [PollFd<'_>; 0] = [];
            let pause = Timespec { tv_sec: 0, tv_nsec: STOP_EVERY.subsec_nanos().into() };
            let _ = poll(&mut none, Some(&pause));
        }
    }
}

struct Reaped {
    main: Option<WaitStatus>,
    /// No process of the container is left.
    none_left: bool,
}

/// A hint for an agent that listens; nobody may.
fn tell(launch: &Launch) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(fifo) = rustix::fs::open(&launch.events, flags, Mode::empty()) {
        let _ = File::from(fifo).write_all(format!("{}\n", launch.pod_uid).as_bytes());
    }
}

/// The end of a stop that is asked for again: the earlier one counts.
fn sooner(kill_at: Option<Duration>, grace: Duration) -> Option<Duration> {
    let at = monotonic().saturating_add(grace);
    Some(kill_at.map_or(at, |earlier| earlier.min(at)))
}

/// Time that never jumps.
fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
