//! Within one life of a process the high watermark never falls, and it covers what was acknowledged.

use std::collections::BTreeMap;

use millrace_types::{Offset, TopicPartition};

use super::violation;
use crate::history::Violation;

/// The high watermarks of one life of a process.
#[derive(Debug, Default)]
pub struct Watermarks(BTreeMap<TopicPartition, Offset>);

impl Watermarks {
    /// Takes in the high watermark after a step.
    ///
    /// # Errors
    /// It fell.
    pub fn check(&mut self, partition: TopicPartition, high_watermark: Offset) -> Result<(), Violation> {
        let before = self.0.insert(partition, high_watermark).unwrap_or(0);
        if high_watermark < before {
            return violation(
                "watermark",
                format!("{partition}: the high watermark fell from {before} to {high_watermark}"),
            );
        }
        Ok(())
    }

    /// The replica of a partition is gone.
    pub fn forget(&mut self, partition: TopicPartition) {
        self.0.remove(&partition);
    }
}

/// A record at `offset` was acknowledged while the high watermark was `high_watermark`.
///
/// # Errors
/// The high watermark is not above the record.
pub fn covers(partition: TopicPartition, offset: Offset, high_watermark: Offset) -> Result<(), Violation> {
    if high_watermark <= offset {
        let text = format!("{partition}: {offset} is acknowledged, the high watermark is {high_watermark}");
        return violation("watermark", text);
    }
    Ok(())
}
