//! Many clients at once.

use super::probe::Probe;
use super::{Outcome, Workload, Wrong, ensure};
use crate::Entropy;

/// How many different runs: a store's own soak does many more.
const SEEDS: u64 = 5;

pub(super) async fn workload(probe: &Probe<'_>) -> Outcome {
    for seed in 0..SEEDS {
        let workload = Workload::default().prefix(probe.key(""));
        let outcome = workload.run(probe.store, Entropy::seeded(seed)).await;
        let summary = outcome.map_err(|violation| Wrong::Found(format!("seed {seed}: {violation}")))?;
        ensure(summary.overlaps > 0, || "no two calls were under way at a time: the store serves one caller".into())?;
    }
    Ok(())
}
