//! The offset and time index of a segment: sparse entries in memory, and the sidecar file a sealed segment keeps.

use bytes::{Buf, BufMut};
use millrace_types::{LeaderEpoch, Offset, Timestamp};
use thiserror::Error;

use crate::record_batch::crc32c;

/// No timestamp at all: below every timestamp a record can carry.
pub(crate) const NO_MAX: Timestamp = i64::MIN;

const MAGIC: [u8; 4] = *b"MRIX";
/// The only format version read and written.
const FORMAT_VERSION: u16 = 1;
const HEAD_LEN: usize = 48;
const EPOCH_LEN: usize = 12;
const ENTRY_LEN: usize = 16;
const CRC_LEN: usize = 4;

/// Where one batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The batch's base offset, relative to the segment's.
    pub(crate) relative: u32,
    /// Its position in the file.
    pub(crate) position: u32,
    /// The greatest timestamp of all batches in front of it, [`NO_MAX`] without one.
    pub(crate) max_before: Timestamp,
}

/// Sparse entries, one per `index.interval.bytes` of log. Offsets and positions grow, `max_before` never falls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Notes a batch unless the latest entry is less than `interval` bytes in front of it.
    pub(crate) fn note(&mut self, entry: Entry, interval: u32) {
        if self.notes(entry.position, interval) {
            self.entries.push(entry);
        }
    }

    /// Whether a batch at `position` gets an entry.
    pub(crate) fn notes(&self, position: u32, interval: u32) -> bool {
        self.entries.last().is_none_or(|last| position.saturating_sub(last.position) >= interval)
    }

    /// The last entry at or below `relative`; the segment's start without one.
    pub(crate) fn floor_offset(&self, relative: u32) -> Entry {
        self.floor(self.entries.partition_point(|entry| entry.relative <= relative))
    }

    /// The last entry at or below `position`.
    pub(crate) fn floor_position(&self, position: u64) -> Entry {
        self.floor(self.entries.partition_point(|entry| u64::from(entry.position) <= position))
    }

    /// The last entry in front of which every timestamp is below `timestamp`.
    pub(crate) fn before_timestamp(&self, timestamp: Timestamp) -> Entry {
        self.floor(self.entries.partition_point(|entry| entry.max_before < timestamp))
    }

    /// The first entry above `relative`.
    pub(crate) fn above_offset(&self, relative: u32) -> Option<Entry> {
        self.entries.get(self.entries.partition_point(|entry| entry.relative <= relative)).copied()
    }

    /// The first entry behind `position`.
    pub(crate) fn above_position(&self, position: u64) -> Option<Entry> {
        self.entries.get(self.entries.partition_point(|entry| u64::from(entry.position) <= position)).copied()
    }

    /// The entries in their order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn floor(&self, after: usize) -> Entry {
        let start = Entry { relative: 0, position: 0, max_before: NO_MAX };
        after.checked_sub(1).and_then(|at| self.entries.get(at)).copied().unwrap_or(start)
    }
}

/// The summary of a sealed segment that its sidecar begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The segment's base offset.
    pub(crate) base: Offset,
    /// The offset behind its last record.
    pub(crate) next: Offset,
    /// Bytes of its batches.
    pub(crate) used: u64,
    /// The greatest timestamp, [`NO_MAX`] without one.
    pub(crate) max_timestamp: Timestamp,
    /// The leader epochs of its batches and the first offset of each in this segment.
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
}

/// Why a sidecar is not used; the segment is scanned instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SidecarError {
    /// Shorter than its own counts say.
    #[error("the index sidecar is cut short")]
    Short,
    /// Not a sidecar.
    #[error("the index sidecar has another magic")]
    Magic,
    /// Of a format this version does not know.
    #[error("the index sidecar has format version {0}, known is {FORMAT_VERSION}")]
    Version(u16),
    /// A checksum does not hold.
    #[error("a checksum of the index sidecar does not hold")]
    Crc,
    /// The entries are out of order.
    #[error("the entries of the index sidecar are out of order")]
    Order,
}

/// The bytes of a sidecar. All integers are big-endian; the layout is drawn in `docs/file_format.md`.
pub(crate) fn encode_sidecar(summary: &Summary, index: &Index) -> Vec<u8> {
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEAD_LEN + summary.epochs.len() * EPOCH_LEN + index.entries.len() * ENTRY_LEN + 8);
    out.put_slice(&MAGIC);
    out.put_u16(FORMAT_VERSION);
    out.put_u16(0);
    out.put_i64(summary.base);
    out.put_i64(summary.next);
    out.put_u64(summary.used);
    out.put_i64(summary.max_timestamp);
    out.put_u32(count(summary.epochs.len()));
    out.put_u32(count(index.entries.len()));
    for (epoch, start) in &summary.epochs {
        out.put_i32(*epoch);
        out.put_i64(*start);
    }
    let head = crc32c(&out);
    out.put_u32(head);
    let entries_start = out.len();
    for entry in &index.entries {
        out.put_u32(entry.relative);
        out.put_u32(entry.position);
        out.put_i64(entry.max_before);
    }
    let entries = crc32c(out.get(entries_start..).unwrap_or_default());
    out.put_u32(entries);
    out
}

/// What a start reads of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SidecarHead {
    /// The summary, whose checksum holds.
    pub(crate) summary: Summary,
    /// The last entry, as it stands there: the checksum of the entries is not computed.
    pub(crate) last: Option<Entry>,
}

/// Reads the summary of a sidecar and its last entry, which touches two pages however long it is.
pub(crate) fn decode_head(bytes: &[u8]) -> Result<SidecarHead, SidecarError> {
    let (summary, count, rest) = split_summary(bytes)?;
    if rest.len() != count.saturating_mul(ENTRY_LEN).saturating_add(CRC_LEN) {
        return Err(SidecarError::Short);
    }
    let last = count.checked_sub(1).and_then(|last| rest.get(last * ENTRY_LEN..)).and_then(read_entry);
    Ok(SidecarHead { summary, last })
}

fn read_entry(mut bytes: &[u8]) -> Option<Entry> {
    (bytes.len() >= ENTRY_LEN).then(|| Entry {
        relative: bytes.get_u32(),
        position: bytes.get_u32(),
        max_before: bytes.get_i64(),
    })
}

/// Reads a whole sidecar.
pub(crate) fn decode_sidecar(bytes: &[u8]) -> Result<(Summary, Index), SidecarError> {
    let (summary, count, rest) = split_summary(bytes)?;
    let (mut body, mut crc) = rest.split_at_checked(count * ENTRY_LEN).ok_or(SidecarError::Short)?;
    if crc.len() < CRC_LEN {
        return Err(SidecarError::Short);
    }
    if crc.get_u32() != crc32c(body) {
        return Err(SidecarError::Crc);
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    while body.len() >= ENTRY_LEN {
        let entry = Entry { relative: body.get_u32(), position: body.get_u32(), max_before: body.get_i64() };
        let grows = entries.last().is_none_or(|last| {
            last.relative < entry.relative && last.position < entry.position && last.max_before <= entry.max_before
        });
        if !grows || u64::from(entry.position) >= summary.used {
            return Err(SidecarError::Order);
        }
        entries.push(entry);
    }
    Ok((summary, Index { entries }))
}

/// The summary, the number of entries (no more than fit the bytes), and the bytes behind.
fn split_summary(bytes: &[u8]) -> Result<(Summary, usize, &[u8]), SidecarError> {
    let mut head = bytes.get(..HEAD_LEN).ok_or(SidecarError::Short)?;
    if !head.starts_with(&MAGIC) {
        return Err(SidecarError::Magic);
    }
    head.advance(MAGIC.len());
    let version = head.get_u16();
    if version != FORMAT_VERSION {
        return Err(SidecarError::Version(version));
    }
    head.advance(2);
    let mut summary = Summary {
        base: head.get_i64(),
        next: head.get_i64(),
        used: head.get_u64(),
        max_timestamp: head.get_i64(),
        epochs: Vec::new(),
    };
    let (epochs, entries) = (head.get_u32() as usize, head.get_u32() as usize);
    let covered = HEAD_LEN + epochs.saturating_mul(EPOCH_LEN);
    let (sum, rest) = bytes.split_at_checked(covered).ok_or(SidecarError::Short)?;
    let (crc, rest) = rest.split_first_chunk::<CRC_LEN>().ok_or(SidecarError::Short)?;
    if u32::from_be_bytes(*crc) != crc32c(sum) {
        return Err(SidecarError::Crc);
    }
    let mut body = sum.get(HEAD_LEN..).unwrap_or_default();
    while body.len() >= EPOCH_LEN {
        summary.epochs.push((body.get_i32(), body.get_i64()));
    }
    if summary.epochs.windows(2).any(|pair| matches!(pair, [a, b] if a.0 >= b.0 || a.1 >= b.1)) {
        return Err(SidecarError::Order);
    }
    if entries > rest.len() / ENTRY_LEN {
        return Ok((summary, rest.len(), rest));
    }
    Ok((summary, entries, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for at in 0..100_u32 {
            let max_before = if at == 0 { NO_MAX } else { i64::from(at / 10) * 100 };
            index.note(Entry { relative: at * 2, position: at * 50, max_before }, 100);
        }
        index
    }

    fn summary() -> Summary {
        Summary { base: 7, next: 207, used: 5000, max_timestamp: 900, epochs: vec![(1, 7), (3, 20)] }
    }

    #[test]
    fn entries_are_an_interval_apart() {
        let index = index();
        assert_eq!(index.len(), 50);
        assert_eq!(index.floor_offset(7).position, 100);
        assert_eq!(index.floor_offset(8).position, 200);
        assert_eq!(index.floor_position(4999).relative, 196);
        assert_eq!(index.above_offset(8).expect("there is one").position, 300);
        assert_eq!(index.before_timestamp(100).position, 400, "the last with everything in front below 100");
        assert_eq!(Index::default().floor_offset(9).position, 0);
    }

    #[test]
    fn a_sidecar_is_read_back() {
        let bytes = encode_sidecar(&summary(), &index());
        assert_eq!(decode_sidecar(&bytes), Ok((summary(), index())));
        let last = index().entries().last().copied();
        assert_eq!(decode_head(&bytes), Ok(SidecarHead { summary: summary(), last }));
        let empty = encode_sidecar(&summary(), &Index::default());
        assert_eq!(decode_sidecar(&empty), Ok((summary(), Index::default())));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode_sidecar(&summary(), &index());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(decode_sidecar(&bad).is_err(), "byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(decode_sidecar(&bytes[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn an_unknown_version_is_refused_by_its_number() {
        let mut bytes = encode_sidecar(&summary(), &index());
        bytes[5] = 9;
        assert_eq!(decode_sidecar(&bytes), Err(SidecarError::Version(9)));
    }

    #[test]
    fn any_bytes_decode_or_are_refused() {
        let sealed = encode_sidecar(&summary(), &index());
        bolero::check!().with_iterations(2000).for_each(|bytes: &[u8]| {
            let _ = (decode_sidecar(bytes), decode_head(bytes));
            let mut behind_a_good_head = sealed[..HEAD_LEN].to_vec();
            behind_a_good_head.extend_from_slice(bytes);
            let _ = decode_sidecar(&behind_a_good_head);
        });
    }
}
