//! Real time: what was sent after another record was acknowledged comes behind it.

use super::violation;
use crate::history::{Part, Partition, Violation};

/// Checks one partition: `acked(a) < invoked(b)` implies `offset(a) < offset(b)`.
///
/// # Errors
/// Two records in the wrong order.
pub fn check(partition: &Partition, part: &Part) -> Result<(), Violation> {
    // From the end of the log: no later record may be acknowledged before an earlier one was sent.
    let mut first_acked = None;
    for (offset, ack) in partition.acked.iter().rev() {
        if let Some((acked, later)) = first_acked
            && acked < ack.invoked
        {
            let text = format!("{part}: {offset} was sent after {later} was acknowledged");
            return violation("order", text);
        }
        if first_acked.is_none_or(|(acked, _)| ack.acked < acked) {
            first_acked = Some((ack.acked, *offset));
        }
    }
    Ok(())
}
