//! How the process is told to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns when the process is told to end: by Ctrl-C (SIGINT), or by whoever looks after it (SIGTERM).
pub(crate) async fn told_to_end() {
    let heard = async |kind: SignalKind| match signal(kind) {
        Ok(mut signal) => drop(Signal::recv(&mut signal).await),
        // Then it ends in the way of a program that does not listen.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = heard(SignalKind::interrupt()) => {}
        () = heard(SignalKind::terminate()) => {}
    }
}

/// Ends what is done to end in order, unless the process is told once more: then at once.
///
/// # Errors
/// When it was told once more.
pub(crate) async fn unless_told_again<T>(ending: impl Future<Output = T>) -> Result<T, &'static str> {
    tokio::select! {
        ended = ending => Ok(ended),
        () = told_to_end() => Err("told to end at once: workloads may go on"),
    }
}
