//! The latest offset is above every offset that was acknowledged before it was asked for.

use millrace_types::Offset;

use super::violation;
use crate::history::{Part, Partition, Tick, Violation};

/// Checks the answer `latest` to a question asked at `invoked`.
///
/// # Errors
/// The answer is too low.
pub fn check(partition: &Partition, part: &Part, invoked: Tick, latest: Offset) -> Result<(), Violation> {
    // A failed disk takes back what was acknowledged from the page cache, until the restart.
    if partition.damaged || (partition.limited && !partition.durable) {
        return Ok(());
    }
    let before = partition.acked.iter().rev().find(|(_, ack)| ack.acked < invoked);
    match before {
        Some((offset, _)) if *offset >= latest => {
            violation("latest", format!("{part}: latest is {latest}, but {offset} was acknowledged before"))
        }
        _ => Ok(()),
    }
}
