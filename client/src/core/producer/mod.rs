//! The producer as a state machine: records in, produce requests out, one event per batch.

mod accumulator;
mod identity;
mod machine;
pub mod partitioner;
mod queue;
mod sender;

use millrace_types::{Offset, Timestamp};

pub use self::accumulator::Appended;
pub use self::machine::ProducerCore;
pub use self::queue::BatchId;
use crate::error::Result;

/// Where an acknowledged batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Offset of its first record, -1 when the broker does not tell.
    pub base_offset: Offset,
    /// The broker's time of the append in milliseconds, -1 when the records keep their own.
    pub log_append_time: Timestamp,
}

/// What the producer tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProducerEvent {
    /// A batch is acknowledged or given up.
    Batch(BatchId, Result<Written>),
    /// Everything sent before this flush is acknowledged or given up.
    Flushed(u64),
    /// Metadata changed or memory became free: a held-back `append` may be tried again.
    Changed,
}

#[cfg(test)]
mod tests;
