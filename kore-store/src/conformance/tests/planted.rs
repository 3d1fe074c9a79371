//! Bugs planted in stores and in watches are found in the histories that they leave, each as what it is.

use std::collections::BTreeMap;

use crate::conformance::broken::{Broken, Fault};
use crate::conformance::{Property, Workload};
use crate::{Entropy, MemoryStore};

/// What a fault is found as, over some seeds.
async fn found(fault: Fault) -> BTreeMap<Property, usize> {
    let mut found = BTreeMap::new();
    for seed in 0..20 {
        let store = Broken::new(MemoryStore::new(), fault);
        if let Err(violation) = Workload::default().run(&store, Entropy::seeded(seed)).await {
            *found.entry(violation.property).or_default() += 1;
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn planted_bugs_are_found_in_nearly_every_history() {
    use Property::*;
    for (fault, properties, least) in [
        (Fault::StaleRead, [RealTime].as_slice(), 18),
        (Fault::LyingRead, &[Answer], 18),
        (Fault::LostUpdate, &[Revision], 18),
        (Fault::DirtyRead, &[Explained], 18),
        (Fault::RepeatedRevision, &[Revision], 18),
        (Fault::IgnoredComparison, &[Answer], 18),
        (Fault::BlindReads, &[Answer], 18),
        (Fault::SplitNested, &[Explained], 18),
        (Fault::ForgottenHistory, &[Answer], 18),
        (Fault::SplitTransaction, &[Atomic], 18),
        (Fault::SkippedBatch, &[Reliable, Bookmarkable], 18),
        (Fault::RepeatedBatch, &[Unique], 18),
        (Fault::WrongPrevious, &[PreviousValue], 18),
        (Fault::WrongCreation, &[IsCreate], 18),
        (Fault::IgnoredFilters, &[Filter], 18),
        (Fault::SkippedWhenResumed, &[Resumable, Bookmarkable], 18),
        (Fault::EagerProgress, &[Bookmarkable], 18),
        (Fault::EarlyProgress, &[Bookmarkable, RealTime], 18),
        // Only where somebody reads what was compacted.
        (Fault::IgnoredCompaction, &[Compaction], 3),
        (Fault::LostBoundary, &[Compaction], 3),
    ] {
        let found = found(fault).await;
        println!("{fault:?}: {found:?}");
        let right: usize = properties.iter().filter_map(|property| found.get(property)).sum();
        assert!(right >= least, "{fault:?} in 20 histories: {found:?}");
        assert_eq!(found.values().sum::<usize>(), right, "{fault:?}: {found:?}");
    }
}
