//! Incremental fetch sessions (KIP-227): what a consumer fetches is remembered, so that a fetch names only changes.

mod cache;
mod session;

pub use cache::FetchSessions;
pub(crate) use cache::SharedSession;
pub(crate) use session::{FetchSession, PartitionKey, Sent, SlotId, TopicKey, Wanted};

/// Session id of a fetch outside any session.
pub(crate) const NO_SESSION: i32 = 0;
/// Session epoch of a full fetch that asks for a session.
pub(crate) const INITIAL_EPOCH: i32 = 0;
/// Session epoch of a full fetch that asks for none and closes the one it names.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// The session epoch after `epoch`: 1 follows the largest, since 0 and below have meanings of their own.
pub(crate) const fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}
