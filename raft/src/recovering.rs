//! A replica that may have lost records it had acknowledged, and how its promises count again (rules R11 to R13).

use crate::effect::{Effect, Record};
use crate::log::Volatile;
use crate::mutation::{Mutation, broken};
use crate::puts::After;
use crate::raft::Raft;
use crate::role::Role;
use crate::settings::FlushMode;

impl Raft {
    /// Ends recovery when this replica durably holds what its leader knew to be committed after it had learned of this
    /// incarnation, or the marker of an epoch whose leader every voter has elected.
    pub(crate) fn recover_if_whole(&mut self, out: &mut Vec<Effect>) {
        let Role::Follower(follower) = &self.role else { return };
        if !self.recovering || self.log.pending.is_some() {
            return;
        }
        let held = self.acknowledged();
        let elected = follower.unanimous && held.epoch == self.epoch && !broken(Mutation::UnanimousCuresNobody);
        if elected || follower.recover_to.is_some_and(|to| held.offset >= to) {
            self.recovering = false;
            out.push(Effect::Recovered);
        }
    }

    /// Notes that recovery has ended, when what it brought back is durable: until then the next start recovers again.
    pub(crate) fn note_recovered(&mut self, out: &mut Vec<Effect>) {
        if self.recovering || !self.recovering_noted {
            return;
        }
        let holds = match &self.role {
            Role::Follower(_) => true,
            Role::Leader(_) => self.own_match().is_some(),
            Role::Unattached(_) | Role::Prospective(_) | Role::Candidate(_) | Role::Resigned(_) => false,
        };
        if holds {
            self.recovering_noted = false;
            self.puts.put(vec![Record::Recovering(false)], Vec::new(), out);
        }
    }

    /// Has the write-ahead store say whether records are acknowledged from the page cache: before the first of them, and
    /// again when the topic has gone back to flushing and everything is flushed (rule R3).
    pub(crate) fn follow_flush_mode(&mut self, out: &mut Vec<Effect>) {
        let all_flushed = self.log.flushed == self.log.end;
        let (from, next) = match self.settings.flush {
            FlushMode::PageCache if !all_flushed => (Volatile::Clear, Volatile::Setting),
            FlushMode::Durable if all_flushed => (Volatile::Set, Volatile::Clearing),
            FlushMode::PageCache | FlushMode::Durable => return,
        };
        if self.log.volatile == from && !self.witness {
            self.log.volatile = next;
            let set = next == Volatile::Setting;
            self.puts.put(vec![Record::Volatile(set)], vec![After::Volatile(set)], out);
        }
    }

    pub(crate) const fn volatile_noted(&mut self, set: bool) {
        self.log.volatile = if set { Volatile::Set } else { Volatile::Clear };
    }
}
