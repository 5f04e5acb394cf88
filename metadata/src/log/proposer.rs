//! The proposer: one batch at a time, in the slot behind the head (M4, M5).
//!
//! What was used in a slot outlives the round: a full disk can take this broker back to a slot that it has seen decided, and
//! a ballot stands for one entry.

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::{BrokerId, Instant};

use crate::identity::Proposer;

use super::acceptor::masked;
use super::ballot::{Ballot, Value};
use super::core::Log;
use super::message::Message;
use super::mutation::{Mutation, broken};

/// What the proposer waits for.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// For a batch.
    #[default]
    Idle,
    /// For promises.
    Preparing { ballot: Ballot, promises: BTreeMap<BrokerId, (Proposer, Option<(Ballot, Value)>)> },
    /// For acceptances.
    Accepting { ballot: Ballot, value: Value, accepted: BTreeSet<BrokerId> },
    /// For a majority to say that the slot is open (M9).
    Asking { id: u64, agreed: BTreeSet<BrokerId> },
    /// For another proposer to commit the batch (M11).
    Forwarded { to: Proposer, id: u64, until: Instant },
    /// For its turn.
    BackingOff { until: Instant },
}

/// What this broker has tried in the open slot.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) stage: Stage,
    /// Who has promised a higher ballot than ours.
    pub(super) refusals: BTreeMap<BrokerId, Ballot>,
    /// The highest ballot number seen.
    pub(super) highest: u64,
    /// How often another ballot was in the way.
    pub(super) tries: u32,
    /// When the question is asked again, and how often it was.
    pub(super) resend: Option<(Instant, u32)>,
}

impl Log {
    /// Proposes the batch that is there, or finishes the slot if it has none.
    pub(super) fn start_round(&mut self) {
        let value = self.batch.as_ref().and_then(|batch| batch.value.clone());
        let by = masked(self.me);
        let slot = self.head.epoch() + 1;
        let last = self.used.filter(|(used, _)| *used == slot).map(|(_, n)| n);
        let owns = last.is_none() && self.owner() == Some(by);
        match value {
            Some(value) if owns => {
                self.used = Some((slot, 0));
                self.start_accepting(Ballot { n: 0, by }, value);
            }
            _ => {
                let n = self.round.highest.max(last.unwrap_or(0)).saturating_add(1);
                self.used = Some((slot, n));
                let ballot = Ballot { n, by };
                self.begin_stage(Stage::Preparing { ballot, promises: BTreeMap::new() });
            }
        }
    }

    fn start_accepting(&mut self, ballot: Ballot, value: Value) {
        if let Some(batch) = &mut self.batch
            && batch.value.as_ref() == Some(&value)
        {
            batch.sent = true;
        }
        self.begin_stage(Stage::Accepting { ballot, value, accepted: BTreeSet::new() });
    }

    /// Asks every acceptor the question of a stage.
    pub(super) fn begin_stage(&mut self, stage: Stage) {
        self.round.stage = stage;
        self.round.refusals.clear();
        self.round.resend = Some((self.now.after(self.settings.resend), 0));
        for voter in self.voters() {
            self.ask(voter);
        }
    }

    /// Asks `voter` the question of the stage, unless it has answered.
    pub(super) fn ask(&mut self, voter: BrokerId) {
        let slot = self.head.epoch() + 1;
        let question = match &self.round.stage {
            Stage::Preparing { ballot, promises } if !promises.contains_key(&voter) => {
                Message::Prepare { slot, ballot: *ballot }
            }
            Stage::Accepting { ballot, value, accepted } if !accepted.contains(&voter) => {
                Message::Accept { slot, ballot: *ballot, value: value.clone() }
            }
            Stage::Asking { id, agreed } if !agreed.contains(&voter) => Message::Query { id: *id, slot },
            _ => return,
        };
        self.send(voter, question);
    }

    /// Some have not answered: once more, unless a higher ballot is known to be in the way.
    pub(super) fn ask_again(&mut self) {
        if !self.round.refusals.is_empty() {
            self.step_back();
            return;
        }
        let times = self.round.resend.map_or(0, |(_, times)| times + 1);
        let delay = self.settings.resend.saturating_mul(1 << times.min(8)).min(self.settings.backoff_max);
        self.round.resend = Some((self.now.after(delay), times));
        for voter in self.voters() {
            self.ask(voter);
        }
    }

    pub(super) fn promise(&mut self, from: Proposer, slot: u64, ballot: Ballot, accepted: Option<(Ballot, Value)>) {
        if slot != self.head.epoch() + 1 || !self.is_voter(from) {
            return;
        }
        let quorum = self.quorum();
        let Stage::Preparing { ballot: mine, promises } = &mut self.round.stage else { return };
        if *mine != ballot {
            return;
        }
        promises.insert(from.broker, (from, accepted));
        if promises.len() < quorum {
            return;
        }
        let promises = std::mem::take(promises);
        let found = promises.values().filter_map(|(_, accepted)| accepted.clone());
        let adopted = if broken(Mutation::AdoptAnyAccepted) {
            found.min_by_key(|(ballot, _)| *ballot)
        } else {
            found.max_by_key(|(ballot, _)| *ballot).filter(|_| !broken(Mutation::AdoptNothing))
        };
        let own = self.batch.as_ref().and_then(|batch| batch.value.clone());
        match adopted.map(|(_, value)| value).or(own) {
            Some(value) => self.start_accepting(ballot, value),
            None if self.head.epoch() == 0 => {
                let genesis = self.genesis(promises.values().map(|(from, _)| from.acceptor()).collect());
                if let Some(genesis) = genesis {
                    self.start_accepting(ballot, genesis);
                }
            }
            // A majority has promised and has accepted nothing: nothing was chosen before they did.
            None => self.barrier_passed(),
        }
    }

    pub(super) fn accepted(&mut self, from: Proposer, slot: u64, ballot: Ballot) {
        if slot != self.head.epoch() + 1 || !self.is_voter(from) {
            return;
        }
        let quorum = self.quorum();
        let Stage::Accepting { ballot: mine, value, accepted } = &mut self.round.stage else { return };
        if *mine != ballot {
            return;
        }
        accepted.insert(from.broker);
        if accepted.len() >= quorum {
            let value = value.clone();
            self.learn_and_tell(value);
        }
    }

    pub(super) fn nack(&mut self, from: Proposer, slot: u64, ballot: Ballot, promised: Ballot) {
        let (Stage::Preparing { ballot: mine, .. } | Stage::Accepting { ballot: mine, .. }) = &self.round.stage else {
            return;
        };
        if slot != self.head.epoch() + 1 || *mine != ballot || !self.is_voter(from) {
            return;
        }
        self.round.refusals.insert(from.broker, promised);
        if self.voters().len() - self.round.refusals.len() < self.quorum() {
            self.step_back();
        }
    }

    /// Another ballot is in the way: its proposer shall commit this batch as well, or has a moment to finish.
    fn step_back(&mut self) {
        let Some(highest) = self.round.refusals.values().max().copied() else { return };
        self.round.highest = self.round.highest.max(highest.n);
        if !self.forward_to(highest.by) {
            self.back_off();
        }
    }

    pub(super) fn back_off(&mut self) {
        let limit = self.settings.backoff_min.saturating_mul(1 << self.round.tries.min(16));
        let limit = limit.min(self.settings.backoff_max);
        self.round.tries += 1;
        let delay = self.random.delay_below(limit).max(self.settings.backoff_min);
        self.round.refusals.clear();
        self.round.resend = None;
        self.round.stage = Stage::BackingOff { until: self.now.after(delay) };
    }

    /// The turn has come.
    pub(super) fn resume(&mut self) {
        self.round.stage = Stage::Idle;
        match &self.batch {
            Some(batch) if batch.slot == self.head.epoch() + 1 => self.start_round(),
            Some(_) => self.requeue(),
            None => {}
        }
    }
}
