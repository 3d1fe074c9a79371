//! Components that end right after a write.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::client::{Client, Transport};
use crate::error::Error;
use crate::request::{Request, Response};

/// A place to crash: counts the writes of a component, and lets it go no further than its n-th.
///
/// That write takes effect, and its answer never arrives; nor does any other from then on. [`CrashPoint::run`] ends there, and drops the
/// component with whatever it was doing. Opening the component anew then shows whether it recovers. Only writes that the server
/// accepted count.
///
/// ```
/// use kore_api::client::Client;
/// use kore_api::simulation::CrashPoint;
///
/// /// Runs a component that dies after its third write, and then a new one.
/// async fn killed_once<F: Future<Output = ()>>(client: &Client, open: impl Fn(Client) -> F) {
///     let crash = CrashPoint::after(3);
///     crash.run(open(crash.client(client))).await;
///     open(client.clone()).await;
/// }
/// ```
#[derive(Clone)]
pub struct CrashPoint {
    state: Arc<State>,
}

struct State {
    after: u64,
    writes: AtomicU64,
    crashed: watch::Sender<bool>,
}

impl CrashPoint {
    /// A crash after so many writes, at least one.
    pub fn after(writes: u64) -> Self {
        let state = State { after: writes.max(1), writes: AtomicU64::new(0), crashed: watch::Sender::new(false) };
        Self { state: Arc::new(state) }
    }

    /// No crash at all: for counting.
    pub fn never() -> Self {
        Self::after(u64::MAX)
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.state.writes.load(Ordering::Relaxed)
    }

    /// Whether it has come to the crash.
    pub fn is_reached(&self) -> bool {
        *self.state.crashed.borrow()
    }

    /// Waits for the crash.
    pub async fn reached(&self) {
        let mut crashed = self.state.crashed.subscribe();
        // The sender is in `state`, which `self` holds.
        let _ = crashed.wait_for(|crashed| *crashed).await;
    }

    /// Runs a component until it ends (its output) or crashes (`None`). On a crash it has been dropped when this returns.
    pub async fn run<F: Future>(&self, component: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.reached() => None,
            output = component => Some(output),
        }
    }

    /// The same identity at the same server, with its writes counted.
    pub fn client(&self, inner: &Client) -> Client {
        let transport = Counting { inner: inner.clone(), state: self.state.clone() };
        Client::new(transport, *inner.clock(), inner.entropy().clone())
    }
}

impl fmt::Debug for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashPoint({} of {} writes)", self.writes(), self.state.after)
    }
}

struct Counting {
    inner: Client,
    state: Arc<State>,
}

#[async_trait]
impl Transport for Counting {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let is_write = !request.verb.is_read() && !request.options.dry_run;
        let state = &self.state;
        if *state.crashed.borrow() {
            return pending().await;
        }
        let answer = self.inner.call(request).await;
        if is_write && answer.is_ok() && !*state.crashed.borrow() {
            let writes = state.writes.fetch_add(1, Ordering::Relaxed) + 1;
            if writes >= state.after {
                state.crashed.send_replace(true);
            }
        }
        if *state.crashed.borrow() {
            return pending().await;
        }
        answer
    }
}
