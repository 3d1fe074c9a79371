//! Warnings of slow calls.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{Around, CANCELLED, Layer, Layered, Request, outcome};
use crate::layer::Answer;
use crate::{Result, Store};

/// Warns (`tracing`) of every call that takes longer than a threshold: which, about which key, how many keys were read or
/// written at which revision, how it ended, and how long it took. A call that is given up counts from its beginning until
/// then.
///
/// ```
/// use std::time::Duration;
///
/// use kore_store::layer::{Latency, Layer};
/// use kore_store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = Latency::new(Duration::from_millis(250)).layer(MemoryStore::new());
/// # let _ = store;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Latency {
    threshold: Duration,
}

impl Latency {
    /// Warns of calls that take longer than this. etcd's own threshold is 100 ms.
    pub fn new(threshold: Duration) -> Latency {
        Latency { threshold }
    }
}

impl<S> Layer<S> for Latency {
    type Service = Layered<S, Latency>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered::new(inner, self.clone())
    }
}

impl Around for Latency {
    async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
        let call = request.call();
        let key = call.first_key().map(|key| String::from_utf8_lossy(key).into_owned());
        let mut timed = Timed {
            call: call.name(),
            key: key.unwrap_or_default(),
            begun: Instant::now(),
            threshold: self.threshold,
            outcome: CANCELLED,
            keys: None,
            revision: None,
        };
        let answer = request.send(store).await;
        timed.outcome = outcome(&answer);
        if let Ok(answer) = &answer {
            timed.keys = answer.reply().keys();
            timed.revision = answer.reply().revision();
        }
        answer
    }
}

/// A call, from its beginning until it is answered or given up.
struct Timed {
    call: &'static str,
    key: String,
    begun: Instant,
    threshold: Duration,
    outcome: &'static str,
    keys: Option<u64>,
    revision: Option<u64>,
}

impl Drop for Timed {
    fn drop(&mut self) {
        let elapsed = self.begun.elapsed();
        if elapsed > self.threshold {
            let Timed { call, key, outcome, keys, revision, .. } = self;
            let elapsed_ms = elapsed.as_secs_f64() * 1e3;
            warn!(call, key, keys, revision, outcome, elapsed_ms, "a call to the store was slow");
        }
    }
}
