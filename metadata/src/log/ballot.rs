//! Ballots, and what an acceptor remembers of the slot that is open.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::Proposer;

/// The bytes of an entry, as its proposer has encoded them.
pub type Value = Arc<[u8]>;

/// A ballot of one slot. Number 0 belongs to the slot's owner alone, who needs no promise for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// Its number; first in the order.
    pub n: u64,
    /// The process whose ballot it is.
    #[serde(flatten)]
    pub by: Proposer,
}

/// What an acceptor has promised and accepted for one slot, the one behind its last entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The slot.
    pub slot: u64,
    /// The lowest ballot it still takes; `None` takes any.
    pub promised: Option<Ballot>,
    /// What it has accepted last.
    pub accepted: Option<(Ballot, Value)>,
}
