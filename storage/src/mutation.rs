//! Rules of durability that a test can break on purpose, to prove that the crash tests would notice.
//!
//! Without the feature `mutations` every question is answered with a constant `false` and costs nothing.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// A truncation is not made durable before the next append (rule T1).
    NoDurableCut,
    /// A cut moves the log end offset and leaves the bytes behind it.
    CutWithoutZeroing,
    /// What a scan found in the page cache counts as flushed without a flush.
    NoFdatasyncAfterScan,
    /// A recovery that drops an epoch writes no `Trunc` record (rule T2).
    NoTruncRecord,
    /// The recovery scan accepts a leader epoch that falls.
    AcceptDecreasingEpoch,
    /// The recovery scan takes a batch of whatever later epoch.
    AcceptAnyEpoch,
    /// The recovery scan trusts batches whose checksum does not hold.
    SkipChecksum,
    /// The recovery scan does not compare offsets with those due.
    SkipOffsetCheck,
    /// A failed flush does not poison the log: it is tried again.
    RetryFailedFlush,
    /// A start trusts what the page cache shows of a log whose flush failed.
    TrustSuspect,
    /// A flush does not make the name of a segment durable.
    NoDirectorySync,
    /// Producer snapshots above a cut are kept.
    KeepSnapshotsAboveCut,
    /// A start cuts the log at a damaged segment although its extent is known.
    CutToSealedDamage,
    /// A repair takes whatever records another replica sends.
    TakeAnyRepair,
    /// A repaired file takes its place before it is durable.
    RepairNotFlushed,
    /// A repaired file takes its place although the segment was cut or deleted meanwhile.
    RepairTooLate,
    /// Whole records behind a torn one stay in a journal.
    JournalTailNotZeroed,
    /// Rot in a journal is taken for a torn tail.
    JournalRotIsCut,
    /// A journal's snapshot takes over before it is durable.
    SnapshotNotFlushed,
    /// A journal's snapshot is relied upon before its name is durable.
    SnapshotNameNotSynced,
    /// A `Trunc` record voids no epoch (rule T2).
    TruncVoidsNothing,
    /// A start uses its incarnation before it is durable.
    IncarnationNotFlushed,
}

millrace_types::mutation_switch!(Mutation);
