//! Commands that another proposer commits, since its ballot was in the way (M11).

use crate::command::Command;
use crate::identity::{Proposal, Proposer};
use crate::outcome::CommandResult;

use super::batch::{Origin, Unit};
use super::codec::forward_fits;
use super::core::Log;
use super::message::Message;
use super::mutation::{Mutation, broken};
use super::proposer::Stage;

impl Log {
    /// Hands the batch to the proposer `to`, if it is heard. What was forwarded to this broker is not handed on.
    pub(super) fn forward_to(&mut self, to: Proposer) -> bool {
        let heard = to != self.me && self.sessions.of(to).is_some();
        let Some(batch) = &self.batch else { return false };
        let local = batch.units.iter().all(|(unit, _)| matches!(unit.origin, Origin::Local(_)));
        if !heard || !local || batch.value.is_none() || batch.slot != self.head.epoch() + 1 {
            return false;
        }
        let commands: Vec<Command> = batch.units.iter().flat_map(|(unit, _)| unit.commands.iter().cloned()).collect();
        if commands.len() != batch.units.len() || !forward_fits(&commands) {
            return false;
        }
        let (slot, number) = (batch.slot, batch.number);
        self.number += 1;
        let id = self.number;
        let until = self.now.after(self.settings.forward_timeout);
        self.round.refusals.clear();
        self.round.resend = None;
        self.round.stage = Stage::Forwarded { to, id, until };
        self.send(to.broker, Message::Forward { id, slot, number, commands });
        true
    }

    pub(super) fn forward(&mut self, from: Proposer, id: u64, (slot, number): (u64, u64), commands: Vec<Command>) {
        let Some(session) = self.sessions.of(from) else { return };
        // Requests grow, so one that comes twice, or late, is known by its number.
        if id <= session.forwarded && !broken(Mutation::ForwardTwice) {
            return;
        }
        session.forwarded = session.forwarded.max(id);
        let room = self.queue.len() + commands.len() <= self.settings.max_queued;
        if !room || commands.is_empty() || !self.is_registered() {
            self.send(from.broker, Message::Forwarded { id, outcome: None });
            return;
        }
        let deadline = self.now.after(self.settings.forward_timeout);
        self.queue.push_back(Unit { origin: Origin::Forwarded { from, id, slot, number }, commands, deadline });
    }

    /// Whether commands may be proposed in the open slot. Forwarded ones may only where it is sure that the proposal
    /// of their sender is not chosen: in its slot, or when that slot is known to hold another.
    pub(super) fn is_due(&self, unit: &Unit) -> bool {
        let Origin::Forwarded { from, slot, number, .. } = unit.origin else { return true };
        if broken(Mutation::ForwardChosen) || slot == self.head.epoch() + 1 {
            return true;
        }
        let other = |chosen: Option<Proposal>| chosen != Some(Proposal { by: from, number });
        slot <= self.head.epoch() && self.tail.proposal(slot).is_some_and(other)
    }

    pub(super) fn forwarded(&mut self, from: Proposer, id: u64, outcome: Option<(u64, Vec<CommandResult>)>) {
        if !matches!(&self.round.stage, Stage::Forwarded { to, id: mine, .. } if *to == from && *mine == id) {
            return;
        }
        self.round.stage = Stage::Idle;
        let Some(batch) = self.batch.take() else { return };
        match outcome {
            Some((epoch, results)) if results.len() == batch.units.len() => {
                let answered = batch.units.into_iter().zip(results).map(|((unit, _), result)| (unit, vec![result]));
                self.owe(answered.collect(), epoch);
            }
            Some(_) => {
                self.batch = Some(batch);
                self.abandon();
            }
            // Nothing was done there. What this broker has proposed itself may still be chosen, in its slot alone.
            None if batch.slot == self.head.epoch() + 1 => {
                self.batch = Some(batch);
                self.back_off();
            }
            None => {
                self.batch = Some(batch);
                self.requeue();
            }
        }
    }

    /// The proposer that has the commands cannot be asked any more: nobody knows what became of them.
    pub(super) fn forward_lost(&mut self) {
        self.round.stage = Stage::Idle;
        self.abandon();
    }
}
