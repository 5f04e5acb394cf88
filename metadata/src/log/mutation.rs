//! Rules of the log that a test can break on purpose, to prove that the tests would notice.

/// A rule that is broken. The rules are those of `docs/internals/metadata_log.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// M2: a slot is decided by the acceptors of the state before the last.
    AcceptorsOfEarlierState,
    /// M3: a promise is sent before it is durable.
    PromiseBeforeDurable,
    /// M3: an acceptance is sent before it is durable.
    AcceptBeforeDurable,
    /// M3: a lower ballot than the promised one is accepted.
    AcceptBelowPromise,
    /// M4: any accepted entry is adopted, not that of the highest ballot.
    AdoptAnyAccepted,
    /// M4: no accepted entry is adopted.
    AdoptNothing,
    /// M5: ballots and owners have no incarnation.
    OwnerWithoutIncarnation,
    /// M5: ballots and owners have no directory.
    OwnerWithoutDirectory,
    /// M6: a cell is forgotten before the chosen entry is durable.
    ForgetCellEarly,
    /// M7: a broker with a wiped disk counts as the acceptor it was.
    CountWipedAcceptor,
    /// M8: a majority of its acceptors founds a cluster.
    FoundByMajority,
    /// M9: a command that changes nothing is answered without a barrier.
    AnswerWithoutBarrier,
    /// M9: a barrier does not look at what acceptors have accepted.
    BarrierIgnoresAccepted,
    /// M10: an answer leaves before its entry is durable at the broker that gives it.
    AnswerBeforeDurable,
    /// M11: commands are planned again although the own proposal was chosen.
    ForgetOwnProposal,
    /// M11: forwarded commands are committed although the proposal of their sender was chosen.
    ForwardChosen,
    /// M11: a request to commit that comes twice is carried out twice.
    ForwardTwice,
    /// M11: what was done for a process is told to a later one of its broker.
    AnswerLaterProcess,
    /// M12: an alone acceptor tells of an entry before it is durable.
    TellBeforeDurable,
    /// M13: a broker registers a directory although the old one is heard.
    RegisterOverLiving,
}

impl Mutation {
    /// Every mutation.
    pub const ALL: &'static [Self] = &[
        Self::AcceptorsOfEarlierState,
        Self::PromiseBeforeDurable,
        Self::AcceptBeforeDurable,
        Self::AcceptBelowPromise,
        Self::AdoptAnyAccepted,
        Self::AdoptNothing,
        Self::OwnerWithoutIncarnation,
        Self::OwnerWithoutDirectory,
        Self::ForgetCellEarly,
        Self::CountWipedAcceptor,
        Self::FoundByMajority,
        Self::AnswerWithoutBarrier,
        Self::BarrierIgnoresAccepted,
        Self::AnswerBeforeDurable,
        Self::ForgetOwnProposal,
        Self::ForwardChosen,
        Self::ForwardTwice,
        Self::AnswerLaterProcess,
        Self::TellBeforeDurable,
        Self::RegisterOverLiving,
    ];
}

millrace_types::mutation_switch!(Mutation);
