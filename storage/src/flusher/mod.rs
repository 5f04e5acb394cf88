//! The storage threads: everything that may block on the device, fed over bounded channels.
//!
//! | thread | does | queue |
//! |---|---|---|
//! | `flush` and its helpers | group commit of the partitions' files | [`StorageHandle::flush`] |
//! | `qstate` | group commit of the write-ahead store | [`StorageHandle::put`] |
//! | `disk` | everything slow: allocation ahead, cold reads, removal | [`StorageHandle::run`] |
//!
//! No job waits for one of another queue. A failed flush is reported to every job of its group and never tried again
//! (consensus rules, 2.2). The offset a group has flushed is noted in the write-ahead store and becomes durable with
//! the next commit, beside it; acknowledgements do not wait for that.

mod group;
mod handle;
mod job;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod threads;

pub use handle::StorageHandle;
pub use job::{Done, FlushJob, FlushWork, QueueFull, StorageJob};
pub use stats::{StatsSnapshot, StorageStats};
pub use threads::{StorageOptions, StorageThreads};
