//! The consensus of one partition: who leads, what is committed, how far consumers may read. Raft, replicated by fetches.
//!
//! [`Raft`] is a deterministic state machine with one input, [`Raft::step`]: an event in, effects out. It has no clock,
//! thread, file, socket or random source, and it holds no record: of the log it knows where it begins, ends and is
//! flushed, and where its epochs begin. The rules, numbered R1 to R20, with the failure that each prevents, are in
//! `docs/internals/replication.md`.
//!
//! # The host's duties
//!
//! The host owns the log, the write-ahead store, the sessions and the clock. It calls `step` with one event at a time
//! and carries out the effects **in the order they were pushed**, before the next event.
//!
//! 1. *Start.* Open the log, fold its recovery and the write-ahead store into [`Restored`], deliver [`Event::Start`]. Flush what
//!    recovery found beyond [`Restored::flushed`], and report it. An incarnation is durable before it sends anything.
//! 2. *Persist.* [`Effect::Put`] goes to the write-ahead store behind all earlier puts of the partition; puts become durable in
//!    their order, and [`Event::PutDone`] says so. A put or flush that fails is [`Event::Poisoned`], never tried again.
//!    The core keeps what a put must precede: it asks for a message to be sent when that may leave.
//! 3. *Append, as leader.* Ask [`Raft::admission`], append at the log's end with the epoch it names, then deliver
//!    [`Event::Appended`]. Group-commit as the topic's settings say and report [`Event::Flushed`].
//! 4. *Append, as follower.* Put the spans of the records that came with a fetch response into the message before it is
//!    delivered. [`Effect::Append`] asks to append them: at once, with [`Event::Appended`] or [`Event::AppendRefused`] as the next event.
//!    After a refusal deliver [`Event::Refetch`] when there is room. Then flush, as in 3. No record of an epoch is written before
//!    the put of that epoch's marker, and of all before it, is durable: see rule R8.
//! 5. *Cut.* [`Effect::Truncate`] and [`Effect::Reset`] come when their note is durable. Carry them out durably, zeroing what is
//!    cut, then note durably that it is done, then deliver [`Event::CutDone`]; in between the core asks for no append. A flush taken
//!    before must not be reported after it, and what it would note of the flushed offset must not lie behind the note of the cut.
//! 6. *Send.* [`Effect::Send`] is a message as it is. [`Effect::Serve`] is one with records: read them from the response's position up
//!    to its `upto`, as many as fit, and when these are fewer call [`FetchResponse::limit`] with where they end. Frames carry
//!    the sender's key and incarnation and the receiver's key; messages of one session arrive in order or not at all.
//! 7. *Sessions.* [`Event::SessionUp`] when frames of a broker come, with its incarnation, for each broker that has a replica;
//!    [`Event::SessionDown`] when none came for `session_timeout`, or at once when its process is known to be gone. Both are
//!    per pair of brokers, not per partition. [`Event::Refetch`] renews a fetch whose answer a session has lost.
//! 8. *Timer.* [`Event::Timer`] at [`Raft::deadline`], asked again after each step. It is [`millrace_types::Instant::NEVER`]
//!    for every replica of a partition that is well and idle. An early timer does no harm.
//! 9. *Delete.* Raise the log start at most to the high watermark, and deliver [`Event::LogStart`]; a follower is asked to by
//!    [`Effect::RaiseLogStart`], and fetches again when it has. Before records go, the write-ahead store holds the start of the newest epoch that begins below: recovery
//!    may have read it from those very records.
//! 10. *Serve clients.* [`Effect::HighWatermark`] releases what waits for it. `latest` is answered, coordinators load and records are
//!     deleted only when [`Raft::latest`] says an offset. An admission that names too few replicas refuses `acks=all`.
//!
//! A host may lose or delay any message, deliver it twice, and crash at any point: safety does not rest on time.
//!
//! # What is inside
//!
//! [`Event`] and [`Effect`] are the interface, [`Message`] is what replicas say. The roles are one file each below `src/role/`, whose
//! root lists the legal transitions. [`Raft::check`] states what holds after every step; debug builds call it.

#![forbid(unsafe_code)]

mod configuration;
mod effect;
mod election;
mod epoch_cache;
mod event;
mod fetch;
mod identity;
mod in_sync;
mod invariants;
mod log;
mod membership;
mod message;
pub mod mutation;
mod position;
mod progress;
mod puts;
mod quorum;
mod raft;
mod receive;
mod recovering;
mod replicate;
mod role;
mod sessions;
mod settings;
mod status;
mod tally;
mod transfer;
mod watermark;

pub use configuration::{Change, Configuration, ConfigurationId, Voter, VoterRole};
pub use effect::{Effect, Record};
pub use event::Event;
pub use identity::{Peer, ReplicaKey};
pub use invariants::Violation;
pub use membership::ChangeBlocked;
pub use message::{
    Ack, BeginEpoch, Denial, EndEpoch, Envelope, Fenced, FetchBody, FetchRequest, FetchResponse, Message,
    RepairRequest, RepairResponse, VoteRequest, VoteResponse,
};
pub use position::{Acknowledged, EpochStart, Position, Span};
pub use raft::{Raft, Restored};
pub use role::RoleKind;
pub use settings::{AckPolicy, FlushMode, Settings, UncleanRecovery};
pub use status::{Refusal, Status};
pub use tally::{Begin, End, Tally};
