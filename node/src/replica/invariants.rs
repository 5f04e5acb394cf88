//! What must hold after each step of a replica, as formulas; checked in debug builds.

use millrace_types::Offset;

use super::Replica;
use super::core::{Role, Volatile};
use super::mutation::{Mutation, broken};

impl Replica {
    /// Checks the state after a step; `before` is the high watermark before it.
    pub(super) fn check(&self, before: Offset) {
        if !cfg!(debug_assertions) {
            return;
        }
        let (start, end) = (self.log.log_start(), self.log.log_end());
        let (high_watermark, flushed) = (self.high_watermark(), self.log.flushed_offset());
        debug_assert!(before <= high_watermark, "the high watermark never falls: {before} <= {high_watermark}");
        debug_assert!(flushed <= end, "flushed <= log end: {flushed} <= {end}");
        if matches!(self.role, Role::Leader | Role::Stopping) && self.view.leader_epoch().is_some() {
            debug_assert!(start <= high_watermark, "log start <= high watermark: {start} <= {high_watermark}");
            debug_assert!(high_watermark <= end, "high watermark <= log end: {high_watermark} <= {end}");
        }
        let rule_broken = broken(Mutation::CommitBeforeFlush) || broken(Mutation::CommitBeforeVolatile);
        let flushed_only = matches!(self.volatile, Volatile::Clear | Volatile::Setting) && !rule_broken;
        if flushed_only && self.role == Role::Leader {
            debug_assert!(high_watermark <= flushed, "volatile = false => high watermark <= flushed");
        }
        debug_assert!(
            self.purgatory.first_end().is_none_or(|first| high_watermark < first),
            "purgatory: high watermark < end of each request"
        );
        debug_assert!(
            self.watchers.lowest().is_none_or(|beyond| high_watermark <= beyond),
            "watchers: high watermark <= beyond of each registration"
        );
        let idle = self.purgatory.is_empty() && self.watchers.lowest().is_none();
        debug_assert!(idle || !matches!(self.role, Role::Failed | Role::Stopped), "nobody waits for a dead replica");
        debug_assert!(
            self.view.leader_epoch().is_none_or(|epoch| epoch == self.epoch.max(1)),
            "the published epoch is the replica's"
        );
    }
}
