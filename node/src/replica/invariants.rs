//! What must hold after each step of a replica, as formulas; checked in debug builds.

use millrace_types::Offset;

use super::Replica;
use super::core::Phase;
use super::mutation::{Mutation, any_broken, broken};

impl Replica {
    /// Checks the state after a step; `before` is the high watermark before it, `was_cutting` whether a cut was under way.
    pub(super) fn check(&self, before: Offset, was_cutting: bool) {
        if !cfg!(debug_assertions) {
            return;
        }
        let (start, end) = (self.log.log_start(), self.log.log_end());
        let (high_watermark, flushed) = (self.high_watermark(), self.log.flushed_offset());
        let is_cutting = was_cutting || self.cut.is_under_way();
        // What is cut was never committed, unless an operator has given up what a lost majority held.
        let is_forced = self.raft.configuration().id.generation > 0;
        debug_assert!(before <= high_watermark || is_forced, "the high watermark falls: {before} <= {high_watermark}");
        debug_assert!(flushed <= end, "flushed <= log end: {flushed} <= {end}");
        if self.is_running() {
            debug_assert!(start <= high_watermark, "log start <= high watermark: {start} <= {high_watermark}");
            debug_assert!(high_watermark <= end, "high watermark <= log end: {high_watermark} <= {end}");
        }
        let rule_broken = broken(Mutation::CommitBeforeFlush) || broken(Mutation::CommitBeforeVolatile);
        if self.is_running() && !self.raft.is_volatile() && !is_cutting && !rule_broken {
            let held = self.raft.held().offset;
            debug_assert!(held <= flushed, "volatile = false => acknowledged <= flushed: {held} <= {flushed}");
            let alone = self.leads && self.is_alone();
            debug_assert!(!alone || high_watermark <= flushed, "volatile = false => high watermark <= flushed");
        }
        debug_assert!(
            self.view.leader_epoch().is_none_or(|epoch| epoch == self.raft.epoch().max(1)),
            "the published epoch is the replica's"
        );
        if self.is_running() && self.is_intact() && !is_cutting && !any_broken() {
            let position = self.raft.status().position;
            debug_assert_eq!(position.offset, end, "the consensus knows where the log ends");
            debug_assert_eq!(position.epoch, self.log.epoch_cache().latest(), "and its last epoch");
        }
        for requests in [&self.purgatory, &self.own] {
            let idle = requests.is_empty() || self.leads;
            debug_assert!(idle, "only a leader's producers wait");
        }
        debug_assert!(
            self.purgatory.first_end().is_none_or(|first| high_watermark < first),
            "purgatory: high watermark < end of each request"
        );
        debug_assert!(
            self.watchers.lowest().is_none_or(|beyond| high_watermark <= beyond),
            "watchers: high watermark <= beyond of each registration"
        );
        let idle = self.purgatory.is_empty() && self.own.is_empty() && self.watchers.lowest().is_none();
        debug_assert!(idle || !matches!(self.phase, Phase::Failed | Phase::Stopped), "nobody waits for a dead replica");
    }
}
