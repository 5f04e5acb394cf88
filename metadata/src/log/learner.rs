//! The learner: chosen entries, in their order (M6, M12).

use crate::apply::apply_encoded;
use crate::chain::ChainHash;
use crate::entry::Entry;
use crate::identity::{Proposal, Proposer};
use crate::image::Image;
use crate::record::encoded_entry_record;

use super::ballot::Value;
use super::core::Log;
use super::event::Halt;
use super::message::Message;
use super::mutation::{Mutation, broken};
use super::proposer::{Round, Stage};

impl Log {
    /// Takes the chosen entry of the open slot.
    fn learn(&mut self, value: Value) -> bool {
        let mut after = self.head.clone();
        match apply_encoded(&mut after, &value) {
            Ok(entry) => {
                self.advance_head(value, entry, after);
                true
            }
            Err(error) => {
                self.halt(Halt::Entry { epoch: self.head.epoch() + 1, reason: error.to_string() });
                false
            }
        }
    }

    /// An own round has chosen an entry: learn it, and tell everybody.
    pub(super) fn learn_and_tell(&mut self, value: Value) {
        let first = self.head.epoch() + 1;
        if !self.learn(value.clone()) {
            return;
        }
        let hash = self.head.hash();
        let brokers: Vec<_> = self.sessions.brokers().collect();
        for broker in brokers {
            self.send(broker, Message::Chosen { first, values: vec![value.clone()], hash });
        }
    }

    /// Whether an acceptor alone has accepted what another broker proposed: that is chosen when it is durable, and
    /// learned then.
    pub(super) fn learn_own_cell(&mut self) -> bool {
        let accepted = self.cell.as_ref().and_then(|cell| cell.accepted.clone());
        let Some((ballot, value)) = accepted.filter(|_| self.is_sole()) else { return false };
        if self.disk.holds(self.head.epoch() + 1, ballot) {
            self.learn_and_tell(value);
        }
        true
    }

    /// The state goes on by one entry.
    pub(super) fn advance_head(&mut self, value: Value, entry: Entry, after: Image) {
        let record = match encoded_entry_record(&value, &after) {
            Ok(record) => record,
            Err(error) => {
                self.halt(Halt::Entry { epoch: after.epoch(), reason: error.to_string() });
                return;
            }
        };
        self.forget_cell_early();
        self.earlier_acceptors = Some(self.head.acceptors().into());
        self.disk.put_entry(record, entry, &after);
        self.tail.push(value, after.hash(), &self.settings);
        self.head = after;
        self.cell = None;
        self.slot_decided(self.head.proposal());
    }

    /// What was under way in the slot is over.
    pub(super) fn slot_decided(&mut self, proposal: Option<Proposal>) {
        let stage = std::mem::take(&mut self.round).stage;
        let Some(batch) = &self.batch else { return };
        let mine = Proposal { by: self.me, number: batch.number };
        let own = batch.value.is_some() && proposal == Some(mine) && !broken(Mutation::ForgetOwnProposal);
        if own {
            let epoch = self.head.epoch();
            let units = self.batch.take().map_or_else(Vec::new, |batch| batch.units);
            self.owe(units, epoch);
        } else if let Stage::Forwarded { .. } = stage {
            self.round = Round { stage, ..Round::default() };
        } else {
            self.requeue();
        }
    }

    /// Entries that somebody says are chosen.
    pub(super) fn chosen(&mut self, from: Proposer, first: u64, values: Vec<Value>, hash: ChainHash) {
        let last = first.saturating_add(values.len() as u64).saturating_sub(1);
        for (epoch, value) in (first..=last).zip(values) {
            let next = self.head.epoch() + 1;
            if epoch > next {
                break;
            }
            if epoch == next && !self.learn(value) {
                return;
            }
        }
        self.note_reach(from, last);
        self.compare(from, last, hash);
        self.fetched(from);
    }

    /// Compares the hash chains at an epoch that both have. Unequal ones prove that apply was not the same function
    /// everywhere, or that two entries were chosen: going on would spread it (M14).
    pub(super) fn compare(&mut self, from: Proposer, epoch: u64, other: ChainHash) {
        let own = if epoch == self.head.epoch() { Some(self.head.hash()) } else { self.tail.hash(epoch) };
        if let Some(own) = own.filter(|own| *own != other) {
            self.halt(Halt::Hash { epoch, own, other, from });
        }
    }

    pub(super) fn note_reach(&mut self, from: Proposer, epoch: u64) {
        if let Some(session) = self.sessions.of(from) {
            session.reaches = session.reaches.max(epoch);
        }
    }

    pub(super) fn status(&mut self, from: Proposer, applied: u64, hash: ChainHash) {
        if let Some(session) = self.sessions.of(from) {
            session.applied = session.applied.max(Some(applied));
            session.reaches = session.reaches.max(applied);
        }
        if applied > 0 {
            self.compare(from, applied, hash);
        }
    }

    /// Tells everybody how far this broker is, durably.
    pub(super) fn tell_status(&mut self) {
        if self.members.is_alone() {
            return;
        }
        self.status_at = self.now.after(self.settings.status);
        let (applied, hash) = (self.durable.epoch(), self.durable.hash());
        let brokers: Vec<_> = self.sessions.brokers().collect();
        for broker in brokers {
            self.send(broker, Message::Status { applied, hash });
        }
    }
}
