//! A request between its arrival and its response.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use millrace_types::Instant;

use crate::api::{Api, Waiting};
use crate::wire::{Frame, RequestHeader};

/// A request of a connection.
pub(super) struct Request {
    pub(super) api: &'static Api,
    pub(super) header: RequestHeader,
    /// Bytes of its frame, counted against the connection's bound until it is answered.
    pub(super) size: usize,
    pub(super) state: State,
}

/// How far a request has come.
///
/// ```text
/// Held -> Waiting -> Done        Held -> Done
/// ```
pub(super) enum State {
    /// It waits for its turn; its body is not decoded.
    Held(Bytes),
    /// Its handler waits for answers.
    Waiting(Box<dyn Waiting>),
    /// It is done; its response, if it has one, waits for those before it.
    Done(Option<Frame>),
}

impl Request {
    pub(super) const fn is_held(&self) -> bool {
        matches!(self.state, State::Held(_))
    }

    pub(super) fn is_produce(&self) -> bool {
        self.api.key == ApiKey::Produce
    }

    pub(super) fn deadline(&self) -> Instant {
        match &self.state {
            State::Waiting(waiting) => waiting.deadline(),
            State::Held(_) | State::Done(_) => Instant::NEVER,
        }
    }
}
