use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
};

use super::Inner;
use crate::{
    log::LogWriter,
    runtime::{ContainerId, ContainerState, Exit},
};

/// A container to be run.
pub(super) struct Start {
    pub(super) id: ContainerId,
    pub(super) future: BoxFuture<'static, i32>,
    pub(super) log: Arc<Mutex<LogWriter>>,
    pub(super) kill: watch::Receiver<bool>,
    pub(super) started: oneshot::Sender<()>,
}

/// Runs containers, each a task, for ever. Dropping this future ends them.
pub(super) async fn run(inner: Arc<Inner>, mut starts: mpsc::Receiver<Start>) {
    let mut tasks: JoinSet<Ended> = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => match ended {
                Ok(ended) => inner.ended(ended),
                // `live` catches panics: this is a task that was cancelled with its tokio runtime.
                Err(error) => tracing::debug!(%error, "a container's task was cancelled"),
            },
            Some(start) = starts.recv() => {
                inner.started(&start.id);
                let _ = start.started.send(());
                tasks.spawn(live(start.id, start.future, start.log, start.kill));
            }
            // The sender is in `inner`, which this future holds.
            else => return,
        }
    }
}

struct Ended {
    id: ContainerId,
    exit: Exit,
    log: Arc<Mutex<LogWriter>>,
}

/// A container's life.
async fn live(
    id: ContainerId,
    future: BoxFuture<'static, i32>,
    log: Arc<Mutex<LogWriter>>,
    mut kill: watch::Receiver<bool>,
) -> Ended {
    let mut task: JoinSet<i32> = JoinSet::new();
    task.spawn(future);
    let result = tokio::select! {
        biased;
        // An error: the container was forgotten.
        _ = kill.wait_for(|kill| *kill) => None,
        result = task.join_next() => result,
    };
    let exit = match result {
        Some(result) => exit(result),
        None => {
            task.shutdown().await;
            Exit { signal: Some(9), ..Exit::code(137) }
        }
    };
    Ended { id, exit, log }
}

fn exit(result: Result<i32, JoinError>) -> Exit {
    match result {
        Ok(code) => Exit::code(code),
        Err(error) => Exit { message: Some(error.to_string()), ..Exit::code(101) },
    }
}

impl Inner {
    fn started(&self, id: &ContainerId) {
        let started_at = self.clock.now();
        if let Some(container) = self.state().containers.get_mut(id) {
            container.status.state = ContainerState::Running { started_at };
        }
    }

    fn ended(&self, ended: Ended) {
        let finished_at = self.clock.now();
        let mut log = ended.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.finish(finished_at);
        let mut state = self.state();
        let Some(container) = state.containers.get_mut(&ended.id) else {
            return;
        };
        let started_at = match container.status.state {
            ContainerState::Running { started_at } => Some(started_at),
            _ => None,
        };
        container.status.state =
            ContainerState::Exited(Exit { started_at, finished_at: Some(finished_at), ..ended.exit });
        container.over.send_replace(true);
        let _ = self.events.send(container.status.pod.uid.clone());
    }
}
