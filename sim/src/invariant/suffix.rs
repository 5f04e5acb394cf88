//! After a power loss or a failed flush a log that acknowledges from the page cache may have lost a suffix, and says so; one that
//! acknowledges after the flush has lost nothing.

use millrace_types::Offset;

use super::violation;
use crate::history::{Part, Partition, Violation};

/// Takes in that the log came back ending at `end`. What lies below stays owed: that it is there is checked on the
/// final log.
///
/// # Errors
/// Acknowledged records are gone, and that was not allowed or not reported.
pub fn came_back(
    partition: &mut Partition,
    part: &Part,
    end: Offset,
    may_lose: bool,
    reported: bool,
) -> Result<(), Violation> {
    if partition.damaged {
        return Ok(());
    }
    let first = partition.acked.range(end..).next().map(|(offset, _)| *offset);
    let last = partition.acked.keys().next_back().copied();
    if let (Some(first), Some(last)) = (first, last) {
        if partition.durable || !may_lose {
            return violation(
                "suffix",
                format!("{part} came back ending at {end}; {first} to {last} were acknowledged"),
            );
        }
        if !reported {
            return violation("suffix", format!("{part} lost {first} to {last} and did not report it"));
        }
    }
    if partition.durable || !may_lose {
        return Ok(());
    }
    lost(partition, end);
    Ok(())
}

/// What was seen and acknowledged at `end` and above is owed no longer.
pub fn lost(partition: &mut Partition, end: Offset) {
    let seen = partition.seen.split_off(&end);
    let lost = partition.acked.split_off(&end);
    partition.losses += u64::from(!seen.is_empty() || !lost.is_empty());
    partition.lost.extend(lost.values().map(|ack| ack.value));
}
