//! The native runtime with real processes: the conformance suite, and what only processes can show.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kore_node::{
    conformance::{self, Act, Subject},
    native::{NativeRuntime, Program},
    runtime::{ContainerConfig, ContainerId, Error, Exit, Mount, PodIdentity, Runtime, SandboxConfig, SandboxState},
    shim::Shim,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

async fn open(dir: &Path, range: &str) -> NativeRuntime {
    let shim = Shim::path(env!("CARGO_BIN_EXE_kore-shim")).unwrap();
    let builder = NativeRuntime::builder(dir.join("runtime"), shim).addresses(range);
    builder.image("kore.dev/host", Program::host()).open().await.unwrap()
}

fn shell(script: &str) -> ContainerConfig {
    let mut config = ContainerConfig::new("app", "kore.dev/host");
    config.command = ["sh", "-c", script].map(String::from).into();
    config
}

async fn start(runtime: &dyn Runtime, uid: &str, config: &ContainerConfig) -> ContainerId {
    let sandbox = SandboxConfig::new(PodIdentity::new("ns", uid, uid), 0);
    let sandbox = runtime.run_sandbox(&sandbox).await.unwrap();
    let id = runtime.create(&sandbox.id, config).await.unwrap();
    runtime.start(&id).await.unwrap();
    id
}

/// Looks again and again, as long as anything may take.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited too long until {what}"))
}

async fn exit(runtime: &dyn Runtime, id: &ContainerId) -> Exit {
    until("the container exits", async || {
        let listing = runtime.list(None).await.unwrap();
        let container = listing.containers.into_iter().find(|container| container.id == *id)?;
        container.state.exit().cloned()
    })
    .await
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

/// Whether a process runs; one that nobody has reaped yet does not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    test_kill_process(pid).is_ok() && state.is_some_and(|state| state != 'Z')
}

async fn file(path: PathBuf) -> String {
    until(&format!("{} is there", path.display()), async || {
        fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
    })
    .await
}

struct Native(Arc<NativeRuntime>);

impl Subject for Native {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.clone()
    }
    fn container(&self, act: Act) -> ContainerConfig {
        let print = format!("echo {}", conformance::LINE);
        let script = match act {
            Act::Exit7 => "exit 7".to_owned(),
            Act::Print => print,
            Act::UntilStopped => {
                format!("trap 'exit 0' TERM; {print}; while :; do sleep 1000 & wait; done")
            }
            Act::Forever => format!("trap '' TERM; {print}; while :; do sleep 1000; done"),
        };
        shell(&script)
    }
}

#[tokio::test]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), "127.70.0.0/24").await;
    conformance::check(&Native(Arc::new(runtime)), dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_new_agent_adopts_what_runs_and_learns_how_the_rest_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let first = open(dir.path(), "127.70.1.0/24").await;
    let running = start(
        &first,
        "runs",
        &shell(&format!(
            "echo $$ > {0}; echo x >> {1}; exec sleep 1000",
            path("pid").display(),
            path("starts").display()
        )),
    )
    .await;
    let address = first.list(Some("runs")).await.unwrap().sandboxes[0].addresses[0];
    let main = pid(&file(path("pid")).await);
    // Ends while no agent is there.
    let ending =
        start(&first, "ends", &shell(&format!("while [ ! -e {} ]; do sleep 0.01; done; exit 3", path("go").display())))
            .await;
    drop(first);
    fs::write(path("go"), "").unwrap();

    let second = open(dir.path(), "127.70.1.0/24").await;
    assert_eq!(exit(&second, &ending).await.exit_code, 3);
    let listing = second.list(Some("runs")).await.unwrap();
    assert!(listing.containers[0].state.is_running());
    assert_eq!(listing.sandboxes[0].addresses, [address]);
    assert!(second.start(&running).await.unwrap_err().is_already_exists());
    assert!(runs(main));
    assert_eq!(fs::read_to_string(path("starts")).unwrap(), "x\n", "started once");
    let other = second.run_sandbox(&SandboxConfig::new(PodIdentity::new("ns", "new", "new"), 0)).await.unwrap();
    assert_ne!(other.addresses, [address]);
    second.stop(&running, Duration::ZERO).await.unwrap();
    assert_eq!(exit(&second, &running).await.exit_code, 137);
    assert!(!runs(main));
}

#[tokio::test]
async fn a_killed_shim_takes_all_of_its_container_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let runtime = open(dir.path(), "127.70.2.0/24").await;
    // The second process leaves the session: only its mark tells whose it is.
    let script = format!(
        "setsid sh -c 'echo $$ > {1}; exec sleep 1000' & echo $PPID $$ > {0}; exec sleep 1000",
        path("pids").display(),
        path("away").display()
    );
    let id = start(&runtime, "lost", &shell(&script)).await;
    let away = pid(&file(path("away")).await);
    let pids = file(path("pids")).await;
    let (shim, main) = pids.trim().split_once(' ').unwrap();
    kill_process(pid(shim), Signal::KILL).unwrap();
    let exit = exit(&runtime, &id).await;
    assert_eq!((exit.exit_code, exit.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    let main = pid(main);
    until("all processes are gone", async || (!runs(main) && !runs(away)).then_some(())).await;
}

#[tokio::test]
async fn a_disk_that_takes_no_files_does_not_make_a_container_flap() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), "127.70.11.0/24").await;
    let path = dir.path().join("shim");
    let id = start(&runtime, "full", &shell(&format!("echo $PPID > {}; exec sleep 1000", path.display()))).await;
    let shim = pid(&file(path).await);
    // In the way of the file that is to say how it ended.
    let files = dir.path().join("runtime/containers").join(id.as_str());
    fs::create_dir(files.join("exit.tmp")).unwrap();
    kill_process(shim, Signal::KILL).unwrap();
    let first = exit(&runtime, &id).await;
    assert_eq!((first.exit_code, first.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    assert_eq!(exit(&runtime, &id).await, first, "it ended once");
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), "127.70.12.0/24").await;
    let id = start(&runtime, "read", &shell("exec sleep 1000")).await;
    let state = async || runtime.list(Some("read")).await.unwrap().containers[0].state.clone();
    let before = state().await;
    assert!(before.is_running());
    let exit = dir.path().join("runtime/containers").join(id.as_str()).join("exit.json");
    fs::create_dir(&exit).unwrap();
    assert_eq!(state().await, before);
    fs::remove_dir(&exit).unwrap();
    runtime.remove(&id).await.unwrap();
}

#[tokio::test]
async fn everything_a_container_started_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let away = dir.path().join("away");
    let runtime = open(dir.path(), "127.70.3.0/24").await;
    let script = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {0}; while :; do sleep 1000; done' & while [ ! -s {0} ]; do sleep 0.01; done; exit 5",
        away.display()
    );
    let id = start(&runtime, "tree", &shell(&script)).await;
    assert_eq!(exit(&runtime, &id).await.exit_code, 5);
    assert!(!runs(pid(&file(away).await)));
}

#[tokio::test]
async fn a_stop_can_be_shortened_when_only_descendants_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let away = dir.path().join("away");
    let runtime = open(dir.path(), "127.70.13.0/24").await;
    let script = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {0}; while :; do sleep 1000; done' & while [ ! -s {0} ]; do sleep 0.01; done; \
         echo $$ > {1}; exec sleep 1000",
        away.display(),
        dir.path().join("main").display()
    );
    let id = start(&runtime, "left", &shell(&script)).await;
    let (main, away) = (pid(&file(dir.path().join("main")).await), pid(&file(away).await));
    let slow = async { runtime.stop(&id, Duration::from_secs(3600)).await.unwrap() };
    let hurry = async {
        until("the first process is reaped", async || test_kill_process(main).is_err().then_some(())).await;
        assert!(runs(away), "it has an hour");
        tokio::time::timeout(PATIENCE, runtime.stop(&id, Duration::ZERO)).await.expect("it is killed").unwrap();
    };
    tokio::join!(slow, hurry);
    assert!(!runs(away));
}

#[tokio::test]
async fn a_container_that_ends_harms_none_of_another_runtime() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = open(dirs[0].path(), "127.70.14.0/24").await;
    let two = open(dirs[1].path(), "127.70.15.0/24").await;
    let script = shell("exec sleep 1000");
    let (first, second) = (start(&one, "same", &script).await, start(&two, "same", &script).await);
    assert_eq!(first, second, "ids are unique in one runtime only");
    one.remove(&first).await.unwrap();
    let output = two.exec_sync(&second, &["true".to_owned()], PATIENCE).await.unwrap();
    assert_eq!(output.exit_code, 0);
    assert!(two.list(None).await.unwrap().containers[0].state.is_running());
    two.remove(&second).await.unwrap();
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), "127.70.4.0/24").await;
    let sandbox = runtime.run_sandbox(&SandboxConfig::new(PodIdentity::new("ns", "bad", "bad"), 0)).await.unwrap();
    let cases = [
        ("foo", "exec: \"foo\": executable file not found in $PATH"),
        ("/no/such/file", "exec: \"/no/such/file\": stat /no/such/file: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ];
    for (attempt, (command, message)) in cases.into_iter().enumerate() {
        let mut config = ContainerConfig::new("app", "kore.dev/host");
        config.command = vec![command.into()];
        config.attempt = attempt as u32;
        let id = runtime.create(&sandbox.id, &config).await.unwrap();
        assert_eq!(runtime.start(&id).await, Err(Error::Start(message.into())));
        let exit = exit(&runtime, &id).await;
        assert_eq!((exit.exit_code, exit.reason.as_deref()), (128, Some("StartError")));
        assert_eq!(exit.message.as_deref(), Some(message));
    }
    let mut config = ContainerConfig::new("none", "kore.dev/host");
    config.args = vec![];
    let error = runtime.create(&sandbox.id, &config).await.unwrap_err();
    assert!(error.to_string().contains("no command specified"), "{error}");
}

#[tokio::test]
async fn mounts_are_where_the_container_expects_them() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("greeting"), "hello\n").unwrap();
    let message = dir.path().join("message");
    fs::write(&message, "").unwrap();
    let runtime = open(dir.path(), "127.70.5.0/24").await;
    let mut config = shell(
        "cat $KORE_ROOT/etc/kore-test-volume/greeting; echo no > $KORE_ROOT/etc/kore-test-volume/x; echo bye > $KORE_ROOT/dev/termination-log; \
         ls $KORE_ROOT/etc | grep -c . ; test -w /dev/null && echo null",
    );
    config.log_path = dir.path().join("log");
    config.mounts = vec![
        Mount::new(&volume, "/etc/kore-test-volume").read_only(true),
        Mount::new(&message, "/dev/termination-log"),
    ];
    let id = start(&runtime, "mounts", &config).await;
    let exit = exit(&runtime, &id).await;
    let log = fs::read_to_string(&config.log_path).unwrap();
    assert_eq!(exit.exit_code, 0, "{log}");
    assert!(log.contains("F hello\n") && log.contains("F null\n"), "{log}");
    assert_eq!(fs::read_to_string(&message).unwrap(), "bye\n");
    assert!(!Path::new("/etc/kore-test-volume").exists(), "nothing is made on the machine");
}

#[tokio::test]
async fn exec_runs_beside_the_container_and_is_bounded_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("f"), "seen\n").unwrap();
    let runtime = open(dir.path(), "127.70.6.0/24").await;
    let mut config = shell("exec sleep 1000");
    config.env = vec![("COLOUR".into(), "blue".into())];
    config.mounts = vec![Mount::new(&volume, "/kore-test/deep/volume")];
    let id = start(&runtime, "exec", &config).await;
    let run = |script: &str| ["sh", "-c", script].map(String::from);
    let output = runtime
        .exec_sync(&id, &run("cat $KORE_ROOT/kore-test/deep/volume/f; echo $COLOUR; echo e >&2; exit 4"), PATIENCE)
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "seen\nblue\n");
    assert_eq!((output.stderr.as_slice(), output.exit_code), (&b"e\n"[..], 4));
    // The shell waits for a process of its own: it is not enough to kill the shell.
    let path = |name: &str| dir.path().join(name);
    let slow = |name: &str| run(&format!("sleep 1000 & echo $! > {}; wait; true", path(name).display()));
    let late = runtime.exec_sync(&id, &slow("late"), Duration::from_secs(1)).await;
    assert!(matches!(late, Err(Error::DeadlineExceeded { .. })), "{late:?}");
    let late = pid(&file(path("late")).await);
    until("what was late is killed", async || (!runs(late)).then_some(())).await;
    let slow = slow("dropped");
    tokio::select! {
        biased;
        _ = runtime.exec_sync(&id, &slow, PATIENCE) => panic!("it never ends"),
        _ = file(path("dropped")) => {}
    }
    let dropped = pid(&file(path("dropped")).await);
    until("what nobody waits for is killed", async || (!runs(dropped)).then_some(())).await;
    runtime.remove(&id).await.unwrap();
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), "127.70.10.0/24").await;
    let id = start(&runtime, "hook", &shell("exec sleep 1000")).await;
    let left = dir.path().join("left");
    let script = format!("setsid sleep 1000 > /dev/null 2>&1 & echo $! > {}", left.display());
    let output = runtime.exec_sync(&id, &["sh", "-c", &script].map(String::from), PATIENCE).await.unwrap();
    assert_eq!(output.exit_code, 0);
    let left = pid(&file(left).await);
    assert!(runs(left), "a hook may start a daemon");
    runtime.stop(&id, Duration::ZERO).await.unwrap();
    until("the daemon is gone", async || (!runs(left)).then_some(())).await;
}

#[tokio::test]
async fn the_end_of_a_container_is_told() {
    use futures::StreamExt;
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), "127.70.7.0/24").await;
    let mut events = runtime.events().unwrap();
    start(&runtime, "told", &shell("exit 0")).await;
    let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    assert_eq!(event.pod_uid.as_deref(), Some("told"));
    assert!(runtime.list(Some("told")).await.unwrap().containers[0].state.exit().is_some());
}

#[tokio::test]
async fn a_directory_is_used_by_one_agent_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), "127.70.8.0/24").await;
    let shim = Shim::path(env!("CARGO_BIN_EXE_kore-shim")).unwrap();
    let second = NativeRuntime::builder(dir.path().join("runtime"), shim.clone()).open().await;
    assert!(second.unwrap_err().to_string().contains("in use by another agent"));
    drop(first);
    fs::write(dir.path().join("runtime/format"), "2").unwrap();
    let newer = NativeRuntime::builder(dir.path().join("runtime"), shim).open().await;
    assert!(newer.unwrap_err().to_string().contains("newer"));
    assert!(Shim::this_binary().unwrap_err().to_string().contains("shim::init()"));
}

#[tokio::test]
async fn a_stopped_sandbox_stays_stopped_for_the_next_agent() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), "127.70.9.0/30").await;
    let config = SandboxConfig::new(PodIdentity::new("ns", "s", "s"), 0);
    let sandbox = first.run_sandbox(&config).await.unwrap();
    first.stop_sandbox(&sandbox.id).await.unwrap();
    drop(first);
    let second = open(dir.path(), "127.70.9.0/30").await;
    assert_eq!(second.list(None).await.unwrap().sandboxes[0].state, SandboxState::NotReady);
    for uid in ["x", "y"] {
        second.run_sandbox(&SandboxConfig::new(PodIdentity::new("ns", uid, uid), 0)).await.unwrap();
    }
}

/// Only root can become another user; whoever else is asked to says so.
#[tokio::test]
async fn a_container_runs_as_the_user_it_asks_for_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = open(dir.path(), "127.88.0.0/16").await;
    let own = rustix::process::geteuid().as_raw();
    let mut config = shell("echo $(id -u) $(id -g) $(id -G); sleep 1000; true");
    (config.user, config.group, config.supplemental_groups) = (Some(65_534), Some(65_533), vec![12_345]);
    config.log_path = dir.path().join("log");
    if own != 0 {
        let sandbox = SandboxConfig::new(PodIdentity::new("ns", "u", "u"), 0);
        let sandbox = runtime.run_sandbox(&sandbox).await.unwrap();
        let error = runtime.create(&sandbox.id, &config).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(message) if message.contains("65534")), "{error}");
        return;
    }
    let id = start(&runtime, "u", &config).await;
    let log = file(config.log_path.clone()).await;
    assert!(log.contains("stdout F 65534 65533 65533 12345\n"), "{log}");
    let command = ["id", "-u"].map(String::from);
    let output = runtime.exec_sync(&id, &command, PATIENCE).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "65534\n");
    // A shim that is killed takes its container along, whoever that is.
    let status =
        fs::read_to_string(dir.path().join("runtime/containers").join(id.as_str()).join("started.json")).unwrap();
    let started: serde_json::Value = serde_json::from_str(&status).unwrap();
    let program = Pid::from_raw(started["pid"].as_i64().unwrap() as i32).unwrap();
    let parent = fs::read_to_string(format!("/proc/{}/stat", program.as_raw_nonzero())).unwrap();
    let shim = parent.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap();
    kill_process(pid(shim), Signal::KILL).unwrap();
    until("the container has ended with its shim", async || (!runs(program)).then_some(())).await;
    runtime.remove(&id).await.unwrap();
}
