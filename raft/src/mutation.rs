//! Rules of replication that a test can break on purpose, to prove that the tests would notice.

/// A rule that is broken. The rules are those of `docs/internals/replication.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// R1: a follower's position carries the leader's epoch from the first contact on, before its log has reached it.
    AdoptEpochBeforeLog,
    /// R1: votes are given whatever the candidate's position.
    VoteForAnyPosition,
    /// R2: an epoch counts from its first record on, not from its marker.
    VoteWithoutMarkers,
    /// R3: a vote is answered before it is durable.
    VoteBeforePut,
    /// R3: a second vote is given in the same epoch.
    VoteTwice,
    /// R4: acknowledgements of an earlier epoch are counted.
    CountEarlierEpoch,
    /// R4: a marker is acknowledged before it is durable.
    CountMarkerBeforePut,
    /// R4: records are acknowledged before they are flushed.
    CountBeforeFlush,
    /// R5: a stale answer is taken for one to the current position.
    TakeStaleAnswer,
    /// R6: a reset is tested after the divergence.
    DivergeBeforeReset,
    /// R7: a cut keeps the epochs above it.
    CutKeepsEpochs,
    /// R7: a cut ends where the leader's epoch ends, wherever the own epoch does.
    CutToLeadersEnd,
    /// R8: records are appended before the cut is durable.
    AppendBeforeCut,
    /// R8: a start does not note what its recovery has dropped.
    ForgetRecoveryCut,
    /// R9: the high watermark does not wait for the majority.
    PassMajority,
    /// R9: the high watermark does not wait for `min.insync.replicas` copies.
    PassCopies,
    /// R9: the high watermark does not wait for the in-sync replicas.
    PassInSync,
    /// R10: a new leader counts itself alone as in sync.
    NoProvisional,
    /// R10: a replica joins the in-sync set before it holds what is committed.
    JoinBehind,
    /// R11: a replica that may have lost records votes like any other.
    CleanVoteWhileRecovering,
    /// R11: acknowledgements of such a replica are counted.
    CountRecovering,
    /// R11: that a replica recovers is forgotten at its next start.
    ForgetRecovering,
    /// R12: a replica has recovered when it has reached the leader's high watermark.
    RecoverToHighWatermark,
    /// R12: what an earlier incarnation has acknowledged still counts.
    CountOldIncarnation,
    /// R13: a majority elects although too few of it are clean.
    UncleanMajority,
    /// R13: voters do not become clean by a unanimous election.
    UnanimousCuresNobody,
    /// R13: a witness has to agree too when too few are clean.
    UnanimousAsksWitness,
    /// R13: a unanimous election makes later starts of its voters clean too.
    UnanimousCuresLater,
    /// R13: a leader stays although too many voters recover for its epoch to be committed.
    StayUncommittable,
    /// R14: the witness is told everything at once.
    WitnessAtOnce,
    /// R14: a replica joins the in-sync set although the witness is ahead of it.
    JoinBehindWitness,
    /// R15: a forced configuration goes on with the next epoch, which those who were given up may have begun.
    MeetLostEpochs,
    /// R15: a voter does not look at the candidate's configuration.
    VoteForOldConfiguration,
    /// R15: a change does not wait for a majority to know the last one.
    ChangeBeforeConfiguration,
    /// R15: a change does not wait for a majority to be in the epoch.
    ChangeBeforeEpoch,
    /// R15: a change does not wait for what is committed to be so among the present voters.
    ChangeBeforeCommit,
    /// R15: members change while a voter that lives recovers.
    ChangeWhileRecovering,
    /// R15: who is no voter in its own configuration asks for votes.
    CampaignOutside,
    /// R15: what a replica acknowledged before it became a member counts.
    CountBeforeJoining,
    /// R15: a learner gets a vote before it has caught up.
    PromoteBehind,
    /// R15: a replica is in sync before it knows that it votes.
    JoinUnaware,
    /// R15: a witness in whose place a replica shall begin is taken for that replica.
    LearnAsWitness,
    /// R16: a pre-vote is given although the leader lives.
    PreVoteAgainstLeader,
    /// R16: elections that nobody wins make nobody more patient.
    NoPatience,
    /// R16: all who have voted wait for the same time before they ask.
    WaitAlike,
    /// R16: the voters of a new partition do not wait for the one that shall lead it.
    HurryFirstElection,
    /// R16: a candidate does not ask for pre-votes.
    NoPreVote,
    /// R17: a leader that hears no majority stays.
    NoCheckQuorum,
    /// R17: a leader that sees a later epoch stays.
    IgnoreLaterEpoch,
    /// R18: a leader hands over before its successor holds everything.
    TransferEarly,
    /// R18: a leader hands over to a replica that has said that it had better not lead.
    TransferToUnfit,
    /// R19: the latest offset is told before the epoch's start is committed.
    TellLatestEarly,
    /// R20: a message to another directory of the same broker is taken.
    IgnoreDirectory,
    /// R21: a leader does not delete what its followers have deleted.
    LeadUndeleted,
}

impl Mutation {
    /// Every mutation.
    pub const ALL: &'static [Self] = &[
        Self::AdoptEpochBeforeLog,
        Self::VoteForAnyPosition,
        Self::VoteWithoutMarkers,
        Self::VoteBeforePut,
        Self::VoteTwice,
        Self::CountEarlierEpoch,
        Self::CountMarkerBeforePut,
        Self::CountBeforeFlush,
        Self::TakeStaleAnswer,
        Self::DivergeBeforeReset,
        Self::CutKeepsEpochs,
        Self::CutToLeadersEnd,
        Self::AppendBeforeCut,
        Self::ForgetRecoveryCut,
        Self::PassMajority,
        Self::PassCopies,
        Self::PassInSync,
        Self::NoProvisional,
        Self::JoinBehind,
        Self::CleanVoteWhileRecovering,
        Self::CountRecovering,
        Self::ForgetRecovering,
        Self::RecoverToHighWatermark,
        Self::CountOldIncarnation,
        Self::UncleanMajority,
        Self::UnanimousCuresNobody,
        Self::UnanimousAsksWitness,
        Self::UnanimousCuresLater,
        Self::StayUncommittable,
        Self::WitnessAtOnce,
        Self::JoinBehindWitness,
        Self::MeetLostEpochs,
        Self::VoteForOldConfiguration,
        Self::ChangeBeforeConfiguration,
        Self::ChangeBeforeEpoch,
        Self::ChangeBeforeCommit,
        Self::ChangeWhileRecovering,
        Self::CampaignOutside,
        Self::CountBeforeJoining,
        Self::PromoteBehind,
        Self::JoinUnaware,
        Self::LearnAsWitness,
        Self::PreVoteAgainstLeader,
        Self::NoPatience,
        Self::WaitAlike,
        Self::HurryFirstElection,
        Self::NoPreVote,
        Self::NoCheckQuorum,
        Self::IgnoreLaterEpoch,
        Self::TransferEarly,
        Self::TransferToUnfit,
        Self::TellLatestEarly,
        Self::IgnoreDirectory,
        Self::LeadUndeleted,
    ];
}

millrace_types::mutation_switch!(Mutation);
