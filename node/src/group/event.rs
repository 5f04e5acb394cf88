//! What can happen to a group coordinator, and what it asks of its host.

use millrace_coordinator::{GroupRequest, GroupResponse};
use millrace_storage::WarmJob;
use millrace_types::Instant;

use crate::call::{Answer, Call, ReplyTo};

/// Everything that can happen to a group coordinator.
#[derive(Debug)]
pub enum GroupEvent {
    /// The replica of its partition is there: load the log, then serve.
    Start,
    /// A call of another core.
    Request {
        /// Where the answer goes.
        from: ReplyTo,
        /// What is asked.
        request: GroupRequest,
    },
    /// The answer to a call of its own to its partition.
    Answer {
        /// The token of the call.
        token: u64,
        /// What came back.
        answer: Answer,
    },
    /// A cold range has been read in; loading goes on.
    Warmed {
        /// The token of the `Warm` effect.
        token: u64,
    },
    /// What the view of its partition says of the leader has changed: begin to load, or let everything go.
    View,
    /// The time asked for by the latest `Timer` effect has come.
    Timer,
    /// Answer what waits, wait for the append under way, then push [`GroupEffect::Stopped`].
    Stop,
}

/// Everything a group coordinator asks of its host.
#[derive(Debug)]
pub enum GroupEffect {
    /// An answer.
    Answer {
        /// To whom.
        to: ReplyTo,
        /// What.
        response: GroupResponse,
    },
    /// Call the replica of its partition; the answer comes back as [`GroupEvent::Answer`].
    Call {
        /// The coordinator's number for the call.
        token: u64,
        /// The call.
        call: Call,
    },
    /// Read a cold range on a storage thread; completes as [`GroupEvent::Warmed`].
    Warm {
        /// The coordinator's number for it.
        token: u64,
        /// The work.
        job: WarmJob,
    },
    /// Wake the coordinator at this moment; replaces the timer asked for before.
    Timer(Instant),
    /// Nothing is under way any more; the host may drop the coordinator.
    Stopped,
}
