//! The bytes of a journal file. All numbers are little endian.
//!
//! ```text
//! header, 4096 bytes                           frame, padded with zeros to 8 bytes
//!  0  8  "MRJOURNL"                             0  4  tag: CRC-32C of the generation
//!  8  4  format version, 1                      4  4  CRC-32C of generation, position, bytes 8.. of the frame
//! 12  4  CRC-32C of bytes 0..12 and 16..48      8  4  length of the payload
//! 16  8  generation, from 1                    12  1  kind: 1 snapshot record, 2 record, 3 mark
//! 24  8  sequence of the first record          13  3  zero
//! 32  8  end of the snapshot (position)        16  8  sequence
//! 40  8  records in the snapshot               24  8  position up to which the file was durable
//! 48     zero                                  32     payload
//! ```

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes before the first frame.
pub(super) const HEADER_LEN: u64 = 4096;
/// Bytes of a frame before its payload.
pub(super) const FRAME_LEN: usize = 32;
/// The format this program writes and reads.
pub(super) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"MRJOURNL";
const USED: usize = 48;

/// The first bytes of a journal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) generation: u64,
    pub(super) first_sequence: u64,
    pub(super) snapshot_end: u64,
    pub(super) snapshot_records: u64,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    Damaged,
    Version(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Snapshot = 1,
    Record = 2,
    Mark = 3,
}

/// A frame as it stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) sequence: u64,
    pub(super) durable: u64,
    pub(super) payload: &'a [u8],
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize() as u32
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Bytes a frame with this payload takes in the file.
pub(super) fn padded_len(payload: usize) -> u64 {
    (FRAME_LEN as u64 + payload as u64).next_multiple_of(8)
}

/// Bytes the frames of `records` take.
pub(super) fn total_len(records: &[&[u8]]) -> u64 {
    records.iter().map(|record| padded_len(record.len())).sum()
}

/// The tag of every frame of a generation: it lets a search pass over everything else quickly.
pub(super) fn tag(generation: u64) -> u32 {
    crc(&[&generation.to_le_bytes()])
}

impl Header {
    pub(super) fn encode(&self) -> [u8; USED] {
        let mut bytes = [0; USED];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let fields = [self.generation, self.first_sequence, self.snapshot_end, self.snapshot_records];
        for (field, place) in fields.iter().zip(bytes[16..].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc(&[&bytes[..12], &bytes[16..]]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..USED).ok_or(BadHeader::Damaged)?;
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Damaged);
        }
        let version = u32_at(bytes, 8).ok_or(BadHeader::Damaged)?;
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let fields = || {
            let header = Self {
                generation: u64_at(bytes, 16)?,
                first_sequence: u64_at(bytes, 24)?,
                snapshot_end: u64_at(bytes, 32)?,
                snapshot_records: u64_at(bytes, 40)?,
            };
            (u32_at(bytes, 12)? == crc(&[&bytes[..12], &bytes[16..]])).then_some(header)
        };
        fields().ok_or(BadHeader::Damaged)
    }
}

impl<'a> Frame<'a> {
    /// The bytes before the payload, for the place `position` in a file of `generation`.
    pub(super) fn encode(&self, generation: u64, position: u64) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        bytes[..4].copy_from_slice(&tag(generation).to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        bytes[12] = self.kind as u8;
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..].copy_from_slice(&self.durable.to_le_bytes());
        let crc = crc(&[&generation.to_le_bytes(), &position.to_le_bytes(), &bytes[8..], self.payload]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The frame at `position` of a file's `bytes`; `None` unless it is whole, unharmed, and was written there.
    pub(super) fn decode(bytes: &'a [u8], generation: u64, position: u64) -> Option<Self> {
        let bytes = bytes.get(usize::try_from(position).ok()?..)?;
        if u32_at(bytes, 0)? != tag(generation) {
            return None;
        }
        let len = usize::try_from(u32_at(bytes, 8)?).ok()?;
        let payload = bytes.get(FRAME_LEN..FRAME_LEN.checked_add(len)?)?;
        let found = crc(&[&generation.to_le_bytes(), &position.to_le_bytes(), &bytes[8..FRAME_LEN], payload]);
        let kind = match bytes[12] {
            1 => Kind::Snapshot,
            2 => Kind::Record,
            3 => Kind::Mark,
            _ => return None,
        };
        let frame = Self { kind, sequence: u64_at(bytes, 16)?, durable: u64_at(bytes, 24)?, payload };
        (found == u32_at(bytes, 4)?).then_some(frame)
    }
}
