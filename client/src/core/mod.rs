//! The clients as state machines: no socket, clock, thread or random source of their own.
//!
//! # The host's duties, in order
//! 1. Tell what happened: [`Machine::opened`], [`Machine::frame`], [`Machine::closed`], or a call of the machine's own
//!    methods for what the application wants. All take the time as an argument.
//! 2. Call [`Machine::advance`]. It does what has become due, time-outs included.
//! 3. Do all of [`Machine::poll_output`] in order, then deliver all of [`Machine::poll_event`].
//! 4. Sleep until [`Machine::deadline`] or until something happens.
//!
//! Frames are cut by [`FrameReader`](crate::FrameReader). One seed and one order of calls give one history.

pub mod admin;
pub mod assignor;
mod backoff;
pub(crate) mod call;
pub mod cluster;
mod connection;
pub mod consumer;
pub(crate) mod lookup;
pub mod producer;
#[cfg(test)]
pub(crate) mod testing;

use bytes::Bytes;
use millrace_types::{Instant, Now};

pub use cluster::{Cluster, ConnectionId, NetOutput};
pub use millrace_types::Random;

use crate::error::ClientError;

/// What a host needs of each of the three clients.
pub trait Machine {
    /// What the machine tells the application.
    type Event;

    /// The connections and the metadata.
    fn cluster(&mut self) -> &mut Cluster;

    /// Does what is due at `now`.
    fn advance(&mut self, now: Now);

    /// When [`Machine::advance`] has to be called at the latest.
    fn deadline(&self, now: Now) -> Instant;

    /// The next event for the application.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// The host has connected.
    fn opened(&mut self, now: Now, connection: ConnectionId) {
        self.cluster().opened(now.instant, connection);
    }

    /// A frame arrived, without its length.
    fn frame(&mut self, now: Now, connection: ConnectionId, frame: Bytes) {
        self.cluster().frame(now.instant, connection, frame);
    }

    /// The connection ended or could not be made.
    fn closed(&mut self, now: Now, connection: ConnectionId, reason: &ClientError) {
        self.cluster().closed(now.instant, connection, reason);
    }

    /// The next thing for the host to do.
    fn poll_output(&mut self) -> Option<NetOutput> {
        self.cluster().poll_output()
    }
}
