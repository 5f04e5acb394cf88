//! The in-sync replicas: in the leader's memory only, since no election needs them (rule R10).
//!
//! Membership says something about the past: whatever the high watermark has passed in this epoch under
//! `ack.policy=isr`, each member of that moment held.

use std::collections::BTreeSet;

use millrace_types::Instant;

use crate::identity::ReplicaKey;
use crate::mutation::{Mutation, broken};
use crate::raft::Raft;
use crate::role::Leader;

/// The set, and those who are in it on trust until the new leader has heard of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct InSync {
    full: BTreeSet<ReplicaKey>,
    provisional: BTreeSet<ReplicaKey>,
    provisional_until: Instant,
}

impl InSync {
    pub(crate) fn new(me: ReplicaKey, mut provisional: BTreeSet<ReplicaKey>, until: Instant) -> Self {
        provisional.remove(&me);
        Self { full: BTreeSet::from([me]), provisional, provisional_until: until }
    }

    /// Members, the provisional ones included.
    pub(crate) fn members(&self) -> impl Iterator<Item = ReplicaKey> + '_ {
        self.full.union(&self.provisional).copied()
    }

    pub(crate) fn full(&self) -> impl Iterator<Item = ReplicaKey> + '_ {
        self.full.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() + self.provisional.len()
    }

    pub(crate) fn contains(&self, key: ReplicaKey) -> bool {
        self.full.contains(&key) || self.provisional.contains(&key)
    }

    pub(crate) fn leave(&mut self, key: ReplicaKey) {
        self.full.remove(&key);
        self.provisional.remove(&key);
    }

    fn join(&mut self, key: ReplicaKey) {
        self.provisional.remove(&key);
        self.full.insert(key);
    }

    pub(crate) fn provisional_deadline(&self) -> Instant {
        if self.provisional.is_empty() { Instant::NEVER } else { self.provisional_until }
    }
}

impl Raft {
    /// Lets members leave that are silent, behind for too long or recovering, and replicas join that hold enough.
    pub(crate) fn update_in_sync(&mut self, now: Instant) {
        let end = self.log.end;
        let Some(leader) = self.as_leader_mut() else { return };
        for key in leader.in_sync.members().collect::<Vec<_>>() {
            if let Some(progress) = leader.progress.get_mut(&key) {
                progress.track(now, end);
            }
        }
        let Some(leader) = self.as_leader() else { return };
        let leaving: Vec<ReplicaKey> = leader.in_sync.members().filter(|key| self.leaves(now, leader, *key)).collect();
        let voters: Vec<ReplicaKey> = self.configuration.data_voters().collect();
        let joining: Vec<ReplicaKey> =
            voters.into_iter().filter(|key| !leaving.contains(key) && self.joins(leader, *key)).collect();
        let Some(leader) = self.as_leader_mut() else { return };
        for key in leaving {
            leader.in_sync.leave(key);
        }
        for key in joining {
            leader.in_sync.join(key);
            if let Some(progress) = leader.progress.get_mut(&key) {
                progress.forget_lag();
                progress.track(now, end);
            }
        }
    }

    fn leaves(&self, now: Instant, leader: &Leader, key: ReplicaKey) -> bool {
        if key == self.me.key {
            return false;
        }
        let progress = leader.progress.get(&key);
        let unproven = leader.in_sync.provisional.contains(&key) && leader.in_sync.provisional_until <= now;
        let lags = progress.is_some_and(|progress| progress.lag_deadline(self.settings.lag_max) <= now);
        let recovers = progress.is_some_and(|progress| progress.recovering);
        !self.configuration.is_data_voter(key) || !self.sessions.is_up(key) || unproven || lags || recovers
    }

    fn joins(&self, leader: &Leader, key: ReplicaKey) -> bool {
        let Some(progress) = leader.progress.get(&key).filter(|progress| !progress.recovering) else { return false };
        let Some(matched) = progress.matched else { return false };
        if !leader.knows_its_vote(key, progress.configuration) {
            return false;
        }
        if leader.in_sync.full.contains(&key) || !self.sessions.is_up(key) {
            return false;
        }
        if leader.in_sync.provisional.contains(&key) {
            // It was counted from the epoch's start on; holding the marker proves all that came before.
            return true;
        }
        let told = leader.witness_told.filter(|_| !broken(Mutation::JoinBehindWitness)).unwrap_or(0);
        // What the majority holds, not the high watermark: that may wait for this very replica to join.
        let Some(commit) = leader.commit else { return false };
        matched >= told && (matched >= commit || broken(Mutation::JoinBehind))
    }
}
