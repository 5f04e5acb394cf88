//! The rules that can be broken by name, and who must notice.

use std::fmt;

use crate::options::Profile;

/// Who notices that a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catcher {
    /// The checkers of a run, within a few seeds.
    Simulator,
    /// A test nearer to the rule: the simulator meets what it takes too seldom, or cannot make it happen at all.
    Test(&'static str),
}

impl fmt::Display for Catcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulator => f.write_str("the simulator"),
            Self::Test(name) => f.write_str(name),
        }
    }
}

/// A rule that can be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Who notices when there is one broker; `None` when that does not meet the rule.
    pub single: Option<Catcher>,
    /// Who notices when there are several; `None` when one broker shows it as well.
    pub cluster: Option<Catcher>,
}

impl Rule {
    /// Who notices in this profile.
    #[must_use]
    pub fn catcher(&self, profile: Profile) -> Catcher {
        let (this, other) =
            if profile == Profile::Single { (self.single, self.cluster) } else { (self.cluster, self.single) };
        let elsewhere = match other {
            Some(Catcher::Simulator) => Catcher::Test("the other profile"),
            Some(test) => test,
            None => Catcher::Test("nobody"),
        };
        this.unwrap_or(elsewhere)
    }
}

/// The rules of `storage`, `node` and `raft` that can be broken in this build, and who notices.
#[must_use]
pub fn all() -> Vec<Rule> {
    #[cfg(feature = "mutations")]
    {
        table::all()
    }
    #[cfg(not(feature = "mutations"))]
    Vec::new()
}

/// Runs `body` with the rule `name` broken.
///
/// # Errors
/// There is no such rule, or this build cannot break any.
pub fn with_broken<T>(name: Option<&str>, body: impl FnOnce() -> T) -> Result<T, String> {
    let Some(name) = name else { return Ok(body()) };
    #[cfg(feature = "mutations")]
    {
        let storage = table::STORAGE.iter().map(|entry| entry.0).find(|mutation| format!("{mutation:?}") == name);
        let node = table::NODE.iter().map(|entry| entry.0).find(|mutation| format!("{mutation:?}") == name);
        let members = table::MEMBERS.iter().map(|entry| entry.0).find(|mutation| format!("{mutation:?}") == name);
        let node = node.or(members);
        let peer = table::PEER.iter().map(|entry| entry.0).find(|mutation| format!("{mutation:?}") == name);
        let raft = table::raft().map(|entry| entry.0).find(|mutation| format!("{mutation:?}") == name);
        let metadata = table::METADATA.iter().map(|entry| entry.0).find(|mutation| format!("{mutation:?}") == name);
        if storage.is_none() && node.is_none() && peer.is_none() && raft.is_none() && metadata.is_none() {
            return Err(format!("no rule {name}; --list shows them"));
        }
        let run = || millrace_storage::mutation::with_broken(storage, body);
        let run = || millrace_node::peer::mutation::with_broken(peer, run);
        let run = || millrace_raft::mutation::with_broken(raft, run);
        let run = || millrace_metadata::mutation::with_broken(metadata, run);
        Ok(millrace_node::replica::mutation::with_broken(node, run))
    }
    #[cfg(not(feature = "mutations"))]
    Err(format!("to break {name}, build with --features mutations"))
}

#[cfg(feature = "mutations")]
mod table {
    use millrace_metadata::mutation::Mutation as Metadata;
    use millrace_node::peer::mutation::Mutation as Peer;
    use millrace_node::replica::mutation::Mutation as Node;
    use millrace_raft::mutation::Mutation as Raft;
    use millrace_storage::mutation::Mutation as Storage;

    use super::Catcher::{self, Simulator, Test};
    use super::Rule;

    /// Every rule.
    pub(super) fn all() -> Vec<Rule> {
        let storage = STORAGE.iter().map(|(mutation, catcher)| single(mutation, *catcher));
        let node = NODE.iter().map(|(mutation, catcher)| single(mutation, *catcher));
        let peer = PEER.iter().map(|(mutation, catcher)| cluster(mutation, *catcher));
        let members = MEMBERS.iter().map(|(mutation, catcher)| cluster(mutation, *catcher));
        let metadata = METADATA.iter().map(|(mutation, catcher)| cluster(mutation, *catcher));
        storage
            .chain(node)
            .chain(members)
            .chain(metadata)
            .chain(peer)
            .chain(raft().map(|(mutation, catcher)| cluster(&mutation, catcher)))
            .collect()
    }

    fn single(mutation: &impl std::fmt::Debug, catcher: Catcher) -> Rule {
        Rule { name: format!("{mutation:?}"), single: Some(catcher), cluster: None }
    }

    fn cluster(mutation: &impl std::fmt::Debug, catcher: Catcher) -> Rule {
        Rule { name: format!("{mutation:?}"), single: None, cluster: Some(catcher) }
    }

    /// The rules of the consensus; each has a seed or a script of its own there.
    pub(super) fn raft() -> impl Iterator<Item = (Raft, Catcher)> {
        let of = |mutation: &Raft| {
            let caught = CAUGHT.contains(mutation);
            (
                *mutation,
                if caught { Simulator } else { Test("raft/tests/cluster/mutations.rs: every_mutation_has_a_finder") },
            )
        };
        Raft::ALL.iter().map(of)
    }

    /// Of them, those that simulated clusters of three notice within a dozen seeds.
    const CAUGHT: &[Raft] = &[
        Raft::AdoptEpochBeforeLog,
        Raft::VoteForAnyPosition,
        Raft::VoteTwice,
        Raft::CountEarlierEpoch,
        Raft::CountBeforeFlush,
        Raft::CutKeepsEpochs,
        Raft::CutToLeadersEnd,
        Raft::AppendBeforeCut,
        Raft::PassMajority,
        Raft::PassCopies,
        Raft::ForgetRecovering,
        Raft::CountOldIncarnation,
        Raft::UncleanMajority,
        Raft::UnanimousCuresNobody,
    ];

    /// The rules of sessions; each has a seed of its own there.
    pub(super) const PEER: &[(Peer, Catcher)] = &[
        (Peer::AcceptStale, SESSIONS),
        (Peer::IgnoreHistory, SESSIONS),
        (Peer::UpBeforeDurable, SESSIONS),
        (Peer::AcceptOldConnection, SESSIONS),
        (Peer::ForgetQueued, SESSIONS),
        (Peer::StarveControl, SESSIONS),
        (Peer::KeepSilent, Simulator),
        (Peer::QueueWithoutBound, SESSIONS),
        (Peer::BoundByNumber, SESSIONS),
        (Peer::IgnoreQuota, SESSIONS),
    ];

    /// The rules of members and of witnesses.
    pub(super) const MEMBERS: &[(Node, Catcher)] = &[
        (Node::TargetOfFirstDirectories, TARGETS),
        (Node::RetargetNobody, TARGETS),
        (Node::KeepStrayLearner, STEPS),
        (Node::VacateEarly, STEPS),
        (Node::GrowFirst, STEPS),
        (Node::TwoWitnesses, STEPS),
        (Node::ForgetWitnessEnd, WITNESSES),
        (Node::WitnessBeforeDurable, WITNESSES),
        (Node::WitnessTrustsFailedPut, WITNESSES),
        (Node::WitnessStopsAtOnce, WITNESSES),
        (Node::RetireInside, MOVES),
        (Node::RetireBeforeDone, RETIREMENT),
        (Node::RetireOnce, RETIREMENT),
        (Node::LeaveWithoutHandingOver, MOVES),
    ];

    /// The rules of what the metadata say about moves.
    pub(super) const METADATA: &[(Metadata, Catcher)] = &[(
        Metadata::BelieveLateTarget,
        Test("metadata/src/plan/tests/reassignments.rs: a_late_word_of_an_earlier_target_changes_nothing"),
    )];

    const MOVES: Catcher = Test("node/src/replica/tests/moving.rs: broken_rules_of_moves_are_noticed");
    const RETIREMENT: Catcher = Test("node/src/metadata_store/tests/cluster/moving.rs: what goes, and when");

    const TARGETS: Catcher = Test("node/src/metadata_store/tests/cluster.rs: a_broken_rule_of_targets_is_noticed");
    const STEPS: Catcher = Test("node/src/replica/members.rs: a_broken_rule_of_members_is_noticed");
    const WITNESSES: Catcher = Test("node/src/witness/tests.rs: a_broken_rule_of_witnesses_is_noticed");

    const SESSIONS: Catcher = Test("node/src/peer/tests: every broken rule is noticed");

    pub(super) const STORAGE: &[(Storage, Catcher)] = &[
        (Storage::NoDurableCut, Test("storage/tests/crash/main.rs: a_cut_that_is_not_durable_is_caught")),
        (Storage::CutWithoutZeroing, Simulator),
        (Storage::NoFdatasyncAfterScan, Simulator),
        (Storage::NoTruncRecord, Simulator),
        (Storage::AcceptDecreasingEpoch, Test("storage/tests/crash/main.rs: a_falling_epoch_is_caught")),
        (Storage::SkipChecksum, Simulator),
        (Storage::SkipOffsetCheck, Test("storage/tests/crash/main.rs: an_offset_that_is_not_compared_is_caught")),
        (Storage::RetryFailedFlush, Test("storage/tests/crash/main.rs: a_failed_flush_that_is_tried_again_is_caught")),
        (
            Storage::TrustSuspect,
            Test("storage/tests/crash/main.rs: a_start_that_trusts_the_page_cache_after_a_failed_flush_is_caught"),
        ),
        (Storage::NoDirectorySync, Simulator),
        (
            Storage::KeepSnapshotsAboveCut,
            Test("storage/tests/crash/main.rs: a_producer_snapshot_above_a_cut_is_caught"),
        ),
        (
            Storage::JournalTailNotZeroed,
            Test("storage/src/journal/tests.rs: breaking_a_rule_of_the_journal_is_noticed"),
        ),
        (Storage::JournalRotIsCut, Test("storage/src/journal/tests.rs: breaking_a_rule_of_the_journal_is_noticed")),
        (Storage::SnapshotNotFlushed, Simulator),
        (Storage::SnapshotNameNotSynced, Simulator),
        (Storage::CutToSealedDamage, Test("storage/src/upkeep/tests.rs: a_broken_rule_of_repair_is_noticed")),
        (Storage::TakeAnyRepair, Test("storage/src/upkeep/tests.rs: a_broken_rule_of_repair_is_noticed")),
        (Storage::RepairNotFlushed, Test("storage/src/upkeep/tests.rs: a_broken_rule_of_repair_is_noticed")),
        (Storage::RepairTooLate, Test("storage/src/upkeep/tests.rs: a_broken_rule_of_repair_is_noticed")),
        (Storage::TruncVoidsNothing, Test("storage/src/qstate/tests.rs: breaking_a_rule_of_the_store_is_noticed")),
        (Storage::IncarnationNotFlushed, Simulator),
    ];

    pub(super) const NODE: &[(Node, Catcher)] = &[
        (Node::CommitBeforeFlush, Simulator),
        (Node::LeadBeforeDurable, Simulator),
        (Node::CommitBeforeVolatile, Simulator),
        (Node::TrustFailedFlush, Simulator),
        (Node::AcknowledgeDuplicateAtOnce, Simulator),
        (
            Node::CutBeforeRecovering,
            Test("node/src/replica/tests/damage.rs: a_replica_that_forgets_its_damage_is_noticed"),
        ),
        (Node::ServeUnchecked, Test("node/src/replica/tests/heal.rs: a_broken_rule_of_upkeep_is_noticed")),
        (Node::LeadDamaged, Test("node/src/replica/tests/heal.rs: a_broken_rule_of_upkeep_is_noticed")),
        (Node::NeverLeadDamaged, Test("node/src/replica/tests/heal.rs: a_broken_rule_of_upkeep_is_noticed")),
        (Node::LeadUncommittable, Test("node/src/replica/tests/heal.rs: a_broken_rule_of_upkeep_is_noticed")),
        (Node::ForgetDamageAtCut, Test("node/src/replica/tests/heal.rs: a_broken_rule_of_upkeep_is_noticed")),
        (
            Node::DeleteBeforeDurable,
            Test("node/src/replica/tests/deleting.rs: a_deletion_is_answered_when_it_is_durable_everywhere"),
        ),
        (Node::DrawAlike, Test("node/src/replica/consensus.rs: the_delays_of_replicas_have_nothing_in_common")),
        (Node::AnswerMetadataBeforeDurable, Simulator),
        (Node::AnswerGroupBeforeCommit, Simulator),
    ];
}
