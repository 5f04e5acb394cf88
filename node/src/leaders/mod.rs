//! Who leads which partition, as brokers tell each other: hints that clients are sent by.
//!
//! Each broker owns the entries of the partitions that it leads, and alone changes them. It tells every broker that it
//! hears: all of them when a session begins, then what changes. Of two entries for one partition the greater epoch wins.
//! Nothing here is durable, and nothing that must be right rests on it: a wrong hint costs a client one
//! `NOT_LEADER_OR_FOLLOWER`. What is said is in `docs/peer_protocol.md`, "Who leads".
//!
//! [`Leaders`] is the core; what it finds is published as [`Hints`] in the directory, where connections read it without
//! asking an actor. It also carries elections of the preferred leader to the broker that leads, and asks for those of this broker itself.
//!
//! # The host's duties
//!
//! 1. [`LeadersEvent::View`] follows every change of what a replica's view says of its leader or its in-sync replicas
//!    ([`PartitionView::changes`](crate::PartitionView::changes)); [`LeadersEvent::Unhosted`] when the view is withdrawn.
//! 2. [`LeadersEvent::Heard`], [`LeadersEvent::Silent`] and [`LeadersEvent::Plane`] are what the sessions say, in their order.
//! 3. [`LeadersEvent::Removed`] follows when a broker leaves the metadata image.
//! 4. [`Call::Elect`](crate::Call::Elect) of a connection comes as [`LeadersEvent::Elect`], and [`LeadersEffect::Elected`] goes back
//!    as [`Answer::Elected`](crate::Answer::Elected).
//! 5. [`LeadersEffect::Send`] goes to the sessions; [`LeadersEffect::Hint`] and [`LeadersEffect::Transfer`] to the replica, if
//!    it is still hosted.

mod balance;
mod codec;
mod core;
mod elections;
mod event;
mod hints;
mod owned;
mod sender;
#[cfg(test)]
mod tests;

pub use self::core::Leaders;
pub use codec::{Entry, LeadersMessage, MAX_ENTRIES, MAX_IN_SYNC};
pub use event::{LeadersEffect, LeadersEvent};
pub use hints::{Hint, Hints};
