//! Writing one generation's file: frames at its end, and a whole new file for a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{JournalError, JournalOptions};
use super::frame::{FRAME_LEN, Frame, HEADER_LEN, Header, Kind, padded_len, total_len};
use super::recover::Names;
use crate::disk::{Disk, DiskError, FileRef};
use crate::mutation::{Mutation, broken};

/// Most records written by one call, so that a large snapshot needs no large buffer.
const CHUNK_RECORDS: usize = 256;
const PADDING: [u8; 8] = [0; 8];

/// The place where the next frame goes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) file: FileRef,
    pub(super) generation: u64,
    pub(super) snapshot_end: u64,
    /// Position of the next frame.
    pub(super) end: u64,
    /// Everything below is durable. Shared with flushes that run elsewhere.
    pub(super) durable: Arc<AtomicU64>,
    /// The durable position the latest frame carries.
    noted: u64,
}

impl Writer {
    /// A writer behind the last good frame; nothing is known to be durable beyond the snapshot.
    pub(super) fn new(file: FileRef, generation: u64, snapshot_end: u64, end: u64) -> Self {
        let durable = Arc::new(AtomicU64::new(snapshot_end));
        Self { file, generation, snapshot_end, end, durable, noted: 0 }
    }

    /// Bytes of the snapshot.
    pub(super) fn snapshot_len(&self) -> u64 {
        self.snapshot_end.saturating_sub(HEADER_LEN)
    }

    /// Bytes appended since the snapshot.
    pub(super) fn tail_len(&self) -> u64 {
        self.end.saturating_sub(self.snapshot_end)
    }

    /// Whether the latest frame says all there is to say about durability.
    pub(super) fn is_marked(&self) -> bool {
        self.noted >= self.durable.load(Ordering::Acquire)
    }

    /// Sees that `len` more bytes fit, and grows the file in time. A full disk is an error only when they do not fit.
    pub(super) fn make_room(&self, len: u64, options: &JournalOptions) -> Result<(), DiskError> {
        let needed = self.end.saturating_add(len);
        if needed.saturating_add(options.reserve) <= self.file.len() {
            return Ok(());
        }
        match self.file.allocate(needed.saturating_add(options.reserve).saturating_add(options.room)) {
            Err(error) if error.is_full() && needed <= self.file.len() => Ok(()),
            result => result,
        }
    }

    /// Writes one frame for each record. The caller has made room.
    pub(super) fn write(&mut self, kind: Kind, sequence: u64, records: &[&[u8]]) -> Result<(), DiskError> {
        let durable = self.durable.load(Ordering::Acquire);
        let mut heads: Vec<[u8; FRAME_LEN]> = Vec::with_capacity(records.len());
        let mut end = self.end;
        for (number, payload) in (sequence..).zip(records) {
            heads.push(Frame { kind, sequence: number, durable, payload }.encode(self.generation, end));
            end += padded_len(payload.len());
        }
        let mut parts: Vec<&[u8]> = Vec::with_capacity(records.len() * 3);
        for (head, payload) in heads.iter().zip(records) {
            let padding = padded_len(payload.len()) as usize - FRAME_LEN - payload.len();
            parts.extend([&head[..], payload, &PADDING[..padding]]);
        }
        self.file.write_at(self.end, &parts)?;
        self.end = end;
        self.noted = durable;
        Ok(())
    }
}

/// Writes a snapshot of generation `generation` into the spare file and makes it durable; it has not its name yet.
pub(super) fn write_snapshot(
    disk: &dyn Disk,
    names: &Names,
    generation: u64,
    first_sequence: u64,
    records: &[&[u8]],
    options: &JournalOptions,
) -> Result<Writer, JournalError> {
    let snapshot = total_len(records);
    let least = HEADER_LEN.saturating_add(snapshot).saturating_add(options.reserve);
    let wanted = HEADER_LEN + snapshot + options.room.max(snapshot.saturating_mul(3));
    let file = names.spare(disk, least, wanted)?;
    let written = (|| {
        let mut writer = Writer::new(Arc::clone(&file), generation, 0, HEADER_LEN);
        for (number, chunk) in records.chunks(CHUNK_RECORDS).enumerate() {
            writer.write(Kind::Snapshot, (number * CHUNK_RECORDS) as u64, chunk)?;
        }
        let snapshot_end = writer.end;
        let header = Header { generation, first_sequence, snapshot_end, snapshot_records: records.len() as u64 };
        file.write_at(0, &[&header.encode()])?;
        if !broken(Mutation::SnapshotNotFlushed) {
            file.flush()?;
        }
        Ok(Writer::new(Arc::clone(&file), generation, snapshot_end, snapshot_end))
    })();
    // After a failed flush the file's pages are clean whatever the disk holds: it must not be used again.
    written.inspect_err(|_: &DiskError| names.discard_spare(disk)).map_err(JournalError::Disk)
}
