//! What is on its way into the journal, and what waits for it. One write is under way at a time; the next collects.

use std::collections::VecDeque;

use millrace_types::BrokerId;

use crate::entry::Entry;
use crate::image::Image;
use crate::record::{cell_record, snapshot_records};

use super::ballot::{Ballot, Cell};
use super::batch::{storage_failed, timed_out};
use super::core::Log;
use super::event::{Effect, Halt};
use super::message::Message;
use super::mutation::{Mutation, broken};

/// Records that become durable together.
#[derive(Debug, Default)]
struct Group {
    records: Vec<Vec<u8>>,
    /// A snapshot that takes the place of everything before.
    replace: Option<Vec<Vec<u8>>>,
    entries: Vec<Entry>,
    /// The state after the group's last entry.
    image: Option<Image>,
    /// The cell after the group, where it changes.
    cell: Option<Option<Cell>>,
    /// Messages that promise what the group holds.
    held: Vec<(BrokerId, Message)>,
}

/// The journal as the core sees it.
#[derive(Debug, Default)]
pub(super) struct Disk {
    token: u64,
    flying: Option<Group>,
    pending: VecDeque<Group>,
    /// The cell that is durable.
    cell: Option<Cell>,
    /// Records and bytes behind the snapshot.
    unsnapshotted: (usize, usize),
}

impl Disk {
    pub(super) fn new(cell: Option<Cell>, unsnapshotted: (usize, usize)) -> Self {
        Self { cell, unsnapshotted, ..Self::default() }
    }

    fn last(&mut self) -> &mut Group {
        // A snapshot from another broker is a write of its own.
        if self.pending.back().is_none_or(|group| group.replace.is_some()) {
            self.pending.push_back(Group::default());
        }
        let last = self.pending.len() - 1;
        &mut self.pending[last]
    }

    /// Whether it is durable that an entry was accepted in this ballot.
    pub(super) fn holds(&self, slot: u64, ballot: Ballot) -> bool {
        let accepted = self.cell.as_ref().filter(|cell| cell.slot == slot).and_then(|cell| cell.accepted.as_ref());
        accepted.is_some_and(|(known, _)| *known == ballot)
    }

    pub(super) fn put_cell(&mut self, record: Vec<u8>, cell: Cell) {
        let group = self.last();
        group.records.push(record);
        group.cell = Some(Some(cell));
    }

    /// An entry that is chosen, or that an acceptor alone decides by this write. The journal keeps its order, so the cell of
    /// the slot is forgotten when the entry is durable and not before.
    pub(super) fn put_entry(&mut self, record: Vec<u8>, entry: Entry, after: &Image) {
        let group = self.last();
        group.records.push(record);
        group.entries.push(entry);
        group.image = Some(after.clone());
        group.cell = Some(None);
    }

    /// Begins another write behind what is pending.
    pub(super) fn split(&mut self) {
        self.pending.push_back(Group::default());
    }

    pub(super) fn replace(&mut self, snapshot: Vec<Vec<u8>>, image: &Image) {
        self.pending.push_back(Group {
            replace: Some(snapshot),
            image: Some(image.clone()),
            cell: Some(None),
            ..Group::default()
        });
    }
}

impl Log {
    /// Sends a message when all that was put so far is durable.
    pub(super) fn send_durable(&mut self, to: BrokerId, message: Message) {
        let group = self.disk.pending.back_mut().or(self.disk.flying.as_mut());
        match group {
            Some(group) => group.held.push((to, message)),
            None => self.send(to, message),
        }
    }

    /// Hands the next write to the host, unless one is under way.
    pub(super) fn write(&mut self) {
        if self.disk.flying.is_some() || self.halted.is_some() {
            return;
        }
        let Some(mut group) = self.disk.pending.pop_front() else { return };
        self.disk.token += 1;
        let token = self.disk.token;
        if let Some(snapshot) = group.replace.take() {
            self.disk.unsnapshotted = (0, 0);
            self.out.push(Effect::Replace { token, snapshot });
        } else {
            let records = std::mem::take(&mut group.records);
            let bytes: usize = records.iter().map(Vec::len).sum();
            let size = (self.disk.unsnapshotted.0 + records.len(), self.disk.unsnapshotted.1 + bytes);
            let due = size.0 >= self.settings.snapshot_entries || size.1 >= self.settings.snapshot_bytes;
            let snapshot = if due && self.disk.pending.is_empty() { self.snapshot() } else { None };
            self.disk.unsnapshotted = if snapshot.is_some() { (0, 0) } else { size };
            self.out.push(Effect::Persist { token, records, snapshot });
        }
        self.disk.flying = Some(group);
    }

    /// The state and the cell as they are after all that was put.
    fn snapshot(&self) -> Option<Vec<Vec<u8>>> {
        let mut records = snapshot_records(&self.head).ok()?;
        if let Some(cell) = &self.cell {
            records.push(cell_record(cell).ok()?);
        }
        Some(records)
    }

    pub(super) fn persisted(&mut self, token: u64) {
        if token != self.disk.token {
            return;
        }
        let Some(group) = self.disk.flying.take() else { return };
        if let Some(cell) = group.cell {
            self.disk.cell = cell;
        }
        let advanced = group.image.is_some();
        if let Some(image) = group.image {
            self.durable = image.clone();
            let entries = group.entries;
            let replaced = entries.is_empty();
            self.out.push(if replaced { Effect::Replaced { image } } else { Effect::Applied { image, entries } });
        }
        for (to, message) in group.held {
            self.send(to, message);
        }
        if advanced {
            self.pay();
            self.tell_status();
        }
    }

    /// The disk was full: the state is the durable one again. Nothing was promised that was not written.
    pub(super) fn refused(&mut self, token: u64) {
        if token != self.disk.token || self.disk.flying.take().is_none() {
            return;
        }
        self.disk.pending.clear();
        // What this broker alone was about to decide is not; what was chosen by others is, and they know.
        let failure = if self.is_sole() { storage_failed() } else { timed_out() };
        self.head = self.durable.clone();
        self.tail.truncate(self.durable.epoch());
        self.cell.clone_from(&self.disk.cell);
        self.full_until = self.now.after(self.settings.register_retry);
        self.default_owed(&failure);
    }

    pub(super) fn poisoned(&mut self) {
        self.halt(Halt::Poisoned);
    }

    /// Whether an entry is not durable yet.
    pub(super) fn is_writing_entries(&self) -> bool {
        self.head.epoch() != self.durable.epoch()
    }

    /// Puts the cell, as it is now.
    pub(super) fn put_cell(&mut self) {
        let Some(cell) = self.cell.clone() else { return };
        match cell_record(&cell) {
            Ok(record) => self.disk.put_cell(record, cell),
            Err(error) => self.halt(Halt::Entry { epoch: cell.slot, reason: error.to_string() }),
        }
    }

    /// Breaks the rule that a cell outlives the write of the chosen entry.
    pub(super) fn forget_cell_early(&mut self) {
        if broken(Mutation::ForgetCellEarly) && self.cell.is_some() {
            self.cell = Some(Cell { slot: self.head.epoch() + 1, promised: None, accepted: None });
            self.put_cell();
            self.disk.split();
        }
    }
}
