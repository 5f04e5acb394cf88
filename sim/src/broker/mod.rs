//! One broker: the real cores on the real storage code, hosted by the event queue instead of actors and threads.

mod boot;
mod clock;
mod connections;
mod cores;
mod disk_work;
mod moves;
mod port;
mod process;
mod sessions;
mod witness;

pub use boot::{Cluster, Start, host, registration, start};
pub use clock::Clock;
pub use port::{Event, Happening, Net, Port, Who, Wire};
pub use process::Process;

use std::time::Duration;

use bytes::Bytes;
use millrace_node::metadata_store::Part;
use millrace_node::peer::LinkId;
use millrace_raft::Status;
use millrace_types::{BrokerId, TopicPartition};

/// What a process has for the network.
#[derive(Debug)]
pub enum Sent {
    /// A frame for a client, without its length.
    Frame(u64, Bytes),
    /// The end of a client's link.
    Closed(u64),
    /// A dial to another broker.
    Dial {
        /// The broker.
        broker: BrokerId,
        /// The shard it is for.
        shard: u8,
        /// Number of the dial.
        attempt: u64,
    },
    /// A frame for another broker, without its length, and the bytes that it takes on the way.
    Write(LinkId, Bytes),
    /// Keepalives, from now on at this interval.
    Keepalives(LinkId, Duration),
    /// The end of a connection with another broker.
    Close(LinkId),
}

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
    /// A replica has stopped; in its last step it may have acknowledged more than it was seen to.
    Stopped {
        /// The partition.
        partition: TopicPartition,
        /// Its state at the end.
        status: Box<Status>,
    },
    /// The data of a replica goes.
    Removed {
        /// The partition.
        partition: TopicPartition,
        /// What has moved away; `None` when its topic is deleted.
        retired: Option<Part>,
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
    /// The sessions of broker `by` hear another.
    Heard {
        /// Whom.
        peer: BrokerId,
        /// Who hears.
        by: BrokerId,
    },
    /// Something came to a replica that should not have.
    Stray {
        /// What.
        what: String,
    },
    /// Every core has stopped and the directory is marked clean.
    StoppedCleanly,
}
