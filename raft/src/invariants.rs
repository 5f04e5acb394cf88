//! What must hold after each step, as formulas.

use crate::raft::Raft;
use crate::role::{Leader, Role};
use crate::settings::AckPolicy;

/// A formula that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation(pub &'static str);

fn holds(formula: bool, name: &'static str) -> Result<(), Violation> {
    if formula { Ok(()) } else { Err(Violation(name)) }
}

impl Raft {
    /// Checks the state. It costs about as much as a step.
    ///
    /// # Errors
    /// The first formula that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        let (log, high_watermark) = (&self.log, self.high_watermark);
        holds(log.start <= high_watermark, "log start <= high watermark")?;
        holds(high_watermark <= log.end, "high watermark <= log end")?;
        holds(log.flushed <= log.end, "flushed <= log end")?;
        holds(log.cache.is_ordered(), "e1 < e2 => start(e1) <= start(e2)")?;
        holds(log.cache.starts().all(|known| known.start <= log.end), "an epoch begins at or below the log end")?;
        holds(log.cache.latest() <= self.epoch, "last epoch <= epoch")?;
        let held = self.acknowledged();
        holds(held.epoch <= log.cache.latest() && held.offset <= log.end, "acknowledged <= position")?;
        match &self.role {
            Role::Unattached(_) => Ok(()),
            Role::Follower(follower) => holds(follower.leader != self.me.key, "nobody follows itself"),
            Role::Prospective(_) => holds(!self.is_busy(), "no candidacy while the log changes"),
            Role::Candidate(_) => {
                holds(self.voted_for == Some(self.me.key), "a candidate votes for itself")?;
                holds(!self.witness, "a witness never campaigns")
            }
            Role::Leader(leader) => self.check_leader(leader),
            Role::Resigned(_) => holds(self.voted_for == Some(self.me.key), "who resigns has led"),
        }
    }

    fn check_leader(&self, leader: &Leader) -> Result<(), Violation> {
        holds(self.log.cache.latest() == self.epoch, "a leader's last epoch is its own")?;
        holds(self.log.cache.start_of(self.epoch) == Some(leader.start), "its epoch begins where its log ended")?;
        holds(self.voted_for == Some(self.me.key), "a leader has voted for itself")?;
        holds(!self.witness && !self.recovering, "a leader holds the log")?;
        holds(self.log.pending.is_none(), "a leader's log is only appended to")?;
        let limit = leader.commit.unwrap_or(leader.start).max(leader.start);
        holds(self.high_watermark <= limit, "high watermark <= commit")?;
        holds(leader.commit.is_none_or(|commit| commit >= leader.start), "commit >= start of the epoch")?;
        holds(leader.in_sync.contains(self.me.key), "a leader is in sync")?;
        let counted = leader.progress.values().filter(|progress| progress.recovering && progress.matched.is_some());
        holds(counted.count() == 0, "what a recovering replica acknowledges is not counted")?;
        for key in leader.in_sync.full().filter(|key| *key != self.me.key) {
            let progress = leader.progress.get(&key);
            holds(progress.is_some_and(|progress| !progress.recovering), "who is in sync has lost nothing")?;
            let matched = self.match_of(key);
            let held = matched.is_none_or(|matched| matched >= self.high_watermark);
            holds(held || self.settings.ack_policy == AckPolicy::Quorum, "who is in sync holds what is acknowledged")?;
        }
        Ok(())
    }
}
