//! Who a replica is: broker, directory, and the start of the process that speaks for it.

use std::fmt;

use millrace_types::{BrokerId, DirectoryId, Incarnation};

/// Identity of a replica of the partition (KIP-853 voter keys): a broker whose disk was wiped comes back with another
/// directory, and is not the replica that voted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// The broker.
    pub broker: BrokerId,
    /// Its data directory.
    pub directory: DirectoryId,
}

/// A replica and the process start that speaks for it. What an earlier start has sent is void: it may have promised
/// what a crash took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The replica.
    pub key: ReplicaKey,
    /// Number of the process start of the directory; grows with each.
    pub incarnation: Incarnation,
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.broker.fmt(f)
    }
}
