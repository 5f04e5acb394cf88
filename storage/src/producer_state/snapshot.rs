//! The file that saves a restart from replaying the whole log: the producer state at one offset.

use bytes::{Buf, BufMut};
use millrace_types::Offset;
use thiserror::Error;

use super::ProducerState;
use super::entry::{Batch, Entry, WINDOW};
use crate::record_batch::crc32c;

const MAGIC: [u8; 4] = *b"MRPS";
/// The only format version read and written.
const FORMAT_VERSION: u16 = 1;
const HEAD_LEN: usize = 20;
const ENTRY_LEN: usize = 40;
const BATCH_LEN: usize = 32;

/// Why a snapshot is not used; an older one, or the whole log, is replayed instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SnapshotError {
    /// Shorter than its own counts say, or longer.
    #[error("the producer snapshot has another length than its counts say")]
    Length,
    /// Not a snapshot.
    #[error("the producer snapshot has another magic")]
    Magic,
    /// Of a format this version does not know.
    #[error("the producer snapshot has format version {0}, known is {FORMAT_VERSION}")]
    Version(u16),
    /// The checksum does not hold.
    #[error("the checksum of the producer snapshot does not hold")]
    Crc,
    /// The snapshot is of another offset than its name says.
    #[error("the producer snapshot is of offset {0}")]
    Offset(Offset),
}

/// The bytes of a snapshot at `offset`. All integers are big-endian; the layout is drawn in `docs/file_format.md`.
pub(crate) fn encode_snapshot(offset: Offset, state: &ProducerState) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN + state.entries.len() * (ENTRY_LEN + BATCH_LEN) + 4);
    out.put_slice(&MAGIC);
    out.put_u16(FORMAT_VERSION);
    out.put_u16(0);
    out.put_i64(offset);
    out.put_u32(u32::try_from(state.entries.len()).unwrap_or(u32::MAX));
    for (id, entry) in &state.entries {
        out.put_i64(*id);
        out.put_i16(entry.epoch);
        out.put_u16(u16::try_from(entry.window.len()).unwrap_or(0));
        out.put_i32(entry.coordinator_epoch);
        out.put_i64(entry.last_timestamp);
        out.put_i64(entry.last_offset);
        out.put_i64(entry.transaction_start.unwrap_or(-1));
        for batch in &entry.window {
            out.put_i32(batch.first_sequence);
            out.put_i32(batch.last_sequence);
            out.put_i64(batch.base_offset);
            out.put_i64(batch.last_offset);
            out.put_i64(batch.timestamp);
        }
    }
    let crc = crc32c(&out);
    out.put_u32(crc);
    out
}

/// Reads the snapshot of `offset`.
pub(crate) fn decode_snapshot(offset: Offset, bytes: &[u8]) -> Result<ProducerState, SnapshotError> {
    let (mut body, mut crc) = bytes.split_at_checked(bytes.len().wrapping_sub(4)).ok_or(SnapshotError::Length)?;
    if body.len() < HEAD_LEN {
        return Err(SnapshotError::Length);
    }
    if !body.starts_with(&MAGIC) {
        return Err(SnapshotError::Magic);
    }
    let expected = crc32c(body);
    body.advance(MAGIC.len());
    let version = body.get_u16();
    if version != FORMAT_VERSION {
        return Err(SnapshotError::Version(version));
    }
    if crc.get_u32() != expected {
        return Err(SnapshotError::Crc);
    }
    body.advance(2);
    let of = body.get_i64();
    if of != offset {
        return Err(SnapshotError::Offset(of));
    }
    let count = body.get_u32();
    let mut state = ProducerState::default();
    for _ in 0..count {
        let (id, entry) = take_entry(&mut body).ok_or(SnapshotError::Length)?;
        state.by_activity.insert(entry.last_offset, id);
        state.entries.insert(id, entry);
    }
    if body.is_empty() { Ok(state) } else { Err(SnapshotError::Length) }
}

fn take_entry(body: &mut &[u8]) -> Option<(i64, Entry)> {
    if body.len() < ENTRY_LEN {
        return None;
    }
    let (id, epoch, batches) = (body.get_i64(), body.get_i16(), usize::from(body.get_u16()));
    let (coordinator_epoch, last_timestamp, last_offset) = (body.get_i32(), body.get_i64(), body.get_i64());
    let start = body.get_i64();
    if batches > WINDOW || body.len() < batches * BATCH_LEN {
        return None;
    }
    let window = (0..batches)
        .map(|_| Batch {
            first_sequence: body.get_i32(),
            last_sequence: body.get_i32(),
            base_offset: body.get_i64(),
            last_offset: body.get_i64(),
            timestamp: body.get_i64(),
        })
        .collect();
    let transaction_start = (start >= 0).then_some(start);
    Some((id, Entry { epoch, window, last_timestamp, last_offset, coordinator_epoch, transaction_start }))
}
