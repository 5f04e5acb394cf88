//! Handing leadership over (Raft thesis 3.10; rule R18).

use millrace_types::Instant;

use crate::effect::Effect;
use crate::identity::ReplicaKey;
use crate::mutation::{Mutation, broken};
use crate::raft::Raft;
use crate::role::Transfer;
use crate::tally::End;

impl Raft {
    /// Refuses appends from now on, until the successor holds everything or the time is up.
    pub(crate) fn begin_transfer(&mut self, now: Instant, to: ReplicaKey, out: &mut Vec<Effect>) {
        let until = now.after(self.settings.transfer_timeout);
        let fits =
            to != self.me.key && self.configuration.is_data_voter(to) && self.adopting.is_none() && self.is_fit(to);
        match self.as_leader_mut() {
            Some(leader) if fits && leader.in_sync.contains(to) && leader.transfer.is_none() => {
                leader.transfer = Some(Transfer { to, until });
            }
            _ => out.push(Effect::TransferRefused { to }),
        }
    }

    /// Whether a follower has not said that it had better not lead.
    pub(crate) fn is_fit(&self, key: ReplicaKey) -> bool {
        let unfit =
            self.as_leader().and_then(|leader| leader.progress.get(&key)).is_some_and(|progress| progress.unfit);
        !unfit || broken(Mutation::TransferToUnfit)
    }

    pub(crate) fn settle_transfer(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(transfer) = self.as_leader().and_then(|leader| leader.transfer) else { return };
        if self.match_of(transfer.to) == Some(self.log.end) || broken(Mutation::TransferEarly) {
            self.resign(now, End::HandedOver, &[transfer.to], out);
        } else if transfer.until <= now {
            if let Some(leader) = self.as_leader_mut() {
                leader.transfer = None;
            }
            out.push(Effect::TransferRefused { to: transfer.to });
        }
    }
}
