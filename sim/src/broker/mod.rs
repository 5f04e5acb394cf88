//! One broker: the real cores on the real storage code, hosted by the event queue instead of actors and threads.

mod boot;
mod connections;
mod cores;
mod disk_work;
mod port;
mod process;

pub use boot::{Start, start};
pub use connections::ToClient;
pub use port::{Event, Happening, Net, Port, Who};
pub use process::Process;

use millrace_types::TopicPartition;

/// Something that the process reports to whoever watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A log was opened.
    Opened {
        /// The partition.
        partition: TopicPartition,
        /// Its log end offset.
        end: i64,
        /// Acknowledged records may be missing, says the recovery.
        suffix_lost: bool,
        /// Rot was found, says the recovery.
        damaged: bool,
    },
    /// A log could not be opened.
    Offline {
        /// The partition.
        partition: TopicPartition,
    },
    /// A flush of a log has failed.
    FlushFailed {
        /// The partition.
        partition: TopicPartition,
    },
    /// A replica has acknowledged a batch.
    Acknowledged {
        /// The partition.
        partition: TopicPartition,
        /// Offset of its first record.
        offset: i64,
        /// The high watermark at that moment.
        high_watermark: i64,
    },
    /// Every core has stopped and the directory is marked clean.
    StoppedCleanly,
}
