//! The metadata log without a leader: one Paxos decree per metadata epoch.
//!
//! [`Log`] is a deterministic state machine with one input, [`Log::step`]: an event in, effects out. Slot *s* decides the entry
//! of epoch *s*, by the acceptors that the state of epoch *s - 1* names; any broker that reaches a majority of them commits. The
//! rules, numbered M1 to M14, with the failure that each prevents, are in `docs/internals/metadata_log.md`; the bytes of
//! its messages are in `docs/metadata_protocol.md`.
//!
//! # The host's duties
//!
//! The host owns the journal, the sessions and the clock. It calls `step` with one event at a time and carries the
//! effects out in their order, before the next event.
//!
//! 1. *Start.* Replay the journal ([`crate::Replay::restore`]), then deliver [`Event::Start`]. The incarnation is durable before.
//! 2. *Persist.* [`Effect::Persist`] and [`Effect::Replace`] complete, one at a time, as [`Event::Persisted`]; as [`Event::Refused`] when the disk
//!    was full and nothing was written; as [`Event::Poisoned`] when it is not known what was.
//! 3. *Send.* [`Effect::Send`] goes to a broker while its session is up. A message may be lost, doubled, late or out of order.
//! 4. *Sessions.* [`Event::SessionUp`] names the process at the other end, and messages that it did not send are not delivered;
//!    a later process of a broker ends the session of the earlier. [`Event::SessionDown`] when nothing is heard.
//! 5. *Publish.* [`Effect::Applied`] and [`Effect::Replaced`] carry the state that is durable now, and everybody may read.
//! 6. *Timer.* [`Event::Timer`] at [`Log::deadline`], asked again after each step.

mod acceptor;
mod ballot;
mod barrier;
mod batch;
mod catch_up;
mod codec;
mod core;
mod deadlines;
mod disk;
mod event;
mod forward;
mod founding;
mod learner;
mod members;
mod message;
pub mod mutation;
mod proposer;
mod sessions;
mod settings;
mod tail;

pub use ballot::{Ballot, Cell, Value};
pub use codec::{DecodeError, MAX_MESSAGE_BYTES};
pub use core::{Log, LogOptions, Restored};
pub use event::{Effect, Event, Halt};
pub use members::{Member, Members};
pub use message::Message;
pub use settings::Settings;

#[cfg(test)]
mod tests;
