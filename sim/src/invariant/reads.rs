//! A consumer that reads on reads every record once and in order, and what it reads is the final log.

use millrace_types::Offset;

use super::{FinalLog, violation};
use crate::history::{Part, Partition, Violation};

/// Where one consumer is in one partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Position {
    /// The offset expected next; none before the first record.
    pub next: Option<Offset>,
    /// Losses of the partition that the consumer's position has lived through.
    pub losses: u64,
    /// The first record may be anywhere: the consumer goes on from a committed offset.
    pub anywhere: bool,
    /// Everybody knew at the last record that what lies below is deleted.
    pub trimmed: Offset,
}

impl Position {
    /// The consumer was given the record at `offset`.
    ///
    /// # Errors
    /// It went back, or records were left out that nobody deleted.
    pub fn read(&mut self, partition: &Partition, part: &Part, offset: Offset) -> Result<(), Violation> {
        let next = self.next.replace(offset + 1);
        let trimmed = std::mem::replace(&mut self.trimmed, partition.trim_acked);
        let lossy = std::mem::replace(&mut self.losses, partition.losses) != partition.losses;
        // Where a suffix was lost, the consumer starts over at the end of what is left, or at the beginning.
        if lossy || partition.misleads() {
            return Ok(());
        }
        let expected = next.unwrap_or(if self.anywhere { offset } else { 0 });
        // Where the position itself is deleted, the consumer starts over where its leader's log begins; another leader need not
        // have heard of the deletion yet, until the deletion is acknowledged: then every in-sync replica has.
        let deleted = !partition.told.is_empty() && expected < partition.trim_asked && offset >= trimmed;
        if next.is_some() && offset < expected && !deleted {
            return violation("reads", format!("a consumer of {part} went back from {expected} to {offset}"));
        }
        if offset > expected && offset > partition.trim_asked {
            return violation("reads", format!("a consumer of {part} jumped from {expected} to {offset}"));
        }
        Ok(())
    }
}

/// Checks what was ever seen, by anybody, against the final log.
///
/// # Errors
/// Something was seen that is not there.
pub fn check_final(partition: &Partition, part: &Part, log: &FinalLog) -> Result<(), Violation> {
    for (offset, value) in partition.seen.range(log.start..).filter(|_| !partition.rotten) {
        if log.records.get(offset) != Some(value) {
            let found = log.records.get(offset);
            return violation("reads", format!("{part} has {found:?} at {offset}, where {value} was seen"));
        }
    }
    let mut expected = log.start;
    for offset in log.records.keys() {
        if *offset != expected {
            return violation("reads", format!("{part} has no record at {expected}, the next is at {offset}"));
        }
        expected += 1;
    }
    if expected != log.end {
        return violation("reads", format!("{part} ends at {expected}, its high watermark is {}", log.end));
    }
    Ok(())
}
