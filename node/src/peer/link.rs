//! One shard of a session: its connection, and what waits for it.

use millrace_types::Instant;

use super::LinkId;
use super::answers::Answers;
use super::queue::Queue;

/// How far a shard's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// There is none. Who dials does so at `again`; the other waits.
    Idle { again: Instant },
    /// The dial `attempt` is under way.
    Dialing { until: Instant },
    /// Dialed: the hello is sent, and its answer awaited.
    Greeting { connection: LinkId, until: Instant },
    /// The other's hello is good. Until its start is remembered durably, and the session is up, nothing more is said.
    Waiting { connection: LinkId, until: Instant },
    /// Accepted: the hello is answered. The first frame behind says that the other has accepted too.
    Confirming { connection: LinkId, until: Instant },
    /// It carries messages.
    Open { connection: LinkId },
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: LinkState,
    /// The last dial of the shard; where dials are accepted, the latest seen of the other's incarnation.
    pub(crate) attempt: u64,
    /// Dials in a row that led to nothing.
    pub(crate) failures: u32,
    pub(crate) queue: Queue,
    pub(crate) answers: Answers,
    /// Bytes handed to the socket that have not left.
    pub(crate) unwritten: usize,
    /// When the last bytes came by an open connection.
    pub(crate) heard: Instant,
    /// Since when a session that is up lacks this shard.
    pub(crate) missing_since: Instant,
    /// Whether messages were lost since replicas were last told to ask again.
    pub(crate) lost: bool,
}

impl Link {
    pub(crate) fn new(again: Instant) -> Self {
        Self {
            state: LinkState::Idle { again },
            attempt: 0,
            failures: 0,
            queue: Queue::default(),
            answers: Answers::default(),
            unwritten: 0,
            heard: Instant::ZERO,
            missing_since: Instant::NEVER,
            lost: false,
        }
    }

    /// The connection, if there is one.
    pub(crate) const fn connection(&self) -> Option<LinkId> {
        match self.state {
            LinkState::Idle { .. } | LinkState::Dialing { .. } => None,
            LinkState::Greeting { connection, .. }
            | LinkState::Waiting { connection, .. }
            | LinkState::Confirming { connection, .. }
            | LinkState::Open { connection } => Some(connection),
        }
    }

    /// The connection, if it carries messages.
    pub(crate) const fn open(&self) -> Option<LinkId> {
        match self.state {
            LinkState::Open { connection } => Some(connection),
            _ => None,
        }
    }

    /// Whether someone has said a good hello on it.
    pub(crate) const fn is_greeted(&self) -> bool {
        matches!(self.state, LinkState::Waiting { .. } | LinkState::Confirming { .. } | LinkState::Open { .. })
    }

    /// When the handshake has taken too long.
    pub(crate) const fn until(&self) -> Instant {
        match self.state {
            LinkState::Dialing { until }
            | LinkState::Greeting { until, .. }
            | LinkState::Waiting { until, .. }
            | LinkState::Confirming { until, .. } => until,
            LinkState::Idle { .. } | LinkState::Open { .. } => Instant::NEVER,
        }
    }
}
