//! What handlers ask for in one step, collected until the connection turns it into effects.

use millrace_storage::WarmJob;
use millrace_types::TopicPartition;

use crate::call::Call;

/// Calls, cancellations and cold reads of one step, in the order they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Calls to other cores with their tokens.
    pub(crate) calls: Vec<(u64, Call)>,
    /// Registrations to take back.
    pub(crate) cancelled: Vec<(u64, TopicPartition)>,
    /// Cold ranges to read in.
    pub(crate) warms: Vec<(u64, WarmJob)>,
    last_token: u64,
}

impl Outbox {
    /// A number that no earlier call of the connection had.
    pub(crate) fn token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }
}
