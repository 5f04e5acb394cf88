//! Who votes: configurations beside the log, ordered, and changed by one voter at a time (rule R15).

use millrace_types::LeaderEpoch;

use crate::identity::ReplicaKey;
use crate::quorum;

/// Epochs that a generation has to itself: generation g begins with epoch g times this. The operator forces a generation where
/// nobody can ask those who are lost how far their epochs went; so many elections no generation sees.
pub(crate) const EPOCHS_PER_GENERATION: LeaderEpoch = 1 << 20;

/// What a voter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoterRole {
    /// The log.
    Data,
    /// Epochs and offsets only: it votes for whom holds enough, and never leads (rule R14).
    Witness,
}

/// A voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    /// The replica.
    pub key: ReplicaKey,
    /// What it holds.
    pub role: VoterRole,
}

/// Name of a configuration; the greater is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ConfigurationId {
    /// Raised by a forced configuration only.
    pub generation: u32,
    /// Epoch of the leader that installed it, or took it over.
    pub epoch: LeaderEpoch,
    /// Grows with each change.
    pub version: u32,
}

/// The members of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// Its name.
    pub id: ConfigurationId,
    /// Who votes, the preferred leader first.
    pub voters: Vec<Voter>,
    /// Who fetches without a vote, to become a voter when it has caught up.
    pub learners: Vec<ReplicaKey>,
}

/// A step from one configuration to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A replica begins to fetch.
    AddLearner(ReplicaKey),
    /// A learner is given up.
    RemoveLearner(ReplicaKey),
    /// A learner that has caught up, or a witness, gets a vote.
    AddVoter(Voter),
    /// A voter loses its vote and is no member any more.
    RemoveVoter(ReplicaKey),
}

impl Configuration {
    /// What every replica of a new partition begins with. Without voters it is what a replica knows that nobody has told yet:
    /// older than any other, and it never asks for votes.
    #[must_use]
    pub const fn first(voters: Vec<Voter>) -> Self {
        let version = if voters.is_empty() { 0 } else { 1 };
        Self { id: ConfigurationId { generation: 0, epoch: 0, version }, voters, learners: Vec::new() }
    }

    /// Whether `key` is the only voter.
    #[must_use]
    pub fn is_alone(&self, key: ReplicaKey) -> bool {
        matches!(&self.voters[..], [voter] if voter.key == key)
    }

    /// Votes that elect and acknowledgements that commit.
    #[must_use]
    pub fn majority(&self) -> usize {
        quorum::majority(self.voters.len())
    }

    /// The voter with this key.
    #[must_use]
    pub fn voter(&self, key: ReplicaKey) -> Option<Voter> {
        self.voters.iter().copied().find(|voter| voter.key == key)
    }

    /// Whether the replica is a voter that holds data.
    #[must_use]
    pub fn is_data_voter(&self, key: ReplicaKey) -> bool {
        self.voter(key).is_some_and(|voter| voter.role == VoterRole::Data)
    }

    /// Whether the replica is a voter that holds no data.
    #[must_use]
    pub fn is_witness(&self, key: ReplicaKey) -> bool {
        self.voter(key).is_some_and(|voter| voter.role == VoterRole::Witness)
    }

    /// The voters that hold data, in order.
    pub fn data_voters(&self) -> impl Iterator<Item = ReplicaKey> + '_ {
        self.voters.iter().filter(|voter| voter.role == VoterRole::Data).map(|voter| voter.key)
    }

    /// Voters and learners.
    pub fn members(&self) -> impl Iterator<Item = ReplicaKey> + '_ {
        self.voters.iter().map(|voter| voter.key).chain(self.learners.iter().copied())
    }

    /// The configuration after `change`, in the same epoch; `None` when the change does not apply to this one.
    #[must_use]
    pub fn after(&self, change: Change) -> Option<Self> {
        let mut next = self.clone();
        next.id.version += 1;
        match change {
            Change::AddLearner(key) if self.members().all(|member| member != key) => next.learners.push(key),
            Change::RemoveLearner(key) if self.learners.contains(&key) => next.learners.retain(|one| *one != key),
            Change::AddVoter(voter) if self.voter(voter.key).is_none() && self.may_vote(voter) => {
                next.learners.retain(|one| *one != voter.key);
                next.voters.push(voter);
            }
            Change::RemoveVoter(key) if self.voter(key).is_some() => next.voters.retain(|voter| voter.key != key),
            Change::AddLearner(_) | Change::RemoveLearner(_) | Change::AddVoter(_) | Change::RemoveVoter(_) => {
                return None;
            }
        }
        let has_data = next.data_voters().next().is_some();
        has_data.then_some(next)
    }

    /// A data voter has been a learner, and a partition has one witness.
    fn may_vote(&self, voter: Voter) -> bool {
        match voter.role {
            VoterRole::Data => self.learners.contains(&voter.key),
            VoterRole::Witness => self.voters.iter().all(|one| one.role == VoterRole::Data),
        }
    }
}
