//! Offset to value is a function: whoever looks at an offset, whenever, sees the same value.

use super::violation;
use crate::history::{Part, Partition, Value, Violation};
use millrace_types::Offset;

/// Notes that `who` saw `value` at `offset`.
///
/// # Errors
/// Somebody has seen another value there.
pub fn check(partition: &mut Partition, part: &Part, offset: Offset, value: Value, who: &str) -> Result<(), Violation> {
    let misleads = partition.misleads();
    match *partition.seen.entry(offset).or_insert(value) {
        before if before == value => Ok(()),
        // No checksum covers a batch's base offset: rot there is found by the next scan, not by those who read.
        _ if misleads => Ok(()),
        before => {
            violation("function", format!("{who} sees {value} at {part} {offset}, where {before} was seen before"))
        }
    }
}
