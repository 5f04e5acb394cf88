//! What a host asks of the core without an event.

use millrace_types::{Instant, LeaderEpoch, Offset};

use crate::configuration::Configuration;
use crate::identity::{Peer, ReplicaKey};
use crate::log::Volatile;
use crate::message::FetchRequest;
use crate::mutation::{Mutation, broken};
use crate::position::{Acknowledged, EpochStart, Position};
use crate::quorum::nth_largest;
use crate::raft::Raft;
use crate::role::{Role, RoleKind};

/// Why a leader takes no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not lead, or leads no longer.
    NotLeader,
    /// It hands leadership over.
    Transferring,
    /// Too few replicas are in sync for `acks=all`.
    NotEnoughReplicas,
}

/// The state of a replica's consensus, for its host, for metrics and for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The role.
    pub role: RoleKind,
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// The leader of that epoch, where known.
    pub leader: Option<ReplicaKey>,
    /// End of the log.
    pub position: Position,
    /// What is held durably.
    pub acknowledged: Acknowledged,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The log start offset.
    pub log_start: Offset,
    /// A leader: what the majority holds in its epoch.
    pub commit: Option<Offset>,
    /// A leader: where its epoch begins.
    pub epoch_start: Option<Offset>,
    /// A leader: the in-sync replicas, provisional ones included.
    pub in_sync: Vec<ReplicaKey>,
    /// Whether acknowledged records may be lost.
    pub recovering: bool,
    /// A leader: whether every voter has elected it since too few were clean, so that records may be lost for good.
    pub unanimous: bool,
    /// Whether a change of the log is under way.
    pub is_busy: bool,
}

impl Raft {
    /// The state.
    #[must_use]
    pub fn status(&self) -> Status {
        let leader = self.as_leader();
        Status {
            role: self.role.kind(),
            epoch: self.epoch,
            leader: self.leader(),
            position: self.position(),
            acknowledged: self.acknowledged(),
            high_watermark: self.high_watermark,
            log_start: self.log.start,
            commit: leader.and_then(|leader| leader.commit),
            epoch_start: leader.map(|leader| leader.start),
            in_sync: self.in_sync(),
            recovering: self.recovering,
            unanimous: leader.is_some_and(|leader| !leader.electors.is_empty()),
            is_busy: self.is_busy(),
        }
    }

    /// Who speaks for this replica.
    #[must_use]
    pub const fn me(&self) -> Peer {
        self.me
    }

    /// The epoch the replica is in.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Whom the replica voted for in that epoch.
    #[must_use]
    pub const fn voted_for(&self) -> Option<ReplicaKey> {
        self.voted_for
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> RoleKind {
        self.role.kind()
    }

    /// What is held as durably as the topic asks: a producer with acks=1 waits for no more.
    #[must_use]
    pub fn held(&self) -> Acknowledged {
        self.acknowledged()
    }

    /// Whether the write-ahead store may say that records were acknowledged which only the page cache holds.
    #[must_use]
    pub const fn is_volatile(&self) -> bool {
        matches!(self.log.volatile, Volatile::Set | Volatile::Clearing)
    }

    /// Whether the replica promises anything: what its start had to note is durable, and no write has failed.
    #[must_use]
    pub const fn is_taking_part(&self) -> bool {
        self.takes_part()
    }

    /// The configuration in force.
    #[must_use]
    pub const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Whether the newest configuration known here names the replica neither as a voter nor as a learner, or, of a witness, not
    /// as a witness: what it has acknowledged counts no more. One that is becoming durable is waited for.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        let me = self.me.key;
        let inside = |known: &Configuration| {
            if self.witness { known.is_witness(me) } else { known.members().any(|member| member == me) }
        };
        self.adopting.is_none() && !inside(&self.configuration)
    }

    /// Whether a replica shall take the place of this witness, and has not yet: what the configuration names is that replica. The
    /// witness may know before its host that it goes; it holds no record, and must not be taken for who does (rule R15).
    pub(crate) fn is_superseded(&self) -> bool {
        let me = self.me.key;
        let is_named = || self.configuration.members().any(|member| member == me) && !self.configuration.is_witness(me);
        self.witness && is_named() && !broken(Mutation::LearnAsWitness)
    }

    /// Whether frames of the replica come, or it is this one.
    #[must_use]
    pub fn hears(&self, key: ReplicaKey) -> bool {
        self.is_heard(key)
    }

    /// The high watermark.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The epochs of the log, oldest first, those without records included.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = EpochStart> + '_ {
        self.log.cache.starts()
    }

    /// The leader of the epoch, where known.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaKey> {
        match &self.role {
            Role::Leader(_) => Some(self.me.key),
            Role::Follower(follower) => Some(follower.leader),
            Role::Unattached(_) | Role::Prospective(_) | Role::Candidate(_) | Role::Resigned(_) => None,
        }
    }

    /// The in-sync replicas of a leader, provisional ones included; of others none.
    #[must_use]
    pub fn in_sync(&self) -> Vec<ReplicaKey> {
        self.as_leader().map_or_else(Vec::new, |leader| leader.in_sync.members().collect())
    }

    /// As [`Raft::in_sync`] without those that are counted on trust after an election.
    #[must_use]
    pub fn in_sync_full(&self) -> Vec<ReplicaKey> {
        self.as_leader().map_or_else(Vec::new, |leader| leader.in_sync.full().collect())
    }

    /// The in-sync replicas that could lead in this leader's place, itself left out; of others none.
    #[must_use]
    pub fn successors(&self) -> Vec<ReplicaKey> {
        let fit = |key: &ReplicaKey| *key != self.me.key && self.configuration.is_data_voter(*key) && self.is_fit(*key);
        self.in_sync_full().into_iter().filter(fit).collect()
    }

    /// Whether the host may append records, and with which epoch.
    ///
    /// # Errors
    /// Why not. `NotEnoughReplicas` is no obstacle to a produce with other acks than all.
    pub fn admission(&self) -> Result<LeaderEpoch, Refusal> {
        let leader = self.as_leader().filter(|_| self.takes_part()).ok_or(Refusal::NotLeader)?;
        if leader.transfer.is_some() {
            return Err(Refusal::Transferring);
        }
        if leader.in_sync.len() < self.copies_needed() {
            return Err(Refusal::NotEnoughReplicas);
        }
        Ok(self.epoch)
    }

    /// The latest offset that a client may be told: a leader's high watermark once the start of its epoch is committed
    /// (rule R19). Until then clients ask again, coordinators load, and nothing is deleted.
    #[must_use]
    pub fn latest(&self) -> Option<Offset> {
        let leader = self.as_leader()?;
        let visible = self.high_watermark >= leader.start || broken(Mutation::TellLatestEarly);
        visible.then_some(self.high_watermark)
    }

    /// The log start offset that all in-sync replicas have durably, and a majority of the voters: of these every later leader hears
    /// before it tells its latest offset, and deletes what they have deleted. `None` on others.
    #[must_use]
    pub fn deleted_everywhere(&self) -> Option<Offset> {
        let leader = self.as_leader()?;
        let of = |key: ReplicaKey| match leader.progress.get(&key) {
            _ if key == self.me.key => self.log.start_noted,
            progress => progress.map_or(0, |progress| progress.log_start),
        };
        let voters = self.configuration.voters.iter().map(|voter| Some(of(voter.key))).collect();
        let majority = nth_largest(voters, self.configuration.majority()).unwrap_or(0);
        Some(self.in_sync().into_iter().map(of).fold(majority, Offset::min))
    }

    /// The fetch that a follower waits to have answered: a host whose session is new sends it in full.
    #[must_use]
    pub fn fetch(&self) -> Option<(ReplicaKey, FetchRequest)> {
        match &self.role {
            Role::Follower(follower) if self.takes_part() && !self.is_busy() && self.log.is_start_noted() => {
                Some((follower.leader, self.fetch_request()))
            }
            _ => None,
        }
    }

    /// When the core wants [`crate::Event::Timer`]: never, while all is well and idle.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if !self.takes_part() {
            return Instant::NEVER;
        }
        match &self.role {
            Role::Unattached(unattached) if self.may_campaign() => unattached.campaign_at.unwrap_or(Instant::NEVER),
            Role::Unattached(_) | Role::Follower(_) => Instant::NEVER,
            Role::Prospective(prospective) => prospective.until,
            Role::Candidate(candidate) => candidate.until,
            Role::Leader(leader) => self.leader_deadline(leader),
            Role::Resigned(resigned) => resigned.until,
        }
    }
}
