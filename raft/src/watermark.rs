//! What is committed, and how far the high watermark may go (rules R4, R9).

use millrace_types::Offset;

use crate::configuration::Configuration;
use crate::identity::{Peer, ReplicaKey};
use crate::message::Ack;
use crate::mutation::{Mutation, broken};
use crate::quorum::nth_largest;
use crate::raft::Raft;
use crate::settings::AckPolicy;

impl Raft {
    pub(crate) fn on_ack(&mut self, from: Peer, ack: &Ack) {
        let epoch = self.epoch;
        if ack.epoch != epoch {
            return;
        }
        let Some(leader) = self.as_leader_mut() else { return };
        let known = leader.progress.get(&from.key).map(|progress| progress.configuration);
        if known.is_none_or(|known| !leader.counts(from.key, known)) {
            return;
        }
        if let Some(progress) = leader.progress.get_mut(&from.key) {
            progress.acknowledge(epoch, ack.acknowledged, ack.recovering);
        }
    }

    /// What the leader itself holds durably, once it holds its marker so.
    pub(crate) fn own_match(&self) -> Option<Offset> {
        let held = self.acknowledged();
        (held.epoch == self.epoch || broken(Mutation::CountEarlierEpoch)).then_some(held.offset)
    }

    /// What a replica holds durably as a prefix of this leader's log, its marker included.
    pub(crate) fn match_of(&self, key: ReplicaKey) -> Option<Offset> {
        if key == self.me.key {
            return self.own_match();
        }
        self.as_leader()?.progress.get(&key)?.matched.map(|matched| matched.min(self.log.end))
    }

    /// What a majority of the present voters holds: an offset only if the marker of the leader's own epoch is held, so
    /// that no earlier epoch is committed by counting (Raft 5.4.2).
    pub(crate) fn held_by_majority(&self) -> Option<Offset> {
        self.held_by_majority_of(&self.configuration)
    }

    /// As [`Raft::held_by_majority`] among the voters of another configuration.
    pub(crate) fn held_by_majority_of(&self, configuration: &Configuration) -> Option<Offset> {
        let held = configuration.voters.iter().map(|voter| self.match_of(voter.key)).collect();
        nth_largest(held, configuration.majority())
    }

    pub(crate) fn update_commit(&mut self) {
        let held = self.held_by_majority();
        if let Some(leader) = self.as_leader_mut() {
            leader.commit = leader.commit.max(held);
        }
    }

    /// Copies that a record needs: `min.insync.replicas`, or all where there are fewer data voters (as in Kafka).
    pub(crate) fn copies_needed(&self) -> usize {
        self.settings.min_in_sync.min(self.configuration.data_voters().count()).max(1)
    }

    pub(crate) fn update_high_watermark(&mut self) {
        let Some(leader) = self.as_leader() else { return };
        let commit = if broken(Mutation::PassMajority) { Some(self.log.end) } else { leader.commit };
        let copies = self.configuration.data_voters().map(|key| self.match_of(key)).collect();
        let copies = nth_largest(copies, self.copies_needed());
        let copies = if broken(Mutation::PassCopies) { commit } else { copies };
        let in_sync = || leader.in_sync.members().map(|key| self.match_of(key)).min().flatten();
        let limit = match self.settings.ack_policy {
            AckPolicy::InSync if !broken(Mutation::PassInSync) => commit.min(copies).min(in_sync()),
            AckPolicy::InSync | AckPolicy::Quorum => commit.min(copies),
        };
        self.high_watermark = self.high_watermark.max(limit.unwrap_or(self.high_watermark));
    }
}
