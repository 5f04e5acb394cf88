//! The commands that wait, and the batch of them that is proposed in the open slot.

use std::collections::VecDeque;

use millrace_types::{BrokerId, DirectoryId, ErrorCode, Instant};

use crate::apply::apply;
use crate::command::Command;
use crate::entry::{Change, Entry};
use crate::identity::{Proposal, Proposer};
use crate::image::Image;
use crate::outcome::{CommandResult, ItemError};
use crate::plan::{Planned, plan};

use super::ballot::Value;
use super::codec::MAX_VALUE_BYTES;
use super::core::Log;
use super::event::{Effect, Halt};
use super::message::Message;
use super::mutation::{Mutation, broken};
use super::proposer::Stage;

/// Who asks for commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The host.
    Local(u64),
    /// This broker, which registers itself.
    Registration,
    /// Another broker, which has proposed them as its proposal `number` of `slot`.
    Forwarded { from: Proposer, id: u64, slot: u64, number: u64 },
}

/// Commands that are answered together.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) origin: Origin,
    pub(super) commands: Vec<Command>,
    pub(super) deadline: Instant,
}

/// What is proposed in one slot.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) slot: u64,
    pub(super) number: u64,
    /// The entry; `None` when the commands change nothing and wait for a barrier.
    pub(super) value: Option<Value>,
    /// Whether an acceptor may have the entry.
    pub(super) sent: bool,
    pub(super) units: Vec<(Unit, Vec<CommandResult>)>,
    pub(super) deadline: Instant,
}

/// An answer that waits until its epoch is durable here.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) epoch: u64,
    origin: Origin,
    results: Vec<CommandResult>,
}

/// Commands checked on the state at the head, and on each other.
struct Composed {
    /// Each with the entries up to its own.
    units: Vec<(Unit, Vec<CommandResult>, usize)>,
    /// One for each unit that changes something.
    entries: Vec<Entry>,
    size: usize,
    after: Image,
}

impl Log {
    /// Makes a batch of what waits and begins to decide it. Returns whether something was done.
    pub(super) fn begin_batch(&mut self) -> bool {
        let Some(Composed { units, entries, .. }) = self.compose() else { return false };
        if units.is_empty() {
            return true;
        }
        if self.is_sole() {
            self.append_alone(units, entries);
            return true;
        }
        let units: Vec<_> = units.into_iter().map(|(unit, results, _)| (unit, results)).collect();
        let slot = self.head.epoch() + 1;
        let deadline = earliest(&units);
        let changes: Vec<Change> = entries.into_iter().flat_map(|entry| entry.changes).collect();
        let nothing = changes.is_empty();
        let (number, value) = if nothing { (0, None) } else { self.encode(changes) };
        if !nothing && value.is_none() {
            return false;
        }
        self.batch = Some(Batch { slot, number, value, sent: false, units, deadline });
        if !nothing {
            self.start_round();
        } else if broken(Mutation::AnswerWithoutBarrier) {
            self.barrier_passed();
        } else {
            self.start_barrier();
        }
        true
    }

    /// The entry of these changes as a new proposal of this process.
    pub(super) fn encode(&mut self, changes: Vec<Change>) -> (u64, Option<Value>) {
        self.number += 1;
        let proposal = Proposal { by: self.me, number: self.number };
        let entry = Entry::new(std::iter::once(Change::Proposed(proposal)).chain(changes).collect());
        match entry.encode() {
            Ok(bytes) => (self.number, Some(bytes.into())),
            Err(error) => {
                self.halt(Halt::Entry { epoch: self.head.epoch() + 1, reason: error.to_string() });
                (self.number, None)
            }
        }
    }

    fn compose(&mut self) -> Option<Composed> {
        let mut composed = Composed { units: Vec::new(), entries: Vec::new(), size: 0, after: self.head.clone() };
        let mut commands = 0;
        while commands < self.settings.max_batch_commands && composed.size < self.settings.max_batch_bytes {
            let Some(unit) = self.queue.pop_front() else { break };
            if !self.is_due(&unit) {
                self.deliver(unit.origin, 0, Vec::new());
                continue;
            }
            commands += unit.commands.len();
            if let Some(unit) = self.compose_unit(&mut composed, unit)? {
                self.queue.push_front(unit);
                break;
            }
            let registered = composed.units.iter().any(|(unit, ..)| unit.origin == Origin::Registration);
            if registered || composed.after.acceptors() != self.head.acceptors() {
                // Commands wait for the registration; and behind a change of the acceptors others decide.
                break;
            }
        }
        Some(composed)
    }

    /// Adds a unit to the batch; returns it when there is no room for it behind the others. `None` when the state
    /// transition and the plan disagree: the log has stopped then.
    fn compose_unit(&mut self, composed: &mut Composed, unit: Unit) -> Option<Option<Unit>> {
        let mut after = composed.after.clone();
        let mut changes = Vec::new();
        let mut results = Vec::new();
        let mut size = 0;
        let sole = self.is_sole();
        let limit = if sole { self.settings.max_entry_bytes } else { MAX_VALUE_BYTES };
        for command in &unit.commands {
            let Planned { entry, result } = self.plan(&after, command.clone());
            let Some(entry) = entry else {
                results.push(result);
                continue;
            };
            let bytes = entry.encode().map_or(usize::MAX, |bytes| bytes.len());
            if bytes > limit {
                results.push(too_large(bytes));
                continue;
            }
            if !sole && composed.size + size + bytes > limit && (composed.size > 0 || size > 0) {
                if composed.units.is_empty() {
                    results.push(too_large(bytes));
                    continue;
                }
                return Some(Some(unit));
            }
            if let Err(error) = apply(&mut after, &entry) {
                self.halt(Halt::Entry { epoch: after.epoch() + 1, reason: error.to_string() });
                self.deliver_failure(unit.origin, &storage_failed());
                for (unit, ..) in std::mem::take(&mut composed.units) {
                    self.deliver_failure(unit.origin, &storage_failed());
                }
                return None;
            }
            size += bytes;
            changes.extend(entry.changes);
            results.push(result);
        }
        composed.after = after;
        composed.size += size;
        if !changes.is_empty() {
            composed.entries.push(Entry::new(changes));
        }
        composed.units.push((unit, results, composed.entries.len()));
        Some(None)
    }

    /// Checks a command, also by what only this broker sees: whom it hears.
    fn plan(&mut self, image: &Image, command: Command) -> Planned {
        if let Command::RegisterBroker(broker) = &command
            && let Some(known) = image.broker(broker.id)
            && known.directory != broker.directory
            && self.hears(known.id, known.directory)
            && !broken(Mutation::RegisterOverLiving)
        {
            let text = "The broker is alive with the directory that it has registered.";
            let error = ItemError::new(ErrorCode::DuplicateBrokerRegistration, text);
            return Planned { entry: None, result: CommandResult::Failed(error) };
        }
        plan(image, &mut self.ids, command)
    }

    fn hears(&self, broker: BrokerId, directory: DirectoryId) -> bool {
        let own = self.me.broker == broker && self.me.directory == directory;
        own || self.sessions.get(broker).is_some_and(|session| session.peer.directory == directory)
    }

    /// The results of a batch count from `epoch` on.
    pub(super) fn owe(&mut self, units: Vec<(Unit, Vec<CommandResult>)>, epoch: u64) {
        for (unit, results) in units {
            self.owed.push_back(Owed { epoch, origin: unit.origin, results });
        }
        self.pay();
    }

    /// Gives the answers whose epochs are durable here (M10).
    pub(super) fn pay(&mut self) {
        let durable = if broken(Mutation::AnswerBeforeDurable) { u64::MAX } else { self.durable.epoch() };
        let (due, later): (VecDeque<Owed>, _) =
            std::mem::take(&mut self.owed).into_iter().partition(|owed| owed.epoch <= durable);
        self.owed = later;
        for Owed { epoch, origin, results } in due {
            self.deliver(origin, epoch, results);
        }
    }

    /// What is owed was not written.
    pub(super) fn default_owed(&mut self, failure: &CommandResult) {
        for owed in std::mem::take(&mut self.owed) {
            self.deliver_failure(owed.origin, failure);
        }
    }

    /// Answers; without results nothing was done for a broker that has forwarded its commands.
    pub(super) fn deliver(&mut self, origin: Origin, epoch: u64, mut results: Vec<CommandResult>) {
        match origin {
            Origin::Local(ticket) => {
                let result = results.pop().unwrap_or_else(timed_out);
                self.out.push(Effect::Answer { ticket, epoch, result });
            }
            Origin::Registration => {
                self.registering = false;
                if results.first() != Some(&CommandResult::Registered) {
                    self.register_at = self.now.after(self.settings.register_retry);
                }
            }
            Origin::Forwarded { from, id, .. } => {
                let outcome = (!results.is_empty()).then_some((epoch, results));
                // A later process of that broker counts its requests anew, and would take the answer for its own.
                if self.sessions.of(from).is_some() || broken(Mutation::AnswerLaterProcess) {
                    self.send(from.broker, Message::Forwarded { id, outcome });
                }
            }
        }
    }

    /// The commands are not carried out, or nobody knows whether they are.
    pub(super) fn deliver_failure(&mut self, origin: Origin, result: &CommandResult) {
        match origin {
            // The other broker times out by itself; "nothing was done" is more than is known.
            Origin::Forwarded { .. } => {}
            origin => self.deliver(origin, 0, vec![result.clone()]),
        }
    }

    /// Puts the batch's commands back to the front of those that wait, to be checked on the new state.
    pub(super) fn requeue(&mut self) {
        if let Some(batch) = self.batch.take() {
            for (unit, _) in batch.units.into_iter().rev() {
                self.queue.push_front(unit);
            }
        }
    }

    /// Answers those of the batch's commands whose time is up. Their part of a proposal goes on; nobody waits for it.
    pub(super) fn expire(&mut self) {
        let Some(batch) = &mut self.batch else { return };
        let now = self.now;
        let (late, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut batch.units).into_iter().partition(|(unit, _)| unit.deadline <= now);
        batch.deadline = earliest(&rest);
        batch.units = rest;
        // A proposal that was sent is finished, so that no slot stays half decided.
        if batch.units.is_empty() && !batch.sent {
            self.batch = None;
            self.round.stage = Stage::Idle;
        }
        for (unit, _) in late {
            self.deliver_failure(unit.origin, &timed_out());
        }
    }

    /// Answers the batch's commands with "not known in time".
    pub(super) fn abandon(&mut self) {
        if let Some(batch) = self.batch.take() {
            for (unit, _) in batch.units {
                self.deliver_failure(unit.origin, &timed_out());
            }
        }
    }
}

fn earliest(units: &[(Unit, Vec<CommandResult>)]) -> Instant {
    units.iter().map(|(unit, _)| unit.deadline).min().unwrap_or(Instant::NEVER)
}

fn too_large(bytes: usize) -> CommandResult {
    let text = format!("The change takes {bytes} bytes of metadata, more than one entry may have; make it in parts.");
    CommandResult::Failed(ItemError::new(ErrorCode::InvalidRequest, text))
}

pub(super) fn storage_failed() -> CommandResult {
    let text = "The metadata change could not be written to the disk.";
    CommandResult::Failed(ItemError::new(ErrorCode::KafkaStorageError, text))
}

pub(super) fn timed_out() -> CommandResult {
    let text = "The metadata change was not decided in time; it may still be.";
    CommandResult::Failed(ItemError::new(ErrorCode::RequestTimedOut, text))
}
