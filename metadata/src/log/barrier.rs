//! The barrier: proof that the state was the head of the log, without which no refusal is answered (M9).

use std::collections::BTreeSet;

use crate::identity::Proposer;

use super::core::Log;
use super::message::Message;
use super::mutation::{Mutation, broken};
use super::proposer::Stage;

impl Log {
    /// Asks the acceptors whether the open slot is open.
    pub(super) fn start_barrier(&mut self) {
        self.number += 1;
        self.begin_stage(Stage::Asking { id: self.number, agreed: BTreeSet::new() });
    }

    /// The acceptor's side. What is accepted counts before it is durable: it may be by the time it is chosen.
    pub(super) fn query(&mut self, from: Proposer, id: u64, slot: u64) {
        let applied = self.head.epoch();
        if slot != applied + 1 {
            // Who is behind has accepted nothing of the slot; who is ahead sends the asker to what it missed.
            self.send(from.broker, Message::Head { id, applied, undecided: false });
        } else if self.is_voter(self.me) {
            let undecided = self.cell.as_ref().is_some_and(|cell| cell.accepted.is_some());
            self.send(from.broker, Message::Head { id, applied, undecided });
        } else {
            self.send(from.broker, Message::NotAcceptor { slot });
        }
    }

    pub(super) fn head_told(&mut self, from: Proposer, id: u64, applied: u64, undecided: bool) {
        let (slot, quorum, voter) = (self.head.epoch() + 1, self.quorum(), self.is_voter(from));
        let Stage::Asking { id: mine, agreed } = &mut self.round.stage else { return };
        if *mine != id || !voter {
            return;
        }
        if applied >= slot {
            // The state was not the head; the commands are checked again on what follows.
            self.round.stage = Stage::Idle;
            self.round.resend = None;
            self.requeue();
            self.note_reach(from, applied);
            self.back_off();
        } else if undecided && !broken(Mutation::BarrierIgnoresAccepted) {
            // Perhaps chosen, perhaps not: finishing the slot tells.
            self.start_round();
        } else {
            agreed.insert(from.broker);
            if agreed.len() >= quorum {
                self.barrier_passed();
            }
        }
    }

    /// The state was the head when the commands were already there: their answers hold.
    pub(super) fn barrier_passed(&mut self) {
        self.round.stage = Stage::Idle;
        self.round.resend = None;
        let epoch = self.head.epoch();
        let units = self.batch.take().map_or_else(Vec::new, |batch| batch.units);
        self.owe(units, epoch);
    }
}
