//! The rules that can be broken by name, and who must notice.

use std::fmt;

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

/// The rules of `storage` and `node` that can be broken in this build, and who notices.
#[must_use]
pub fn all() -> Vec<(String, Catcher)> {
    #[cfg(feature = "mutations")]
    {
        let storage = table::STORAGE.iter().map(|(mutation, catcher)| (format!("{mutation:?}"), *catcher));
        storage.chain(table::NODE.iter().map(|(mutation, catcher)| (format!("{mutation:?}"), *catcher))).collect()
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
        if storage.is_none() && node.is_none() {
            return Err(format!("no rule {name}; --list shows them"));
        }
        let run = || millrace_storage::mutation::with_broken(storage, body);
        Ok(millrace_node::replica::mutation::with_broken(node, run))
    }
    #[cfg(not(feature = "mutations"))]
    Err(format!("to break {name}, build with --features mutations"))
}

#[cfg(feature = "mutations")]
mod table {
    use millrace_node::replica::mutation::Mutation as Node;
    use millrace_storage::mutation::Mutation as Storage;

    use super::Catcher::{self, Simulator, Test};

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
        (Node::AnswerMetadataBeforeDurable, Simulator),
        (Node::AnswerGroupBeforeCommit, Simulator),
    ];
}
