//! Asks whether it would be elected, before it begins an epoch (Raft thesis 9.6, KIP-996).

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::Instant;

use super::Role;
use crate::effect::Effect;
use crate::election::Grant;
use crate::identity::ReplicaKey;
use crate::message::{Message, VoteRequest};
use crate::mutation::{Mutation, broken};
use crate::raft::Raft;
use crate::tally::Begin;

/// What a prospective candidate knows.
#[derive(Debug, Clone)]
pub(crate) struct Prospective {
    /// Who would vote for it.
    pub(crate) granted: BTreeMap<ReplicaKey, Grant>,
    pub(crate) denied: BTreeSet<ReplicaKey>,
    /// Who still leads, as a voter says.
    pub(crate) hint: Option<ReplicaKey>,
    /// When it gives up.
    pub(crate) until: Instant,
}

impl Raft {
    /// Asks for pre-votes; `transfer` is the leader that has named this replica its successor.
    pub(crate) fn campaign(&mut self, now: Instant, transfer: Option<ReplicaKey>, out: &mut Vec<Effect>) {
        self.tally.began = Some(match transfer {
            Some(_) => Begin::HandedOver,
            None if self.led_epoch == 0 => Begin::First,
            None => Begin::NoLeader,
        });
        let until = now.after(self.patience());
        let granted = BTreeMap::from([(self.me.key, self.own_grant())]);
        self.transition(Role::Prospective(Prospective { granted, denied: BTreeSet::new(), hint: None, until }));
        if broken(Mutation::NoPreVote) {
            return self.become_candidate(now, out);
        }
        self.ask_voters(true, transfer, out);
        self.count_votes(now, out);
    }

    /// Sends a vote request to every other voter.
    pub(crate) fn ask_voters(&self, pre: bool, transfer: Option<ReplicaKey>, out: &mut Vec<Effect>) {
        for voter in self.configuration.voters.iter().filter(|voter| voter.key != self.me.key) {
            self.send(voter.key, Message::Vote(self.vote_request(pre, transfer)), out);
        }
    }

    /// Asks a voter that was not heard when the others were asked.
    pub(crate) fn ask_voter(&self, key: ReplicaKey, out: &mut Vec<Effect>) {
        let (pre, granted) = match &self.role {
            Role::Prospective(prospective) => (true, &prospective.granted),
            Role::Candidate(candidate) => (false, &candidate.granted),
            _ => return,
        };
        // The candidate's own vote is durable before another is asked for.
        if granted.contains_key(&self.me.key) && !granted.contains_key(&key) && self.configuration.voter(key).is_some()
        {
            self.send(key, Message::Vote(self.vote_request(pre, None)), out);
        }
    }

    /// The replica's vote for itself.
    pub(crate) const fn own_grant(&self) -> Grant {
        Grant { recovering: self.recovering, incarnation: self.me.incarnation }
    }

    pub(crate) fn vote_request(&self, pre: bool, transfer: Option<ReplicaKey>) -> VoteRequest {
        let (epoch, configuration) = (self.epoch, self.configuration.clone());
        VoteRequest { epoch, pre, transfer, position: self.log.vote_position(), configuration }
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
