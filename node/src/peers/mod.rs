//! All other brokers: one core that holds the sessions with each, and tells the replicas hosted here what concerns them.
//!
//! [`Peers`] routes: what replicas send goes to the [`Peer`](crate::peer::Peer) of the receiver's broker, what comes from there
//! to the replica that it is for. It decides when a replica hears that its leader is silent: thousands that campaigned at once
//! would only time each other out ([`Campaigns`](crate::peer::Campaigns)).
//!
//! # The host's duties
//!
//! Those of `node/src/peer/mod.rs`, with one core in place of one per broker: [`PeersEvent::Accepted`] takes the first frame of an
//! accepted connection as it came. Beside them:
//!
//! 1. A replica that has been made is named by [`PeersEvent::Hosted`] before anything of it is handed over, and by
//!    [`PeersEvent::Unhosted`] when it is gone.
//! 2. [`PeersEvent::Leader`] follows every change of what a replica's view says of its leader.
//! 3. What [`PeersEffect::Tell`] and [`PeersEffect::Deliver`] carry reaches each replica in the order of the effects.

mod core;
mod event;
mod silence;
#[cfg(test)]
mod tests;

pub use self::core::Peers;
pub use event::{News, PeersEffect, PeersEvent, replica_event};
