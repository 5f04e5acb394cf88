//! Has begun an epoch and asks for its votes (Raft 5.2).

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::{Instant, LeaderEpoch};

use super::Role;
use crate::configuration::EPOCHS_PER_GENERATION;
use crate::effect::Effect;
use crate::election::Grant;
use crate::identity::ReplicaKey;
use crate::mutation::{Mutation, broken};
use crate::puts::After;
use crate::raft::Raft;

/// What a candidate knows.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Who has voted for it.
    pub(crate) granted: BTreeMap<ReplicaKey, Grant>,
    pub(crate) denied: BTreeSet<ReplicaKey>,
    /// When it gives up.
    pub(crate) until: Instant,
}

impl Raft {
    /// Begins an epoch with a vote for itself. The others are asked when that is durable: a candidate that forgets its
    /// epoch could ask for it again, with another log.
    pub(crate) fn become_candidate(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let until = now.after(self.patience());
        let candidate = Candidate { granted: BTreeMap::new(), denied: BTreeSet::new(), until };
        self.transition(Role::Candidate(candidate));
        self.tally.elections_begun += 1;
        let epoch = self.next_epoch();
        self.put_term(epoch, Some(self.me.key), vec![After::SelfVote(epoch)], out);
    }

    /// The epoch that this replica begins: the next one, and of a forced generation none that those who were given up can have
    /// begun. Else two logs would have other records in one epoch, and nobody would notice (rule R15).
    fn next_epoch(&self) -> LeaderEpoch {
        let next = self.epoch.saturating_add(1);
        if broken(Mutation::MeetLostEpochs) {
            return next;
        }
        let generation = LeaderEpoch::try_from(self.configuration.id.generation).unwrap_or(LeaderEpoch::MAX);
        next.max(generation.saturating_mul(EPOCHS_PER_GENERATION))
    }

    /// The vote for itself is durable.
    pub(crate) fn self_vote(&mut self, now: Instant, epoch: LeaderEpoch, out: &mut Vec<Effect>) {
        let (me, grant, until) = (self.me.key, self.own_grant(), now.after(self.patience()));
        let is_same = epoch == self.epoch;
        if let Role::Candidate(candidate) = &mut self.role
            && is_same
        {
            candidate.granted.insert(me, grant);
            candidate.until = until;
            self.ask_voters(false, None, out);
            self.count_votes(now, out);
        }
    }

    pub(crate) fn settle_candidate(&mut self, now: Instant) {
        if let Role::Candidate(candidate) = &self.role
            && (candidate.until <= now || self.stalled)
        {
            self.back_off(now, None);
        }
    }
}
