//! Metrics of a store's calls and watches, for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::{Around, CANCELLED, Layer, Layered, Request, outcome, through};
use crate::{Result, Store, Watch, WatchRequest, Watched};

/// Counts and times a store's calls, and counts what its watches tell. The registry is handed in. Clones share the metrics: a
/// registry takes them once, whatever the number of stores.
///
/// | metric | type | labels |
/// |---|---|---|
/// | `kore_store_requests_total` | counter | `call`: the method; `outcome`: `ok`, `cancelled`, or the error: `compacted`, `unavailable`, `outcome_unknown`, … |
/// | `kore_store_request_duration_seconds` | histogram, 100 µs to 13 s | `call` |
/// | `kore_store_watches` | gauge: watches that are open | |
/// | `kore_store_watch_events_total` | counter: events that watches told | |
/// | `kore_store_watch_ends_total` | counter: watches that ended with an error | `outcome` |
///
/// A transaction whose comparisons do not hold is `ok`; `call` is `range` and `txn` also for reads and writes of single
/// keys.
///
/// ```
/// use kore_store::layer::{Layer, Metrics};
/// use kore_store::{MemoryStore, Store};
/// use prometheus_client::encoding::text::encode;
/// use prometheus_client::registry::Registry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut registry = Registry::default();
/// let store = Metrics::new(&mut registry).layer(MemoryStore::new());
/// store.put("greeting".into(), "hello".into()).await?;
///
/// let mut page = String::new();
/// encode(&mut page, &registry)?;
/// assert!(page.contains(r#"kore_store_requests_total{call="txn",outcome="ok"} 1"#));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Metrics {
    families: Arc<Families>,
}

#[derive(Debug)]
struct Families {
    requests: Family<Ended, Counter>,
    durations: Family<Called, Histogram>,
    watches: Gauge,
    watch_events: Counter,
    watch_ends: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Called {
    call: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    /// New metrics, registered here.
    pub fn new(registry: &mut Registry) -> Metrics {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0001, 2.0, 18));
        let families = Families {
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            watches: Gauge::default(),
            watch_events: Counter::default(),
            watch_ends: Family::default(),
        };
        let Families { requests, durations, watches, watch_events, watch_ends } = &families;
        registry.register("kore_store_requests", "Calls to the store that ended", requests.clone());
        let help = "How long calls to the store took";
        registry.register_with_unit("kore_store_request_duration", help, Unit::Seconds, durations.clone());
        registry.register("kore_store_watches", "Watches that are open", watches.clone());
        registry.register("kore_store_watch_events", "Events that watches told", watch_events.clone());
        registry.register("kore_store_watch_ends", "Watches that ended with an error", watch_ends.clone());
        Metrics { families: Arc::new(families) }
    }

    fn count(&self, call: &'static str, outcome: &'static str, took: Duration) {
        self.families.requests.get_or_create(&Ended { call, outcome }).inc();
        self.families.durations.get_or_create(&Called { call }).observe(took.as_secs_f64());
    }
}

impl<S> Layer<S> for Metrics {
    type Service = Layered<S, Metrics>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered::new(inner, self.clone())
    }
}

impl Around for Metrics {
    async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
        let call = request.call().name();
        let mut counted = Counted { metrics: self, call, begun: Instant::now(), outcome: CANCELLED };
        let answer = request.send(store).await;
        counted.outcome = outcome(&answer);
        answer
    }

    fn watch(&self, _request: &WatchRequest, watch: Watch) -> Watch {
        let open = Open::new(self.families.clone());
        through(watch, move |item| {
            match &item {
                Ok(Watched::Batch(batch)) => drop(open.families.watch_events.inc_by(batch.events.len() as u64)),
                Ok(Watched::Progress(_)) => {}
                Err(_) => drop(open.families.watch_ends.get_or_create(&Outcome { outcome: outcome(&item) }).inc()),
            }
            item
        })
    }
}

/// A call, counted when it is answered or given up.
struct Counted<'a> {
    metrics: &'a Metrics,
    call: &'static str,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.count(self.call, self.outcome, self.begun.elapsed());
    }
}

/// A watch that is open.
struct Open {
    families: Arc<Families>,
}

impl Open {
    fn new(families: Arc<Families>) -> Open {
        families.watches.inc();
        Open { families }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.families.watches.dec();
    }
}
