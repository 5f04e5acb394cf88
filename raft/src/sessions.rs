//! Which brokers are heard, and which incarnation of each replica speaks.

use std::collections::BTreeMap;

use millrace_types::{BrokerId, Incarnation, Instant};

use crate::identity::{Peer, ReplicaKey};

/// What an incarnation means beside those seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// An earlier start of a process that has started again: void.
    Stale,
    /// The one that is known.
    Known,
    /// The first that is seen of the replica.
    First,
    /// A later start than the known one.
    Newer,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    peer: Peer,
    /// When the last frame came; `None` while frames come.
    silent_since: Option<Instant>,
}

/// Sessions as their host reports them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    by_broker: BTreeMap<BrokerId, Session>,
    newest: BTreeMap<ReplicaKey, Incarnation>,
}

impl Sessions {
    /// Compares an incarnation with those seen before, and remembers it.
    pub(crate) fn observe(&mut self, peer: Peer) -> Fence {
        match self.newest.get(&peer.key) {
            Some(known) if peer.incarnation < *known => Fence::Stale,
            Some(known) if peer.incarnation == *known => Fence::Known,
            known => {
                let fence = if known.is_some() { Fence::Newer } else { Fence::First };
                self.newest.insert(peer.key, peer.incarnation);
                fence
            }
        }
    }

    pub(crate) fn up(&mut self, peer: Peer) {
        self.by_broker.insert(peer.key.broker, Session { peer, silent_since: None });
    }

    /// Notes a silent broker; returns whether it was heard before.
    pub(crate) fn down(&mut self, broker: BrokerId, heard: Instant) -> bool {
        let Some(session) = self.by_broker.get_mut(&broker) else { return false };
        let was_up = session.silent_since.is_none();
        session.silent_since = Some(session.silent_since.unwrap_or(heard));
        was_up
    }

    /// Whether frames of the replica come.
    pub(crate) fn is_up(&self, key: ReplicaKey) -> bool {
        self.by_broker.get(&key.broker).is_some_and(|session| session.peer.key == key && session.silent_since.is_none())
    }

    /// When the replica was last heard, if it was and is not.
    pub(crate) fn silent_since(&self, key: ReplicaKey) -> Option<Instant> {
        self.by_broker.get(&key.broker).filter(|session| session.peer.key == key)?.silent_since
    }
}
