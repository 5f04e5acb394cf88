//! Catching up: from any peer that is farther, by entries or by a snapshot (M12).

use std::sync::Arc;

use millrace_types::{BrokerId, Instant};

use crate::identity::Proposer;
use crate::image::Image;
use crate::record::{Replay, snapshot_records};

use super::ballot::Value;
use super::core::Log;
use super::message::Message;
use super::mutation::{Mutation, broken};
use super::proposer::Stage;
use super::tail::Tail;

/// Bytes of the largest snapshot that is taken.
const MAX_SNAPSHOT_BYTES: u64 = 512 * 1024 * 1024;

/// What is being fetched, and what is being served.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Who was asked, and when another is.
    pub(super) asked: Option<(BrokerId, Instant)>,
    /// A snapshot of which a part is there: its epoch and bytes.
    assembly: Option<(u64, Vec<u8>)>,
    /// The snapshot that others fetch in parts.
    served: Option<(u64, Arc<[u8]>)>,
}

impl CatchUp {
    pub(super) const fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }
}

impl Log {
    /// Asks the farthest peer for what is missing.
    pub(super) fn catch_up(&mut self) {
        if self.catch_up.asked.is_some() || self.now < self.full_until {
            return;
        }
        let Some(peer) = self.sessions.ahead_of(self.head.epoch()) else { return };
        self.catch_up.asked = Some((peer, self.now.after(self.settings.fetch_timeout)));
        let snapshot = self.catch_up.assembly.as_ref().map(|(epoch, bytes)| (*epoch, bytes.len() as u64));
        self.send(peer, Message::Fetch { after: self.head.epoch(), snapshot });
    }

    /// The peer has not answered: it says again how far it is before it is asked again.
    pub(super) fn fetch_failed(&mut self) {
        if let Some((peer, _)) = self.catch_up.asked.take() {
            let head = self.head.epoch();
            if let Some(session) = self.sessions.get_mut(peer) {
                session.reaches = session.reaches.min(head);
            }
        }
    }

    /// An answer came.
    pub(super) fn fetched(&mut self, from: Proposer) {
        if self.catch_up.asked.is_some_and(|(peer, _)| peer == from.broker) {
            self.catch_up.asked = None;
        }
    }

    pub(super) fn fetch(&mut self, from: Proposer, after: u64, snapshot: Option<(u64, u64)>) {
        match (snapshot, &self.catch_up.served) {
            (Some((epoch, offset)), Some((served, _))) if epoch == *served => self.serve_part(from.broker, offset),
            _ => self.serve(from.broker, after),
        }
    }

    /// Sends what follows `after`: entries, or the first part of a snapshot.
    pub(super) fn serve(&mut self, to: BrokerId, after: u64) {
        let head = self.head.epoch();
        if after >= head {
            self.send(to, Message::Status { applied: self.durable.epoch(), hash: self.durable.hash() });
            return;
        }
        if let Some((values, hash)) = self.tail.after(after, head, self.settings.message_bytes) {
            let last = after + values.len() as u64;
            let message = Message::Chosen { first: after + 1, values, hash };
            // What an acceptor alone writes is not chosen before it is durable.
            if last > self.durable.epoch() && !broken(Mutation::TellBeforeDurable) {
                self.send_durable(to, message);
            } else {
                self.send(to, message);
            }
            return;
        }
        if after >= self.durable.epoch() {
            return;
        }
        if self.catch_up.served.as_ref().is_none_or(|(epoch, _)| *epoch <= after) || self.is_served_old() {
            let Some(bytes) = snapshot_bytes(&self.durable) else { return };
            self.catch_up.served = Some((self.durable.epoch(), bytes));
        }
        self.serve_part(to, 0);
    }

    /// Whether the tail does not reach back to the snapshot that is served: then it helps nobody.
    fn is_served_old(&self) -> bool {
        let epoch = self.catch_up.served.as_ref().map_or(0, |(epoch, _)| *epoch);
        epoch < self.durable.epoch() && self.tail.hash(epoch + 1).is_none()
    }

    fn serve_part(&mut self, to: BrokerId, offset: u64) {
        let Some((epoch, bytes)) = &self.catch_up.served else { return };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = from.saturating_add(self.settings.message_bytes).min(bytes.len());
        let part = Value::from(&bytes[from..end]);
        let message = Message::Snapshot { epoch: *epoch, total: bytes.len() as u64, offset: from as u64, bytes: part };
        self.send(to, message);
    }

    /// Takes a part of a snapshot; the last one makes it the state.
    pub(super) fn snapshot_part(&mut self, from: Proposer, (epoch, total, offset): (u64, u64, u64), part: &[u8]) {
        if self.catch_up.asked.is_none_or(|(peer, _)| peer != from.broker) {
            return;
        }
        self.fetched(from);
        if epoch <= self.head.epoch() || total > MAX_SNAPSHOT_BYTES {
            self.catch_up.assembly = None;
            return;
        }
        let begun = self.catch_up.assembly.take().filter(|(known, _)| *known == epoch);
        let mut bytes = begun.map_or_else(Vec::new, |(_, bytes)| bytes);
        if bytes.len() as u64 != offset || offset + part.len() as u64 > total {
            self.catch_up.assembly = (!bytes.is_empty()).then_some((epoch, bytes));
            return;
        }
        bytes.extend_from_slice(part);
        if (bytes.len() as u64) < total {
            self.note_reach(from, epoch);
            self.catch_up.assembly = Some((epoch, bytes));
        } else if let Some((image, records)) = self.read_snapshot(epoch, &bytes) {
            self.install(image, records);
        } else {
            self.fetch_refused(from);
        }
    }

    fn fetch_refused(&mut self, from: Proposer) {
        self.catch_up.asked = Some((from.broker, self.now.after(self.settings.fetch_timeout)));
    }

    fn read_snapshot(&self, epoch: u64, bytes: &[u8]) -> Option<(Image, Vec<Vec<u8>>)> {
        let mut replay = Replay::new(self.head.local().clone());
        let mut records = Vec::new();
        let mut rest = bytes;
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (record, behind) = behind.split_at_checked(length)?;
            replay.feed(record).ok()?;
            records.push(record.to_vec());
            rest = behind;
        }
        let image = replay.finish().ok()?;
        let whole = rest.is_empty() && image.epoch() == epoch && image.cluster_id() == self.cluster_id;
        whole.then_some((image, records))
    }

    /// The state is the snapshot's from here on.
    fn install(&mut self, image: Image, records: Vec<Vec<u8>>) {
        let epoch = image.epoch();
        self.disk.replace(records, &image);
        self.tail = Tail::behind(epoch);
        self.earlier_acceptors = None;
        self.head = image;
        self.cell = None;
        let proposal = self.head.proposal();
        if self.batch.as_ref().is_some_and(|batch| batch.sent && batch.slot < epoch) {
            // Its slot is among those that were skipped: nobody here can say whether it was chosen.
            self.abandon();
            self.round.stage = Stage::Idle;
        }
        self.slot_decided(proposal);
    }
}

/// The records of a snapshot behind one another, each with its length in front.
fn snapshot_bytes(image: &Image) -> Option<Arc<[u8]>> {
    let mut bytes = Vec::new();
    for record in snapshot_records(image).ok()? {
        bytes.extend_from_slice(&u32::try_from(record.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(&record);
    }
    Some(bytes.into())
}
