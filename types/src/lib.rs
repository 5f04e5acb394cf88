//! The words every Millrace crate shares: identifiers, offsets, epochs, time and Kafka's error codes.
//!
//! The crate holds data, the numbers that follow from a seed, and the switch by which the crates' tests break rules. It has no
//! clock, no entropy and no I/O, and it stays small: what only one crate needs belongs into that crate.

#![forbid(unsafe_code)]

mod error_code;
mod id;
mod mutation;
mod random;
mod time;

pub use error_code::ErrorCode;
pub use id::{BrokerId, DirectoryId, Incarnation, LeaderEpoch, Offset, ProducerId, TopicId, TopicPartition};
pub use id::{NO_PRODUCER_ID, NO_SEQUENCE};
pub use random::Random;
pub use time::{Instant, Now, Timestamp};
