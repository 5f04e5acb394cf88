//! The broker-wide write-ahead store: what every partition must know durably, in one journal (consensus rules, 2.1).
//!
//! One file instead of one per partition makes the votes of thousands of partitions one flush. A put of up to
//! 1 MiB is one record of the journal, so it survives a crash whole or not at all.

mod codec;
mod record;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use codec::DecodeError;
pub use record::{BootRecord, Configuration, QRecord, SeenStart, ToldStart, Voter, VoterRole};
pub use state::{BootState, PartitionState};
pub use store::{NewBoot, QState, QStateContents, QStateError};
