//! Rules of sessions that a test can break on purpose, to prove that the tests would notice.

/// A rule that is broken. The rules are those of `docs/peer_protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// A start is accepted although a later one is known.
    AcceptStale,
    /// A hello need not tell the start that is remembered.
    IgnoreHistory,
    /// A session begins before the start of the other broker is remembered durably.
    UpBeforeDurable,
    /// A connection that was dialed earlier replaces a later one.
    AcceptOldConnection,
    /// Messages are lost with a connection, and nobody is told.
    ForgetQueued,
    /// Votes and acknowledgements go by the connections of records.
    ShareControl,
    /// A question is answered again while the answer is on its way.
    AnswerTwice,
    /// A silent connection is kept.
    KeepSilent,
    /// Only a whole frame counts as heard, however long it is on the way.
    HearWholeFrames,
    /// What waits is not bounded.
    QueueWithoutBound,
    /// What waits is bounded by its number, too.
    BoundByNumber,
    /// The catch-up shard has no rate.
    IgnoreQuota,
}

impl Mutation {
    /// Every mutation.
    pub const ALL: &'static [Self] = &[
        Self::AcceptStale,
        Self::IgnoreHistory,
        Self::UpBeforeDurable,
        Self::AcceptOldConnection,
        Self::ForgetQueued,
        Self::ShareControl,
        Self::AnswerTwice,
        Self::KeepSilent,
        Self::HearWholeFrames,
        Self::QueueWithoutBound,
        Self::BoundByNumber,
        Self::IgnoreQuota,
    ];
}

millrace_types::mutation_switch!(Mutation);
