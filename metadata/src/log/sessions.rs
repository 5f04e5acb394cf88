//! The brokers that are heard, and how far each is.

use std::collections::BTreeMap;

use millrace_types::BrokerId;

use crate::identity::Proposer;

/// A broker that is heard.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The process at the other end.
    pub(super) peer: Proposer,
    /// The epoch it has told to have applied, durably.
    pub(super) applied: Option<u64>,
    /// The epoch up to which it can be asked for entries.
    pub(super) reaches: u64,
    /// The newest request to commit that it has sent.
    pub(super) forwarded: u64,
}

/// Sessions as their host reports them.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: BTreeMap<BrokerId, Session>,
    /// The newest request of processes whose session has ended: they may come back, and a request come late.
    earlier: BTreeMap<BrokerId, (Proposer, u64)>,
}

impl Sessions {
    pub(super) fn up(&mut self, peer: Proposer) {
        let known = self.live.get(&peer.broker).map(|session| (session.peer, session.forwarded));
        let forwarded = known.or_else(|| self.earlier.get(&peer.broker).copied());
        let forwarded = forwarded.filter(|(process, _)| *process == peer).map_or(0, |(_, newest)| newest);
        self.live.insert(peer.broker, Session { peer, applied: None, reaches: 0, forwarded });
    }

    pub(super) fn down(&mut self, broker: BrokerId) {
        if let Some(session) = self.live.remove(&broker) {
            self.earlier.insert(broker, (session.peer, session.forwarded));
        }
    }

    /// The session of this process.
    pub(super) fn of(&mut self, peer: Proposer) -> Option<&mut Session> {
        self.live.get_mut(&peer.broker).filter(|session| session.peer == peer)
    }

    pub(super) fn get(&self, broker: BrokerId) -> Option<&Session> {
        self.live.get(&broker)
    }

    pub(super) fn get_mut(&mut self, broker: BrokerId) -> Option<&mut Session> {
        self.live.get_mut(&broker)
    }

    pub(super) fn brokers(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.live.keys().copied()
    }

    /// The broker that is farthest, if any is beyond `epoch`.
    pub(super) fn ahead_of(&self, epoch: u64) -> Option<BrokerId> {
        let farthest = self.live.iter().max_by_key(|(_, session)| session.reaches)?;
        (farthest.1.reaches > epoch).then_some(*farthest.0)
    }

    /// The least epoch that the live brokers have told; 0 while one has told none.
    pub(super) fn least_applied(&self) -> Option<u64> {
        self.live.values().map(|session| session.applied.unwrap_or(0)).min()
    }
}
