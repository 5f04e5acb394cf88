//! Asks whether it would be elected, before it begins an epoch (Raft thesis 9.6, KIP-996).

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::Instant;

use super::Role;
use crate::effect::Effect;
use crate::identity::ReplicaKey;
use crate::message::{Message, VoteRequest};
use crate::mutation::{Mutation, broken};
use crate::raft::Raft;

/// What a prospective candidate knows.
#[derive(Debug, Clone)]
pub(crate) struct Prospective {
    /// Who would vote for it, and whether that voter may have lost records.
    pub(crate) granted: BTreeMap<ReplicaKey, bool>,
    pub(crate) denied: BTreeSet<ReplicaKey>,
    /// Who still leads, as a voter says.
    pub(crate) hint: Option<ReplicaKey>,
    /// When it gives up.
    pub(crate) until: Instant,
}

impl Raft {
    /// Asks for pre-votes; `transfer` is the leader that has named this replica its successor.
    pub(crate) fn campaign(&mut self, now: Instant, transfer: Option<ReplicaKey>, out: &mut Vec<Effect>) {
        let until = now.after(self.settings.election_timeout);
        let granted = BTreeMap::from([(self.me.key, self.recovering)]);
        self.transition(Role::Prospective(Prospective { granted, denied: BTreeSet::new(), hint: None, until }));
        if broken(Mutation::NoPreVote) {
            return self.become_candidate(now, out);
        }
        self.ask_voters(true, transfer, out);
        self.count_votes(now, out);
    }

    /// Sends a vote request to every other voter.
    pub(crate) fn ask_voters(&self, pre: bool, transfer: Option<ReplicaKey>, out: &mut Vec<Effect>) {
        let (epoch, configuration) = (self.epoch, self.configuration.clone());
        let request = VoteRequest { epoch, pre, transfer, position: self.log.vote_position(), configuration };
        for voter in self.configuration.voters.iter().filter(|voter| voter.key != self.me.key) {
            self.send(voter.key, Message::Vote(request.clone()), out);
        }
    }

    pub(crate) fn settle_prospective(&mut self, now: Instant) {
        if let Role::Prospective(prospective) = &self.role
            && (prospective.until <= now || !self.may_campaign())
        {
            let hint = prospective.hint;
            self.back_off(now, hint);
        }
    }
}
