//! How a cluster comes to be, and how a broker comes into it (M8, M13).

use std::time::Duration;

use crate::apply::apply;
use crate::command::Command;
use crate::entry::{Change, Entry};
use crate::identity::Acceptor;
use crate::outcome::CommandResult;

use super::ballot::Value;
use super::batch::{Origin, Unit};
use super::core::Log;
use super::event::Halt;
use super::mutation::{Mutation, broken};

/// Founders begin one after the other, so that the first is rarely disturbed.
const FOUNDER_DELAY: Duration = Duration::from_millis(50);

impl Log {
    /// Founds the cluster when every witness of the file says that it knows of none.
    pub(super) fn found(&mut self) -> bool {
        if self.now < self.register_at {
            return false;
        }
        let witnesses = self.members.witnesses();
        let voters = self.members.acceptors();
        let Some(rank) = voters.iter().position(|broker| *broker == self.me.broker) else { return false };
        let blank = |broker: &millrace_types::BrokerId| {
            *broker == self.me.broker || self.sessions.get(*broker).is_some_and(|one| one.applied == Some(0))
        };
        let heard = witnesses.iter().filter(|broker| blank(broker)).count();
        let enough = if broken(Mutation::FoundByMajority) { witnesses.len() / 2 + 1 } else { witnesses.len() };
        if heard < enough {
            self.found_at = None;
            return false;
        }
        if voters.len() == 1 {
            self.found_alone();
            return true;
        }
        let delay = FOUNDER_DELAY.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX));
        let begin = self.now.after(delay);
        let at = *self.found_at.get_or_insert(begin);
        if self.now < at {
            return false;
        }
        self.start_round();
        true
    }

    /// A broker that decides alone founds and registers in one entry.
    fn found_alone(&mut self) {
        let genesis = Change::Genesis { cluster_id: self.cluster_id.clone(), acceptors: Vec::new() };
        let entry = Entry::new(vec![genesis, Change::RegisterBroker(self.registration.clone())]);
        self.registering = true;
        let unit = Unit {
            origin: Origin::Registration,
            commands: vec![Command::RegisterBroker(self.registration.clone())],
            deadline: millrace_types::Instant::NEVER,
        };
        self.append_alone(vec![(unit, vec![CommandResult::Registered], 1)], vec![entry]);
    }

    /// The first entry, with the acceptors under the directories that they have promised with.
    pub(super) fn genesis(&mut self, acceptors: Vec<Acceptor>) -> Option<Value> {
        let genesis = Change::Genesis { cluster_id: self.cluster_id.clone(), acceptors };
        self.encode(vec![genesis]).1
    }

    /// Whether the state knows this very process.
    pub(super) fn is_registered(&self) -> bool {
        self.durable.broker(self.registration.id) == Some(&self.registration)
    }

    /// Asks for this broker's registration, before anything else.
    pub(super) fn register(&mut self) {
        if self.is_registered() || self.registering || self.now < self.register_at {
            return;
        }
        self.registering = true;
        self.register_at = millrace_types::Instant::ZERO;
        let deadline = self.now.after(self.settings.commit_timeout);
        let commands = vec![Command::RegisterBroker(self.registration.clone())];
        self.queue.push_front(Unit { origin: Origin::Registration, commands, deadline });
    }

    /// Decides entries by writing them: an acceptor alone needs neither ballot nor cell, for its write is both the
    /// majority's acceptance and the entry.
    pub(super) fn append_alone(&mut self, units: Vec<(Unit, Vec<CommandResult>, usize)>, entries: Vec<Entry>) {
        let before = self.head.epoch();
        for entry in entries {
            let mut after = self.head.clone();
            let encoded = entry.encode().map_err(|error| error.to_string());
            let applied = apply(&mut after, &entry).map_err(|error| error.to_string());
            match (encoded, applied) {
                (Ok(encoded), Ok(())) => self.advance_head(encoded.into(), entry, after),
                (Err(reason), _) | (_, Err(reason)) => {
                    self.halt(Halt::Entry { epoch: self.head.epoch() + 1, reason });
                    return;
                }
            }
        }
        for (unit, results, behind) in units {
            self.owe(vec![(unit, results)], before + behind as u64);
        }
    }
}
