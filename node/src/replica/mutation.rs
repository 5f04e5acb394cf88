//! Rules of durability that a test can break on purpose, to prove that the crash tests would notice.

/// A rule that is broken (consensus rules, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// What is appended is committed, flushed or not.
    CommitBeforeFlush,
    /// The epoch is published before it is durable.
    LeadBeforeDurable,
    /// Records are acknowledged from the page cache before the write-ahead store says so.
    CommitBeforeVolatile,
    /// A flush that failed counts as done.
    TrustFailedFlush,
    /// A duplicate is acknowledged although the batch it repeats is not committed.
    AcknowledgeDuplicateAtOnce,
    /// A log is cut to its damage before the write-ahead store knows that it recovers.
    CutBeforeRecovering,
    /// Sealed records are sent to a follower as they are read, whatever their checksums.
    ServeUnchecked,
    /// A leader whose log is damaged leads on, and one that follows asks for votes.
    LeadDamaged,
    /// A replica whose log is damaged never asks for votes, even if nobody else leads.
    NeverLeadDamaged,
    /// A disk that hangs is not noticed.
    NeverStalled,
    /// A leader that has no room for records leads on.
    LeadFull,
    /// A follower without room asks for records again and again.
    NoPause,
    /// A leader leads on although what it has lost keeps everything from being committed.
    LeadUncommittable,
    /// What is damaged below a cut of its segment is forgotten.
    ForgetDamageAtCut,
    /// A follower says that it has deleted records before that is durable.
    DeleteBeforeDurable,
    /// Who shall vote is named by the directories that brokers had at first.
    TargetOfFirstDirectories,
    /// Replicas are not told that a broker has another directory.
    RetargetNobody,
    /// A learner that shall be none stays.
    KeepStrayLearner,
    /// A vote is taken from a directory before the one in its place has caught up.
    VacateEarly,
    /// A directory gets its vote before the one that it takes the place of has lost its own.
    GrowFirst,
    /// A witness is to get its vote before the one that it takes the place of has lost its own.
    TwoWitnesses,
    /// A witness that starts again has forgotten how far the log went.
    ForgetWitnessEnd,
    /// A witness speaks before what it has promised is durable.
    WitnessBeforeDurable,
    /// A witness takes a put that failed for done.
    WitnessTrustsFailedPut,
    /// A witness stops although something that it has promised is not durable yet.
    WitnessStopsAtOnce,
    /// The delays of all replicas of a partition are one sequence, begun at different places.
    DrawAlike,
    /// The data of a replica goes although the newest configuration names it.
    RetireInside,
    /// A replica goes when a target is set that does not name its broker, and not when that is reached.
    RetireBeforeDone,
    /// What is to go is told so once, whether it can find out that it is no member or not.
    RetireOnce,
    /// A leader that shall have no replica does not hand over to one that shall.
    LeaveWithoutHandingOver,
    /// A metadata command is answered, and its image published, before its entry is durable.
    AnswerMetadataBeforeDurable,
    /// A group coordinator answers before its record is committed.
    AnswerGroupBeforeCommit,
}

millrace_types::mutation_switch!(Mutation);
