//! A look at both ends of a sealed segment, which a start takes by its sidecar otherwise.
//!
//! Whole pages are what disks and filesystems lose: a file that was cut short, a first or last page of zeros, a file with
//! another's bytes. These are met here for two pages read; a flipped bit in between is the scrub's to find.

use crate::disk::DiskError;
use crate::index::{Entry, Summary};
use crate::record_batch::BatchHeader;
use crate::segment::{FileKind, Home, Walk, file_name};

/// Whether the file begins with the batch that the summary says, and the batches from the index's last entry on end where
/// it says. What cannot be read is taken for bad: a scan of the whole file follows, and says what is wrong.
pub(super) fn has_both_ends(home: &Home, summary: &Summary, last: Option<Entry>) -> bool {
    check(home, summary, last).unwrap_or(false)
}

fn check(home: &Home, summary: &Summary, last: Option<Entry>) -> Result<bool, DiskError> {
    if summary.used == 0 {
        return Ok(true);
    }
    let file = home.disk.open(&home.dir.join(file_name(summary.base, FileKind::Log)), 0)?;
    let used = usize::try_from(summary.used).unwrap_or(usize::MAX);
    let bytes = file.read(0, used)?;
    let begins = BatchHeader::parse(&bytes).is_ok_and(|first| {
        let epoch = summary.epochs.first().map(|first| first.0);
        first.base_offset == summary.base && Some(first.leader_epoch) == epoch && first.size() <= used
    });
    let (position, due) =
        last.map_or((0, summary.base), |last| (last.position as usize, summary.base + i64::from(last.relative)));
    let (mut end, mut next) = (position, due);
    for walked in Walk::from(&bytes, position) {
        let batch = bytes.get(walked.position..walked.end()).unwrap_or_default();
        // The last page may hold no header, so the checksums of these few are looked at.
        let follows = walked.header.base_offset == next && walked.header.last_offset_delta >= 0;
        if !follows || !walked.header.crc_holds(batch) {
            return Ok(false);
        }
        (end, next) = (walked.end(), walked.header.last_offset() + 1);
    }
    Ok(begins && end == used && next == summary.next)
}
