//! A host for tests: it runs connections and replicas on a simulated disk, step by step and in a fixed order.
//!
//! Storage work is done at once unless it is held back, so that a test can look at what happens in between. A crash
//! keeps what the disk keeps and drops everything else.

mod cluster;
mod cold;
mod dice;
mod moving;
mod neighbours;
mod requests;
mod storage;
mod world;
mod writing;

pub(crate) use cluster::{Cluster, records};
pub(crate) use dice::Dice;
pub(crate) use requests::{batch, fetch, produce, sequenced, topic_name};
pub(crate) use storage::Work;
pub(crate) use world::World;

use millrace_types::{BrokerId, DirectoryId, Now, Timestamp};
use uuid::Uuid;

/// The broker of every test.
pub(crate) const BROKER: BrokerId = BrokerId(1);
/// Its data directory.
pub(crate) const DIRECTORY: DirectoryId = DirectoryId(Uuid::from_u128(0xd1));
/// The listener every connection comes in by.
pub(crate) const LISTENER: &str = "PLAINTEXT";
/// The wall clock at the start of every test.
pub(crate) const START_WALL: Timestamp = 1_700_000_000_000;

/// The moment `ms` milliseconds after the start of a test.
pub(crate) fn at_ms(ms: u64) -> Now {
    Now {
        instant: millrace_types::Instant::from_micros(1_000_000 + ms * 1_000),
        wall: START_WALL + i64::try_from(ms).expect("small"),
    }
}
