//! Reading a stretch of a sealed segment and comparing it with what it must hold.

use std::sync::Arc;

use millrace_types::Offset;

use crate::disk::DiskError;
use crate::epoch_cache::EpochCache;
use crate::record_batch::BatchHeader;
use crate::segment::{Segment, Walk};

/// Bytes read in one go; one batch may be larger.
pub(crate) const STRETCH: u64 = 1 << 20;

/// Whole batches of a sealed segment that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Base offset of the segment.
    pub segment: Offset,
    /// Base offset of the first batch.
    pub from: Offset,
    /// The offset behind the last batch.
    pub to: Offset,
    /// Position of the first batch in the segment's file.
    pub position: u64,
    /// Bytes of the batches.
    pub len: u64,
    /// What is wrong with the first of them.
    pub reason: String,
}

/// What a look at a stretch came to.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Where the next stretch begins.
    pub(crate) next: u64,
    /// The offset that is due there; at or above the bound when all was looked at.
    pub(crate) due: Offset,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// The first damage in it.
    pub(crate) damage: Option<Damage>,
}

/// Whether a batch is what must lie at the offset `due`: whole, contiguous, of the epoch that is known, and as its
/// checksum says. The checksum leaves out the base offset and the epoch, so these are compared with what is known apart.
pub(crate) fn judge(bytes: &[u8], due: Offset, end: Offset, epochs: &EpochCache) -> Result<BatchHeader, String> {
    let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
    let Some(batch) = bytes.get(..header.size()) else {
        return Err(format!("a batch of {} bytes reaches beyond the records", header.size()));
    };
    if header.base_offset != due {
        return Err(format!("base offset {} where {due} is due", header.base_offset));
    }
    if header.last_offset_delta < 0 || header.last_offset() >= end {
        return Err(format!("last offset delta {} where {end} is the end", header.last_offset_delta));
    }
    match epochs.epoch_at(due) {
        Some(known) if known != header.leader_epoch => {
            return Err(format!("leader epoch {} where {known} led", header.leader_epoch));
        }
        _ => {}
    }
    if !header.crc_holds(batch) {
        return Err(format!("the checksum of the batch at offset {due} does not hold"));
    }
    Ok(header)
}

/// Looks at the batches of a segment from `position` on, where the batch with base offset `due` begins, no further than
/// offset `upto`.
///
/// # Errors
/// When the file cannot be opened or mapped, but for a file that is gone or too short: that is damage.
pub(crate) fn check(
    segment: &Arc<Segment>,
    (position, due): (u64, Offset),
    upto: Offset,
    epochs: &EpochCache,
) -> Result<Checked, DiskError> {
    let (used, next) = {
        let content = segment.content().read();
        (content.used(), content.next())
    };
    let there = match segment.file() {
        Ok(file) => Some(file),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let len = there.as_ref().map_or(0, |file| file.len()).min(used);
    let bytes = match there {
        Some(file) if position < len => file.read(position, usize::try_from(len - position).unwrap_or(usize::MAX))?,
        _ => bytes::Bytes::new(),
    };
    let (mut at, mut offset) = (0_usize, due);
    while offset < upto.min(next) && (at as u64) < STRETCH {
        match judge(bytes.get(at..).unwrap_or_default(), offset, next, epochs) {
            Ok(header) => (at, offset) = (at + header.size(), header.last_offset() + 1),
            Err(reason) => {
                let from = position + at as u64;
                let is_good = |at: u64, due: Offset| {
                    let there = usize::try_from(at - position).ok().and_then(|at| bytes.get(at..));
                    judge(there.unwrap_or_default(), due, next, epochs).is_ok()
                };
                let (end, to) = resume(segment, from, (used, next), is_good);
                let damage =
                    Damage { segment: segment.base(), from: offset, to, position: from, len: end - from, reason };
                return Ok(Checked { next: end, due: to, bytes: at as u64, damage: Some(damage) });
            }
        }
    }
    Ok(Checked { next: position + at as u64, due: offset, bytes: at as u64, damage: None })
}

/// Where the damage at `from` ends: at the first batch behind it that the index knows and that is good. Each repair copies
/// the segment, so what lies in between is taken for one range.
fn resume(segment: &Segment, from: u64, end: (u64, Offset), is_good: impl Fn(u64, Offset) -> bool) -> (u64, Offset) {
    let mut at = segment.resume_behind(from, end);
    while at != end && !is_good(at.0, at.1) {
        at = segment.resume_behind(at.0, end);
    }
    at
}

/// The part of `records` in front of the first batch that is not whole or whose checksum does not hold, and the offset it
/// ends at when it begins at `from`.
#[must_use]
pub fn intact_prefix(records: &[u8], from: Offset) -> (usize, Offset) {
    let (mut end, mut next) = (0, from);
    for walked in Walk::new(records) {
        let batch = records.get(walked.position..walked.end()).unwrap_or_default();
        let follows = end == 0 || walked.header.base_offset == next;
        if !follows || walked.header.last_offset_delta < 0 || !walked.header.crc_holds(batch) {
            break;
        }
        (end, next) = (walked.end(), walked.header.last_offset() + 1);
    }
    (end, next)
}
