//! Stores that are broken on purpose: a suite that passes them checks nothing.
//!
//! - here: the faults, and the check that must reject each
//! - `store`: what goes wrong when the store is called
//! - `watch`: what goes wrong on a watch
//!
//! Faults that show only after a crash are in [`crash`](super::crash).

mod store;
mod watch;

pub use store::Broken;

/// In which way a [`Broken`] store is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A pair that is read has always been written once.
    ForgottenVersion,
    /// A third of all writes are answered with the revision of the one before.
    RepeatedRevision,
    /// A deletion always deleted something, as its answer has it.
    BoastfulDeletion,
    /// Comparisons are not made.
    IgnoredComparison,
    /// "Less" is taken for "not equal".
    LooseRelation,
    /// A refused compare-and-put does not tell what the key holds.
    SilentConflict,
    /// A list tells keys that do not belong to it.
    LooseRange,
    /// A list that is cut short counts what it tells.
    CountedPage,
    /// Reads at an old revision see the current one.
    ForgottenHistory,
    /// Pages at an old revision see the current one.
    DriftingPages,
    /// Reads within a transaction do not see what it wrote.
    BlindReads,
    /// A refused transaction has done what came before the refusal.
    HalfDone,
    /// Nested transactions are done one after the other, each at a revision of its own.
    SplitNested,
    /// A transaction that writes a key twice is not refused when one of the writes is nested.
    NestedTwice,
    /// Every fifth read sees what was current a moment ago, and says so.
    StaleRead,
    /// Every fifth read sees what was current a moment ago, and says that it is current.
    LyingRead,
    /// Every eleventh write is answered and not done.
    LostUpdate,
    /// Every seventh write is shown to readers before it is durable, and fails then.
    DirtyRead,
    /// A watch tells the keys of one revision one by one.
    SplitTransaction,
    /// A watch leaves out every seventh batch.
    SkippedBatch,
    /// A watch that is behind leaves out every fiftieth batch.
    SkippedWhenBehind,
    /// A watch that begins in the past leaves out its first batch.
    SkippedWhenResumed,
    /// A watch tells every fifth batch twice.
    RepeatedBatch,
    /// A watch tells what a key holds now as what it held before.
    WrongPrevious,
    /// A watch tells every write as a creation.
    WrongCreation,
    /// A watch tells of deletions and writes, whatever it was asked.
    IgnoredFilters,
    /// A watch of one key tells of all that begin so.
    LooseWatch,
    /// A watch from a revision to come begins now.
    EagerWatch,
    /// A watch that is a thousand revisions behind is told that they have been compacted.
    ImpatientWatch,
    /// A watch tells progress as soon as it is asked, further than the store has come.
    EarlyProgress,
    /// A watch tells progress to the current revision as soon as it is asked, whatever it has told until then: as etcd 3.4
    /// does (etcd#15220).
    EagerProgress,
    /// A watch that tells progress unasked tells the current revision, whatever it has told until then (kine#731).
    UnaskedProgress,
    /// A watch never tells progress unasked.
    SilentProgress,
    /// A watch begins at the oldest revision there is instead of saying that the one asked for has been compacted.
    SilentGap,
    /// A watch that a compaction overtakes goes on behind it.
    SilentSkip,
    /// A watch that waits is told of every compaction behind where it began.
    JumpyWatch,
    /// A watch from the compacted revision is not told what was deleted there.
    LostDeletion,
    /// The compacted revision cannot be read.
    LostBoundary,
    /// A compaction does nothing.
    IgnoredCompaction,
    /// Writes wait for watchers that do not read.
    WaitsForWatchers,
    /// Leases end, and leave their keys.
    OrphanedKeys,
    /// Keeping a lease alive does not.
    DeafLeases,
    /// A key stays attached to its lease when it is written without one.
    StickyLeases,
    /// A snapshot is of the beginning, and empty.
    EmptySnapshot,
}

impl Fault {
    /// Every fault, and a check that must reject it. Every check rejects one.
    pub const ALL: &[(Fault, &str)] = &[
        (Fault::ForgottenVersion, "what is written is read back, with its revisions and version"),
        (Fault::RepeatedRevision, "every write takes the next revision, and nothing else does"),
        (Fault::BoastfulDeletion, "a deleted key is gone, and begins anew when it is written again"),
        (Fault::IgnoredComparison, "of several writers that compare, exactly one wins each round"),
        (Fault::SilentConflict, "a key is put or deleted as its caller knew it, or its caller is told what it holds"),
        (Fault::LooseRange, "a range selects and orders keys, limits, counts, and leaves out what it is told to"),
        (Fault::CountedPage, "a range selects and orders keys, limits, counts, and leaves out what it is told to"),
        (Fault::ForgottenHistory, "an old revision is read as it was, a future one is an error"),
        (Fault::DriftingPages, "paging at a revision is not disturbed by writes"),
        (Fault::LooseRelation, "comparisons hold exactly when they should, also for keys that do not exist"),
        (Fault::BlindReads, "a transaction does one of its branches, in order, at one revision"),
        (Fault::HalfDone, "a refused transaction changes nothing"),
        (Fault::SplitNested, "a nested transaction compares before anything is written, and is answered in its place"),
        (
            Fault::NestedTwice,
            "a key that is written twice is refused, also in nested transactions, and nothing is changed",
        ),
        (Fault::StaleRead, "concurrent calls are answered as if made one at a time, and watches tell exactly that"),
        (Fault::LyingRead, "concurrent calls are answered as if made one at a time, and watches tell exactly that"),
        (Fault::LostUpdate, "concurrent calls are answered as if made one at a time, and watches tell exactly that"),
        (Fault::DirtyRead, "concurrent calls are answered as if made one at a time, and watches tell exactly that"),
        (
            Fault::RepeatedRevision,
            "concurrent calls are answered as if made one at a time, and watches tell exactly that",
        ),
        (Fault::SplitTransaction, "a watch tells every change once, in order, a revision never split"),
        (Fault::SkippedBatch, "a watch tells every change once, in order, a revision never split"),
        (Fault::RepeatedBatch, "a watch tells every change once, in order, a revision never split"),
        (Fault::WrongPrevious, "a watch tells every change once, in order, a revision never split"),
        (Fault::WrongCreation, "a watch tells every change once, in order, a revision never split"),
        (Fault::SkippedWhenResumed, "a watch resumes from any revision that is kept"),
        (Fault::LooseWatch, "a watch tells nothing about other keys"),
        (Fault::IgnoredFilters, "a watch leaves out writes or deletions when it is asked to"),
        (Fault::EagerWatch, "a watch may begin at a revision to come"),
        (Fault::SkippedWhenBehind, "a watcher that reads late is told everything"),
        (Fault::ImpatientWatch, "a watcher that reads late is told everything"),
        (Fault::EarlyProgress, "progress is not told before what it covers"),
        (Fault::SilentProgress, "a watch on request tells progress although nothing happens to its keys"),
        (
            Fault::EagerProgress,
            "progress is not told before what it covers to a watch that is behind and asked at once",
        ),
        (Fault::EagerProgress, "progress is not told before what it covers while writes go on, asked or unasked"),
        (Fault::UnaskedProgress, "progress is not told before what it covers while writes go on, asked or unasked"),
        (Fault::LostBoundary, "compacted revisions are not readable, the compacted one and later ones are"),
        (Fault::IgnoredCompaction, "compacted revisions are not readable, the compacted one and later ones are"),
        (
            Fault::SilentGap,
            "a watch begins behind the compacted revision, not before, and at it entirely or not at all",
        ),
        (Fault::LostDeletion, "a deletion at the compacted revision is told, or the watch is refused"),
        (Fault::SilentSkip, "a watcher behind a compaction is told so, and misses nothing before it hears"),
        (Fault::JumpyWatch, "a watch that waits hears nothing of a compaction of what was not for it"),
        (Fault::SilentSkip, "watchers that catch up while the store is compacted miss nothing before they hear of it"),
        (Fault::WaitsForWatchers, "a compaction makes room, and nobody waits for a watcher that does not read"),
        (Fault::IgnoredCompaction, "a compaction makes room, and nobody waits for a watcher that does not read"),
        (Fault::OrphanedKeys, "a lease that ends takes its keys with it, at one revision"),
        (Fault::DeafLeases, "a lease that is kept alive does not end"),
        (Fault::OrphanedKeys, "a revoked lease takes its keys with it, and is gone"),
        (Fault::StickyLeases, "a key that was written again without its lease stays"),
        (Fault::EmptySnapshot, "a snapshot is not empty, and of a revision that was current"),
    ];
}
