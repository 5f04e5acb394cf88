//! What comes due with time: the sessions after a start, the groups' deadlines, and the search for expired offsets.

use millrace_types::Now;

use super::GroupShard;
use crate::group::Timer;
use crate::outcome::Outcome;

/// Groups that are looked through for expired offsets in one call, so that other work gets its turn.
const EXPIRY_GROUPS_PER_CALL: usize = 64;

impl GroupShard {
    /// The log is replayed: the sessions of the members found begin, and groups larger than `group.max.size` rebalance.
    pub fn loaded(&mut self, now: Now, out: &mut Outcome) {
        let max = self.config.max_group_size;
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for id in groups {
            self.visit(now, &id, out, |group, work| group.begin_sessions(max, work));
        }
        self.timers.set(Timer::Expiry, now.instant.after(self.config.offsets_retention_check_interval));
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Now, out: &mut Outcome) {
        while let Some(timer) = self.timers.pop(now.instant) {
            match timer {
                Timer::Session(group, member) => {
                    self.visit(now, &group, out, |group, work| group.on_session_timer(&member, work));
                }
                Timer::Join(group) => {
                    self.visit(now, &group, out, |group, work| group.on_join_timer(work));
                }
                Timer::Sync(group) => {
                    self.visit(now, &group, out, |group, work| group.on_sync_timer(work));
                }
                Timer::Expiry => {
                    self.expire_offsets(now, out);
                    // Its next turn may be due at once; it waits for the next call.
                    return;
                }
            }
        }
    }

    /// Looks through the next groups for expired offsets.
    fn expire_offsets(&mut self, now: Now, out: &mut Outcome) {
        let from = self.expiry_from.take().unwrap_or_default();
        let mut groups: Vec<_> =
            self.groups.range(from..).take(EXPIRY_GROUPS_PER_CALL + 1).map(|(id, _)| id.clone()).collect();
        let at = if groups.len() > EXPIRY_GROUPS_PER_CALL {
            self.expiry_from = groups.pop();
            now.instant
        } else {
            now.instant.after(self.config.offsets_retention_check_interval)
        };
        for id in groups {
            self.visit(now, &id, out, |group, work| group.expire_offsets(work));
        }
        self.timers.set(Timer::Expiry, at);
    }
}
