//! What the tests of the standalone binary share: starting it, ending it in every way, and counting what it has started.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses a part of this")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

/// How long anything in these tests may take before it has failed.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A cluster in a process of its own, on a data directory that survives the process.
pub struct Standalone {
    child: Option<Child>,
    data_dir: TempDir,
    arguments: Vec<String>,
}

impl Standalone {
    /// A cluster on a new data directory, ready to serve.
    pub fn start(arguments: &[&str]) -> Self {
        let data_dir = TempDir::with_prefix("kore-test-").expect("a temporary directory");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut standalone = Self { child: None, data_dir, arguments };
        standalone.start_again();
        standalone
    }

    /// Starts the process on the same data directory with other arguments, and waits until it serves.
    pub fn start_again_with(&mut self, arguments: &[&str]) -> mpsc::Receiver<String> {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.start_again()
    }

    /// Starts the process on the same data directory and waits until it serves; the lines that it prints after that.
    pub fn start_again(&mut self) -> mpsc::Receiver<String> {
        assert!(self.child.is_none(), "it runs already");
        let mut child = self.command().stdout(Stdio::piped()).spawn().expect("the binary starts");
        let lines = lines_of(child.stdout.take().expect("piped"));
        self.child = Some(child);
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("export KUBECONFIG=") => return lines,
                Ok(_) => {}
                Err(_) => {
                    panic!("it does not say that it serves; its status: {:?}", self.child.as_mut().map(Child::try_wait))
                }
            }
        }
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standalone"));
        command.arg("--data-dir").arg(self.data_dir());
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.arguments);
        command
    }

    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("kubeconfig")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
    }

    /// Ctrl-C.
    pub fn interrupt(&mut self) -> ExitStatus {
        self.end("-INT")
    }

    /// Ends it by a signal.
    pub fn end(&mut self, by: &str) -> ExitStatus {
        signal(self.pid(), by);
        self.child.take().expect("it runs").wait().expect("it has ended")
    }

    /// The processes that containers of this cluster run, shims not counted: descendants of its shims, and whatever was
    /// given the data directory in its environment and has lost its shim.
    pub fn workloads(&self) -> Vec<Workload> {
        let needle = self.data_dir().to_string_lossy().into_owned();
        let all: Vec<Process> = processes().into_iter().filter_map(Process::read).collect();
        let mut inside: BTreeSet<u32> = all.iter().filter(|one| one.is_shim(&needle)).map(|one| one.pid).collect();
        loop {
            let known = inside.len();
            inside.extend(all.iter().filter(|one| inside.contains(&one.parent)).map(|one| one.pid).collect::<Vec<_>>());
            if inside.len() == known {
                break;
            }
        }
        let is_workload = |one: &&Process| {
            !one.is_any_shim()
                && (inside.contains(&one.pid) || one.environment.contains(&needle))
                && !one.command.contains(&needle)
        };
        let mut found: Vec<_> = all.iter().filter(is_workload).map(Process::workload).collect();
        found.sort();
        found
    }

    /// The real kubectl with the cluster's kubeconfig.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Outcome {
        let output = self.kubectl_command(arguments).output().expect("kubectl starts");
        Outcome::of(arguments, output)
    }

    pub fn kubectl_command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let kubectl = std::env::var_os("KORE_KUBECTL").unwrap_or_else(|| "kubectl".into());
        let mut command = Command::new(kubectl);
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("HOME", self.data_dir()).stdin(Stdio::null());
        command
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What outlives the process by design has to be ended with the test.
        let needle = self.data_dir().to_string_lossy().into_owned();
        for pid in processes().into_iter().filter(|pid| belongs(*pid, &needle)) {
            signal(pid, "-KILL");
        }
    }
}

/// A process that a container runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    pub pod: String,
    pub pid: u32,
}

/// What /proc says of a process.
struct Process {
    pid: u32,
    parent: u32,
    /// Its arguments, joined by spaces.
    command: String,
    /// Its variables, joined by line breaks.
    environment: String,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let joined = |file: &str, separator: &str| -> Option<String> {
            let content = std::fs::read(format!("/proc/{pid}/{file}")).ok()?;
            Some(String::from_utf8_lossy(&content).trim_end_matches('\0').replace('\0', separator))
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything; what follows its closing parenthesis is state, parent, …
        let (_, after) = status.rsplit_once(") ")?;
        let mut fields = after.split(' ');
        if fields.next() == Some("Z") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let environment = joined("environ", "\n").unwrap_or_default();
        Some(Self { pid, parent, command: joined("cmdline", " ")?, environment })
    }

    fn is_any_shim(&self) -> bool {
        self.command.starts_with("kore-shim ")
    }

    fn is_shim(&self, needle: &str) -> bool {
        self.is_any_shim() && self.command.contains(needle)
    }

    fn workload(&self) -> Workload {
        let pod = self.environment.lines().find_map(|variable| variable.strip_prefix("POD_NAME="));
        Workload { pod: pod.unwrap_or_default().to_owned(), pid: self.pid }
    }
}

fn belongs(pid: u32, needle: &str) -> bool {
    let mentions = |file: &str| {
        let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        content.windows(needle.len()).any(|window| window == needle.as_bytes())
    };
    pid != std::process::id() && (mentions("cmdline") || mentions("environ"))
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub fn signal(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub command: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Outcome {
    fn of<S: AsRef<OsStr>>(arguments: &[S], output: Output) -> Self {
        let words: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
        Self {
            command: words.join(" "),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "kubectl {}\n{}{}", self.command, self.out, self.err);
        self.out
    }

    /// Standard error of a command that must have failed with this exit code.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "kubectl {}\n{}{}", self.command, self.out, self.err);
        self.err
    }
}

/// A number that no other call gives.
pub fn tick() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Waits before something outside this process is looked at again.
#[expect(clippy::disallowed_methods, reason = "a test of real processes has no clock to pause")]
pub fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// The lines that come out of `reader`, as they come.
pub fn lines_of(reader: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let lines = BufReader::new(reader).lines();
    #[expect(clippy::disallowed_methods, reason = "a test of real processes has no clock to pause")]
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// The next line that contains `text`.
#[track_caller]
pub fn line_with(lines: &mpsc::Receiver<String>, text: &str) -> String {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("no line with {text:?} ({error}) after {seen:#?}"),
        }
    }
}
