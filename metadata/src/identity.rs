//! Who takes part in deciding the metadata log: acceptors, and the proposers of its entries.

use std::fmt;

use millrace_types::{BrokerId, DirectoryId, Incarnation};
use serde::{Deserialize, Serialize};

/// An acceptor: a broker with the directory that holds what it has promised. A broker that comes back with another
/// directory is not this acceptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Acceptor {
    /// The broker.
    pub broker: BrokerId,
    /// Its data directory.
    pub directory: DirectoryId,
}

/// One process of a broker. Incarnations count the starts of a directory, so without the directory they would repeat
/// on a wiped disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Proposer {
    /// The broker.
    pub broker: BrokerId,
    /// Its data directory.
    pub directory: DirectoryId,
    /// Number of the process start.
    pub incarnation: Incarnation,
}

/// Identity of one proposed entry: two proposals are two even when their changes are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Proposal {
    /// Who proposed it.
    #[serde(flatten)]
    pub by: Proposer,
    /// Number among the proposals of this process.
    pub number: u64,
}

impl Proposer {
    /// The acceptor this process can be.
    #[must_use]
    pub const fn acceptor(self) -> Acceptor {
        Acceptor { broker: self.broker, directory: self.directory }
    }
}

impl fmt::Display for Proposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} (directory {}, incarnation {})", self.broker, self.directory, self.incarnation)
    }
}
