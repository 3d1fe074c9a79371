//! How the process is told to end: by Ctrl-C (SIGINT), or by whoever looks after it (SIGTERM).

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears both from when it is made on: what comes before anybody asks is not lost.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the process may not.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns when the process is told to end.
    pub(crate) async fn told_to_end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Ends what is done to end in order, unless the process is told once more: then at once.
    ///
    /// # Errors
    /// When it was told once more.
    pub(crate) async fn unless_told_again<T>(&mut self, ending: impl Future<Output = T>) -> Result<T, &'static str> {
        tokio::select! {
            ended = ending => Ok(ended),
            () = self.told_to_end() => Err("told to end at once: workloads may go on"),
        }
    }
}
