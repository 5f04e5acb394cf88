//! What the write-ahead store knows of a replica, and how its records are those of the consensus.

use millrace_raft::{self as raft, EpochStart, ReplicaKey, Restored};
use millrace_storage::{self as storage, Log, PartitionState, QRecord, Recovery};
use millrace_types::{LeaderEpoch, Offset, TopicPartition};

use crate::metadata_store::Part;

/// What a replica has promised, as the write-ahead store knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promises {
    /// The latest epoch it was in; 0 for none.
    pub term: LeaderEpoch,
    /// Whom it voted for in that epoch.
    pub voted_for: Option<ReplicaKey>,
    /// Whether there may be acknowledged records that were never flushed.
    pub volatile: bool,
    /// Whether acknowledged records may be lost that have not been fetched again.
    pub recovering: bool,
    /// The members of the partition; `None` when nobody has told it yet.
    pub configuration: Option<raft::Configuration>,
    /// The leader epochs of its log, and where they begin.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// The log start offset, as far as it was noted.
    pub log_start: Offset,
    /// How far the log goes that a witness votes for.
    pub witness_end: Option<Offset>,
}

impl From<&PartitionState> for Promises {
    fn from(state: &PartitionState) -> Self {
        Self {
            term: state.term,
            voted_for: state.voted_for.map(|(broker, directory)| ReplicaKey { broker, directory }),
            volatile: state.volatile,
            recovering: state.recovering,
            configuration: state.cfg.as_ref().map(configuration),
            epochs: state.epochs.clone(),
            log_start: state.start.unwrap_or(0),
            witness_end: state.witness_end,
        }
    }
}

impl Promises {
    /// What stays of a replica that is gone since its broker shall have none: its word in elections, and who the members are as
    /// far as it knew. Without that it could be made a voter again, and give a vote that it has given to another.
    #[must_use]
    pub fn of_retired(raft: &raft::Raft) -> Self {
        let known = raft.configuration();
        Self {
            term: raft.epoch(),
            voted_for: raft.voted_for(),
            configuration: (known.id != raft::ConfigurationId::default()).then(|| known.clone()),
            ..Self::default()
        }
    }

    /// The same of promises that were found at a start.
    #[must_use]
    pub fn retired(&self) -> Self {
        let Self { term, voted_for, configuration, .. } = self.clone();
        Self { term, voted_for, configuration, ..Self::default() }
    }

    /// What made these promises, as far as they show it; `None` where nothing of it is left but its word in elections.
    #[must_use]
    pub fn part(&self, me: ReplicaKey) -> Option<Part> {
        let is_witness = self.configuration.as_ref().is_some_and(|known| known.is_witness(me));
        if is_witness || self.witness_end.is_some() {
            return Some(Part::Witness);
        }
        let has_log = !self.epochs.is_empty() || self.log_start > 0 || self.volatile || self.recovering;
        let is_member = self.configuration.is_some() && !self.are_outside(me);
        (has_log || is_member).then_some(Part::Replica)
    }

    /// Whether the replica may go if its broker shall have none: these promises do not say that it is a member.
    #[must_use]
    pub fn are_outside(&self, me: ReplicaKey) -> bool {
        self.configuration.as_ref().is_none_or(|known| known.members().all(|member| member != me))
    }

    /// The records that leave the write-ahead store with these promises and nothing about a log. They go into one put: after a
    /// crash there are all or none.
    #[must_use]
    pub fn retirement(&self, tp: TopicPartition) -> Vec<QRecord> {
        let term = (self.term > 0).then_some(raft::Record::Term { epoch: self.term, voted_for: self.voted_for });
        let configuration = self.configuration.clone().map(raft::Record::Configuration);
        let stays = term.into_iter().chain(configuration).filter_map(|kept| record(tp, &kept));
        std::iter::once(QRecord::Forget { tp }).chain(stays).collect()
    }

    /// What the consensus starts with, with what opening the log found.
    pub(super) fn restored(&self, log: &Log, recovery: &Recovery, first: raft::Configuration) -> Restored {
        let epochs = log.epoch_cache();
        let known = epochs.entries().iter().filter(|known| known.0 > 0);
        Restored {
            epoch: self.term,
            voted_for: self.voted_for,
            configuration: self.configuration.clone().unwrap_or(first),
            witness: false,
            log_start: log.log_start(),
            log_end: log.log_end(),
            flushed: log.flushed_offset(),
            epochs: known.map(|(epoch, start)| EpochStart { epoch: *epoch, start: *start }).collect(),
            high_watermark: log.log_start(),
            volatile: self.volatile,
            recovering: self.recovering || recovery.suffix_lost || recovery.damaged.is_some(),
            cut: !recovery.records.is_empty() || recovery.damaged.is_some(),
        }
    }
}

fn configuration(known: &storage::Configuration) -> raft::Configuration {
    let id = raft::ConfigurationId { generation: known.generation, epoch: known.epoch, version: known.version };
    let key = |voter: &storage::Voter| ReplicaKey { broker: voter.broker, directory: voter.directory };
    let voter = |voter: &storage::Voter| {
        let role = match voter.role {
            storage::VoterRole::Data => raft::VoterRole::Data,
            storage::VoterRole::Witness => raft::VoterRole::Witness,
            storage::VoterRole::Learner => return None,
        };
        Some(raft::Voter { key: key(voter), role })
    };
    let is_learner = |voter: &&storage::Voter| voter.role == storage::VoterRole::Learner;
    raft::Configuration {
        id,
        voters: known.voters.iter().filter_map(voter).collect(),
        learners: known.voters.iter().filter(is_learner).map(key).collect(),
    }
}

fn stored(configuration: &raft::Configuration) -> storage::Configuration {
    let voter = |key: ReplicaKey, role| storage::Voter { broker: key.broker, directory: key.directory, role };
    let voters = configuration.voters.iter().map(|one| {
        let role = match one.role {
            raft::VoterRole::Data => storage::VoterRole::Data,
            raft::VoterRole::Witness => storage::VoterRole::Witness,
        };
        voter(one.key, role)
    });
    let learners = configuration.learners.iter().map(|key| voter(*key, storage::VoterRole::Learner));
    let raft::ConfigurationId { generation, epoch, version } = configuration.id;
    storage::Configuration { generation, epoch, version, voters: voters.chain(learners).collect() }
}

/// The record of the write-ahead store for one of the consensus that says nothing of the log; `None` for others, whose
/// records the log itself gives.
pub(crate) fn record(tp: TopicPartition, record: &raft::Record) -> Option<QRecord> {
    Some(match record {
        raft::Record::Term { epoch, voted_for } => {
            let voted_for = voted_for.map(|key| (key.broker, key.directory));
            QRecord::Term { tp, term: *epoch, voted_for }
        }
        raft::Record::Epoch(EpochStart { epoch, start }) => QRecord::Epoch { tp, epoch: *epoch, start: *start },
        raft::Record::Configuration(configuration) => QRecord::Cfg { tp, cfg: stored(configuration) },
        raft::Record::Volatile(volatile) => QRecord::Volatile { tp, volatile: *volatile },
        raft::Record::Recovering(recovering) => QRecord::Recovering { tp, recovering: *recovering },
        // A replica with a log is no witness.
        raft::Record::Trunc { .. } | raft::Record::Reset { .. } | raft::Record::WitnessEnd(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use millrace_raft::{Configuration, ConfigurationId, Voter, VoterRole};
    use millrace_types::{BrokerId, DirectoryId};

    use super::*;

    #[test]
    fn a_configuration_is_stored_and_found() {
        let key = |id: i32| ReplicaKey { broker: BrokerId(id), directory: DirectoryId::from_u128(7) };
        let known = Configuration {
            id: ConfigurationId { generation: 1, epoch: 2, version: 3 },
            voters: vec![Voter { key: key(2), role: VoterRole::Data }, Voter { key: key(1), role: VoterRole::Witness }],
            learners: vec![key(5), key(4)],
        };
        assert_eq!(configuration(&stored(&known)), known);
    }
}
