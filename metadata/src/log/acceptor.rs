//! The acceptor: promises, and accepts, for the one slot behind its last entry (M3).

use millrace_types::BrokerId;

use crate::apply::apply_encoded;
use crate::identity::{Acceptor, Proposer};

use super::ballot::{Ballot, Cell, Value};
use super::core::Log;
use super::message::Message;
use super::mutation::{Mutation, broken};

impl Log {
    /// The brokers that decide the slot behind the head.
    pub(super) fn voters(&self) -> Vec<BrokerId> {
        if self.head.epoch() == 0 {
            self.members.acceptors()
        } else {
            self.acceptors().iter().map(|acceptor| acceptor.broker).collect()
        }
    }

    fn acceptors(&self) -> &[Acceptor] {
        match &self.earlier_acceptors {
            Some(earlier) if broken(Mutation::AcceptorsOfEarlierState) && !earlier.is_empty() => earlier,
            _ => self.head.acceptors(),
        }
    }

    /// Whether this process is one of them: with the directory that the state names, but for the first slot, whose
    /// acceptors the cluster's file names by their ids.
    pub(super) fn is_voter(&self, process: Proposer) -> bool {
        if self.head.epoch() == 0 {
            return self.members.acceptors().contains(&process.broker);
        }
        let by_id = broken(Mutation::CountWipedAcceptor);
        let same =
            |acceptor: &Acceptor| *acceptor == process.acceptor() || (by_id && acceptor.broker == process.broker);
        self.acceptors().iter().any(same)
    }

    /// How many of the acceptors decide: a majority, and all of them to found a cluster (M8).
    pub(super) fn quorum(&self) -> usize {
        let voters = self.voters().len();
        let all = self.head.epoch() == 0 && !broken(Mutation::FoundByMajority);
        if all { voters } else { voters / 2 + 1 }
    }

    /// Whether this broker alone decides.
    pub(super) fn is_sole(&self) -> bool {
        self.voters() == [self.me.broker] && self.is_voter(self.me)
    }

    /// Who owns the slot behind the head: the process that proposed the entry at the head.
    pub(super) fn owner(&self) -> Option<Proposer> {
        self.head.proposal().map(|proposal| masked(proposal.by))
    }

    /// What this acceptor has promised for the slot behind the head.
    fn promised(&self) -> Option<Ballot> {
        let written = self.cell.as_ref().and_then(|cell| cell.promised);
        written.max(self.owner().map(|by| Ballot { n: 0, by }))
    }

    /// Whether a question about `slot` is for this acceptor now; answers it if not.
    fn guard(&mut self, from: Proposer, slot: u64) -> bool {
        let applied = self.head.epoch();
        if slot <= applied {
            if from != self.me {
                self.serve(from.broker, slot.saturating_sub(1));
            }
            false
        } else if slot > applied + 1 {
            self.send(from.broker, Message::Behind { slot, applied });
            false
        } else if !self.is_voter(self.me) {
            self.send(from.broker, Message::NotAcceptor { slot });
            false
        } else {
            true
        }
    }

    fn cell_mut(&mut self) -> &mut Cell {
        let slot = self.head.epoch() + 1;
        let promised = self.promised();
        self.cell.get_or_insert(Cell { slot, promised, accepted: None })
    }

    pub(super) fn prepare(&mut self, from: Proposer, slot: u64, ballot: Ballot) {
        if !self.guard(from, slot) {
            return;
        }
        let promised = self.promised();
        if let Some(promised) = promised.filter(|promised| *promised > ballot) {
            self.send(from.broker, Message::Nack { slot, ballot, promised });
            return;
        }
        if promised != Some(ballot) {
            self.cell_mut().promised = Some(ballot);
            self.put_cell();
        }
        let accepted = self.cell.as_ref().and_then(|cell| cell.accepted.clone());
        let promise = Message::Promise { slot, ballot, accepted };
        if broken(Mutation::PromiseBeforeDurable) {
            self.send(from.broker, promise);
        } else {
            self.send_durable(from.broker, promise);
        }
    }

    pub(super) fn accept(&mut self, from: Proposer, slot: u64, ballot: Ballot, value: Value) {
        if !self.guard(from, slot) {
            return;
        }
        let promised = self.promised();
        if let Some(promised) = promised.filter(|promised| *promised > ballot)
            && !broken(Mutation::AcceptBelowPromise)
        {
            self.send(from.broker, Message::Nack { slot, ballot, promised });
            return;
        }
        let again = self.cell.as_ref().and_then(|cell| cell.accepted.as_ref()).is_some_and(|(b, _)| *b == ballot);
        if !again || broken(Mutation::OwnerWithoutIncarnation) || broken(Mutation::OwnerWithoutDirectory) {
            if !self.fits(&value) {
                return;
            }
            let cell = self.cell_mut();
            cell.promised = cell.promised.max(Some(ballot));
            cell.accepted = Some((ballot, value));
            self.put_cell();
        }
        let accepted = Message::Accepted { slot, ballot };
        if broken(Mutation::AcceptBeforeDurable) {
            self.send(from.broker, accepted);
        } else {
            self.send_durable(from.broker, accepted);
        }
    }

    /// Whether the entry applies here. One that does not would stop every broker once it is chosen.
    fn fits(&self, value: &Value) -> bool {
        // What stands around the list would not be in the journal, and the hash would be another.
        let bare = value.first() == Some(&b'[') && value.last() == Some(&b']');
        bare && apply_encoded(&mut self.head.clone(), value).is_ok()
    }
}

/// The process as ballots and owners name it; less of it when a rule is broken.
pub(super) fn masked(mut process: Proposer) -> Proposer {
    if broken(Mutation::OwnerWithoutIncarnation) {
        process.incarnation = 0;
    }
    if broken(Mutation::OwnerWithoutDirectory) {
        process.directory = millrace_types::DirectoryId::from_u128(0);
    }
    process
}
