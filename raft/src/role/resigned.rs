//! Has led its epoch and leads no longer: others go first.

use millrace_types::Instant;

use super::Role;
use crate::effect::Effect;
use crate::identity::ReplicaKey;
use crate::message::{EndEpoch, Message};
use crate::raft::Raft;
use crate::tally::End;

/// What a replica knows that has resigned.
#[derive(Debug, Clone)]
pub(crate) struct Resigned {
    /// When it is a voter like any other again.
    pub(crate) until: Instant,
}

impl Raft {
    /// Ends its leadership and says so (KIP-595 EndQuorumEpoch): `first`, then the in-sync replicas, those that hold most
    /// first, are named its successors. Nothing happens unless it leads.
    pub(crate) fn resign(&mut self, now: Instant, why: End, first: &[ReplicaKey], out: &mut Vec<Effect>) {
        let Some(leader) = self.as_leader() else { return };
        let mut successors = leader.successors(self.me.key);
        successors.retain(|key| self.configuration.is_data_voter(*key) && !first.contains(key));
        successors.splice(0..0, first.iter().copied());
        for key in self.configuration.members().filter(|key| *key != self.me.key) {
            let message = Message::EndEpoch(EndEpoch { epoch: self.epoch, successors: successors.clone() });
            // A failed disk is no reason to be silent about the end: it promises nothing.
            out.push(Effect::Send { to: key, message });
        }
        self.tally.ended = Some(why);
        self.transition(Role::Resigned(Resigned { until: now.after(self.settings.session_timeout) }));
    }

    pub(crate) fn settle_resigned(&mut self, now: Instant) {
        if let Role::Resigned(resigned) = &self.role
            && resigned.until <= now
            && !self.stalled
        {
            self.become_unattached(None);
        }
    }
}
