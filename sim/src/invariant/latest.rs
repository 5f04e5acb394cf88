//! The latest offset is above every offset that was acknowledged before it was asked for.

use millrace_types::{LeaderEpoch, Offset};

use super::violation;
use crate::history::{Part, Partition, Tick, Violation};

/// Checks the answer `latest` of the leader of `epoch` to a question asked at `invoked`. A leader that does not know of its
/// successor yet cannot know what that has acknowledged; what its own epoch or an earlier one has, it must tell.
///
/// # Errors
/// The answer is too low.
pub fn check(
    partition: &Partition,
    part: &Part,
    invoked: Tick,
    (latest, epoch): (Offset, LeaderEpoch),
) -> Result<(), Violation> {
    // A failed disk takes back what was acknowledged from the page cache, until the restart. Of several replicas the one whose disk
    // has failed leads no longer.
    if partition.damaged || (partition.limited && !partition.durable) {
        return Ok(());
    }
    let told = partition.told.range(..=epoch).map(|(_, told)| *told).max().unwrap_or(0);
    let end = if partition.told.is_empty() { Offset::MAX } else { told };
    let before = partition.acked.range(..end).rev().find(|(_, ack)| ack.acked < invoked);
    match before {
        Some((offset, _)) if *offset >= latest => {
            violation("latest", format!("{part}: latest is {latest}, but {offset} was acknowledged before"))
        }
        _ => Ok(()),
    }
}
