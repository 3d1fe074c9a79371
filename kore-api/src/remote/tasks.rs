//! Connections live as long as the run future.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// Runs what the HTTP client wants to run, until the run future is dropped.
#[derive(Clone)]
pub(super) struct Tasks(Weak<Mutex<JoinSet<()>>>);

impl Tasks {
    pub(super) fn new() -> (Self, impl Future<Output = ()> + Send + use<>) {
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let weak = Arc::downgrade(&tasks);
        let run = async move {
            // Only holds them.
            let _tasks = tasks;
            std::future::pending().await
        };
        (Self(weak), run)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        // After the end of the run future the task is dropped, and with it the connection.
        if let Some(tasks) = self.0.upgrade() {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }
}
