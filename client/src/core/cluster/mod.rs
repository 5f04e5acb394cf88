//! The cluster as a client sees it: connections made when needed, metadata, coordinators, and requests routed to them.
//!
//! A broker works on the requests of one connection one after the other, so what may wait at the broker gets a
//! connection of its own: fetches and produce requests use the data lane, a group's requests the group lane, and
//! everything else the connection with the fewest requests in flight.

mod coordinators;
mod doubt;
mod link;
mod machine;
pub(crate) mod metadata;

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ResponseKind;

pub use self::machine::Cluster;
pub(crate) use self::metadata::Metadata;
use crate::error::Result;

/// Requests that may wait for one connection.
const QUEUE_MAX: usize = 1024;

/// Identity of a connection within one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Identity of a request within one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// What the host has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetOutput {
    /// Connect, then report [`Machine::opened`](super::Machine::opened) or `closed`.
    Open {
        /// The connection to be.
        connection: ConnectionId,
        /// Host name or address, without brackets.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
    /// Send these bytes.
    Write {
        /// The connection.
        connection: ConnectionId,
        /// A whole frame.
        frame: Bytes,
    },
    /// Close the connection; nothing about it is to be reported any more.
    Close {
        /// The connection.
        connection: ConnectionId,
    },
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Any broker.
    Any,
    /// This broker, on its data lane.
    Broker(i32),
    /// The coordinator of this group, on its group lane.
    Coordinator(Arc<str>),
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) id: RequestId,
    pub(crate) result: Result<ResponseKind>,
}

/// Requests that the cluster asks for itself.
#[derive(Debug)]
enum Own {
    Metadata,
    FindCoordinator(Arc<str>),
    /// Who coordinates a group whose coordinator is silent.
    Probe(Arc<str>),
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
