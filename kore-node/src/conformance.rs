//! What every [`Runtime`] must do, as a suite that any implementation can be run against.
//!
//! ```
//! use std::sync::Arc;
//! use kore_node::{conformance::{self, Act, Subject}, runtime::*, task::TaskRuntime};
//!
//! struct Tasks(Arc<TaskRuntime>);
//!
//! impl Subject for Tasks {
//!     fn runtime(&self) -> Arc<dyn Runtime> {
//!         self.0.clone()
//!     }
//!     fn container(&self, act: Act) -> ContainerConfig {
//!         let mut config = ContainerConfig::new("app", "act");
//!         config.args = vec![format!("{act:?}")];
//!         config
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let (runtime, run) = TaskRuntime::builder(kore_api::Clock::system())
//!     .image("act", async |task| match task.args().next() {
//!         Some("Exit7") => 7,
//!         Some("Print") => {
//!             task.log(conformance::LINE);
//!             0
//!         }
//!         Some("UntilStopped") => {
//!             task.log(conformance::LINE);
//!             task.stopped().await;
//!             0
//!         }
//!         _ => {
//!             task.log(conformance::LINE);
//!             std::future::pending().await
//!         }
//!     })
//!     .open()
//!     .unwrap();
//! let (subject, dir) = (Tasks(Arc::new(runtime)), tempfile::tempdir().unwrap());
//! tokio::select! {
//!     biased;
//!     result = conformance::check(&subject, dir.path()) => result.unwrap(),
//!     () = run => unreachable!(),
//! }
//! # }
//! ```

use std::{path::Path, sync::Arc, time::Duration};

use crate::runtime::{
    ContainerConfig, ContainerId, ContainerStatus, Error, PodIdentity, Runtime, SandboxConfig, SandboxState,
    SandboxStatus,
};

/// What containers of the suite print.
pub const LINE: &str = "conformance says hello";

/// What a container of the suite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Exits at once with code 7.
    Exit7,
    /// Prints [`LINE`] and a newline, and exits with code 0.
    Print,
    /// Prints [`LINE`] when it can be asked to stop, and exits with code 0 when it is.
    UntilStopped,
    /// Prints [`LINE`] when nothing can stop it any more but a kill.
    Forever,
}

/// A runtime under test.
pub trait Subject: Send + Sync {
    /// The runtime.
    fn runtime(&self) -> Arc<dyn Runtime>;
    /// A container that does this; the suite sets name, attempt, labels and log path.
    fn container(&self, act: Act) -> ContainerConfig;
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{promise}: {found}")]
#[non_exhaustive]
pub struct Violation {
    /// What must hold.
    pub promise: &'static str,
    /// What happened instead.
    pub found: String,
}

type Checked = Result<(), Violation>;

/// How long anything may take that is not a wait the suite asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the whole suite. `scratch` is an empty directory for logs.
///
/// # Errors
/// The first promise the runtime does not keep.
pub async fn check(subject: &dyn Subject, scratch: &Path) -> Checked {
    let suite = Suite { subject, scratch, runtime: subject.runtime() };
    suite.sandboxes_are_idempotent_and_have_addresses().await?;
    suite.identity_is_kept().await?;
    suite.nothing_is_created_or_started_twice().await?;
    suite.exits_and_logs_are_kept().await?;
    suite.stop_asks_then_kills().await?;
    suite.stopping_a_sandbox_ends_everything_in_it().await?;
    suite.what_is_unknown_is_said_to_be().await
}

struct Suite<'a> {
    subject: &'a dyn Subject,
    scratch: &'a Path,
    runtime: Arc<dyn Runtime>,
}

fn must(promise: &'static str, holds: bool, found: impl std::fmt::Debug) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(Violation { promise, found: format!("{found:?}") }),
    }
}

/// For calls that must succeed.
trait Works<T> {
    fn works(self, call: &'static str) -> Result<T, Violation>;
}

impl<T> Works<T> for Result<T, Error> {
    fn works(self, call: &'static str) -> Result<T, Violation> {
        self.map_err(|error| Violation { promise: call, found: error.to_string() })
    }
}

impl Suite<'_> {
    async fn sandbox(&self, uid: &str) -> Result<SandboxStatus, Violation> {
        let config = SandboxConfig::new(PodIdentity::new("ns", format!("pod-{uid}"), uid), 0);
        self.runtime.run_sandbox(&config).await.works("run_sandbox works")
    }

    fn config(&self, uid: &str, act: Act) -> ContainerConfig {
        let mut config = self.subject.container(act);
        config.labels = [("kept".to_owned(), uid.to_owned())].into();
        config.log_path = self.scratch.join(format!("{uid}.log"));
        config
    }

    async fn started(&self, uid: &str, act: Act) -> Result<ContainerId, Violation> {
        let sandbox = self.sandbox(uid).await?;
        let config = self.config(uid, act);
        let id = self.runtime.create(&sandbox.id, &config).await.works("create works")?;
        self.runtime.start(&id).await.works("start works")?;
        if matches!(act, Act::UntilStopped | Act::Forever) {
            self.has_printed(&config.log_path).await?;
        }
        Ok(id)
    }

    /// Waits until the container says that it is as far as its act demands.
    async fn has_printed(&self, log: &Path) -> Checked {
        let look = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !std::fs::read_to_string(log).is_ok_and(|text| text.contains(LINE)) {
                tick.tick().await;
            }
        };
        let late = |_| Violation {
            promise: "what a running container prints is in its log",
            found: log.display().to_string(),
        };
        tokio::time::timeout(PATIENCE, look).await.map_err(late)
    }

    async fn listed(&self, id: &ContainerId) -> Result<ContainerStatus, Violation> {
        let listing = self.runtime.list(None).await.works("list works")?;
        let found = listing.containers.into_iter().find(|container| container.id == *id);
        found.ok_or_else(|| Violation { promise: "what was not removed is listed", found: id.to_string() })
    }

    async fn exited(&self, id: &ContainerId) -> Result<i32, Violation> {
        let look = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                if let Some(exit) = self.listed(id).await?.state.exit() {
                    return Ok(exit.exit_code);
                }
            }
        };
        let late = |_| Violation { promise: "a container that ends is listed as exited", found: id.to_string() };
        tokio::time::timeout(PATIENCE, look).await.map_err(late)?
    }

    async fn forget(&self, uid: &str) -> Checked {
        let sandbox = self.sandbox(uid).await?;
        let removed = self.runtime.remove_sandbox(&sandbox.id).await;
        removed.works("remove_sandbox works")?;
        let left = self.runtime.list(Some(uid)).await.works("list works")?;
        let empty = left.sandboxes.is_empty() && left.containers.is_empty();
        must("a removed sandbox is gone with its containers", empty, left)
    }

    async fn sandboxes_are_idempotent_and_have_addresses(&self) -> Checked {
        let (first, again) = (self.sandbox("a").await?, self.sandbox("a").await?);
        must("run_sandbox is idempotent on uid and attempt", first == again, (&first, &again))?;
        let other = self.sandbox("b").await?;
        let differ = !first.addresses.is_empty() && first.addresses != other.addresses;
        must("every pod has an address of its own", differ, &other)?;
        let mut config = SandboxConfig::new(first.pod.clone(), 1);
        config.labels = [("kept".to_owned(), "yes".to_owned())].into();
        let next = self.runtime.run_sandbox(&config).await;
        let next = next.works("run_sandbox works")?;
        must("another attempt is another sandbox", next.id != first.id, &next)?;
        must("labels are kept", next.labels == config.labels, &next)?;
        let removed = self.runtime.remove_sandbox(&next.id).await;
        removed.works("remove_sandbox works")?;
        self.forget("a").await?;
        self.forget("b").await
    }

    async fn identity_is_kept(&self) -> Checked {
        let id = self.started("identity", Act::UntilStopped).await?;
        let listed = self.listed(&id).await?;
        let config = self.config("identity", Act::UntilStopped);
        let kept = listed.pod == PodIdentity::new("ns", "pod-identity", "identity")
            && (&listed.name, listed.attempt) == (&config.name, config.attempt)
            && listed.labels == config.labels
            && listed.log_path == config.log_path;
        must("identity and labels are listed as created", kept, &listed)?;
        must("a started container is listed as running", listed.state.is_running(), &listed)?;
        let others = self.runtime.list(Some("nobody")).await.works("list works")?;
        let none = others.containers.is_empty() && others.sandboxes.is_empty();
        must("a list of one pod holds no other's", none, others)?;
        self.forget("identity").await
    }

    async fn nothing_is_created_or_started_twice(&self) -> Checked {
        let id = self.started("twice", Act::UntilStopped).await?;
        let sandbox = self.sandbox("twice").await?;
        let config = self.config("twice", Act::UntilStopped);
        let created = self.runtime.create(&sandbox.id, &config).await;
        must("creating twice is AlreadyExists", matches!(&created, Err(error) if error.is_already_exists()), created)?;
        let started = self.runtime.start(&id).await;
        must("starting twice is AlreadyExists", matches!(&started, Err(error) if error.is_already_exists()), started)?;
        let stopped = self.runtime.stop(&id, PATIENCE).await;
        stopped.works("stop works")?;
        let started = self.runtime.start(&id).await;
        must("what has exited is not started again", started.is_err(), started)?;
        self.forget("twice").await
    }

    async fn exits_and_logs_are_kept(&self) -> Checked {
        let id = self.started("exit", Act::Exit7).await?;
        let code = self.exited(&id).await?;
        must("the exit code is kept", code == 7, code)?;
        let id = self.started("print", Act::Print).await?;
        let code = self.exited(&id).await?;
        must("the exit code is kept", code == 0, code)?;
        let log = std::fs::read_to_string(self.scratch.join("print.log")).unwrap_or_default();
        let parts: Vec<&str> = log.trim_end().splitn(4, ' ').collect();
        let good = matches!(parts[..], [time, "stdout", "F", LINE] if time.ends_with('Z'));
        must("the log is there before the exit, in CRI format", good, &log)?;
        self.runtime.remove(&id).await.works("remove works")?;
        self.runtime.remove(&id).await.works("removing what is gone works")?;
        let kept = self.scratch.join("print.log").exists();
        must("a removed container's log stays", kept, &log)?;
        self.forget("exit").await?;
        self.forget("print").await
    }

    async fn stop_asks_then_kills(&self) -> Checked {
        let id = self.started("polite", Act::UntilStopped).await?;
        let stopped = self.runtime.stop(&id, PATIENCE).await;
        stopped.works("stop works")?;
        let state = self.listed(&id).await?.state;
        let asked = state.exit().is_some_and(|exit| exit.exit_code == 0);
        must("a container that ends when asked is not killed", asked, state)?;
        self.runtime.stop(&id, PATIENCE).await.works("stopping what has exited works")?;

        let id = self.started("deaf", Act::Forever).await?;
        let long = self.runtime.stop(&id, Duration::from_secs(3600));
        let short = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.runtime.stop(&id, Duration::from_millis(50)).await
        };
        let both = async { tokio::join!(long, short) };
        let late =
            |_| Violation { promise: "a second stop with a shorter grace shortens the first", found: id.to_string() };
        let (long, short) = tokio::time::timeout(PATIENCE, both).await.map_err(late)?;
        long.works("stop works")?;
        short.works("stop works")?;
        let state = self.listed(&id).await?.state;
        let killed = state.exit().is_some_and(|exit| exit.exit_code == 137);
        must("a container that does not end is killed", killed, state)?;
        self.forget("polite").await?;
        self.forget("deaf").await
    }

    async fn stopping_a_sandbox_ends_everything_in_it(&self) -> Checked {
        let id = self.started("whole", Act::Forever).await?;
        let sandbox = self.sandbox("whole").await?;
        for _ in 0..2 {
            let stopped = self.runtime.stop_sandbox(&sandbox.id).await;
            stopped.works("stop_sandbox works, also twice")?;
        }
        let state = self.listed(&id).await?.state;
        must("stopping a sandbox ends its containers", state.exit().is_some(), state)?;
        let listing = self.runtime.list(Some("whole")).await.works("list works")?;
        let dead = listing.sandboxes.len() == 1 && listing.sandboxes[0].state == SandboxState::NotReady;
        must("a stopped sandbox is listed as not ready", dead, listing)?;
        let mut config = self.config("whole", Act::Forever);
        config.attempt = 1;
        let created = self.runtime.create(&sandbox.id, &config).await;
        must("nothing is created in a stopped sandbox", created.is_err(), created)?;
        self.forget("whole").await
    }

    async fn what_is_unknown_is_said_to_be(&self) -> Checked {
        let sandbox = crate::runtime::SandboxId::new("nobody");
        let config = self.config("nobody", Act::Exit7);
        let created = self.runtime.create(&sandbox, &config).await;
        must("an unknown sandbox is NotFound", matches!(&created, Err(error) if error.is_not_found()), created)?;
        let container = ContainerId::new("nobody");
        let started = self.runtime.start(&container).await;
        must(
            "starting an unknown container is NotFound",
            matches!(&started, Err(error) if error.is_not_found()),
            started,
        )?;
        let stopped = self.runtime.stop(&container, PATIENCE).await;
        stopped.works("stopping what is unknown works")?;
        let removed = self.runtime.remove_sandbox(&sandbox).await;
        removed.works("removing what is unknown works")?;
        let images = self.runtime.images();
        let image = "registry.invalid/nobody/has:this";
        let known = images.status(image).await.works("images.status works")?;
        must("an unknown image is not present", known.is_none(), known)?;
        let pulled = images.pull(image, None).await;
        must(
            "an image that cannot be pulled is NotFound and named",
            matches!(&pulled, Err(error) if error.is_not_found() && error.to_string().contains(image)),
            pulled,
        )
    }
}
