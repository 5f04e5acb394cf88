//! What happens by time alone.

use millrace_types::Instant;

use super::batch::timed_out;
use super::core::Log;
use super::proposer::Stage;

impl Log {
    /// When [`super::Event::Timer`] is due; [`Instant::NEVER`] for a broker alone that has nothing to do.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if self.halted.is_some() {
            return Instant::NEVER;
        }
        let stage = match &self.round.stage {
            Stage::Idle => None,
            Stage::Forwarded { until, .. } | Stage::BackingOff { until } => Some(*until),
            Stage::Preparing { .. } | Stage::Accepting { .. } | Stage::Asking { .. } => {
                self.round.resend.map(|(at, _)| at)
            }
        };
        let waiting = self.queue.front().map(|unit| unit.deadline);
        let batch = self.batch.as_ref().map(|batch| batch.deadline);
        let fetch = self.catch_up.asked.map(|(_, until)| until);
        let due = [stage, waiting, batch, fetch, self.found_at.filter(|at| *at > self.now)];
        let due = due.into_iter().flatten().min().unwrap_or(Instant::NEVER);
        let later = [self.status_at, self.register_at, self.full_until].into_iter().filter(|at| *at > self.now);
        later.fold(due, Instant::min)
    }

    pub(super) fn timer(&mut self) {
        while self.queue.front().is_some_and(|unit| unit.deadline <= self.now) {
            let Some(unit) = self.queue.pop_front() else { break };
            self.deliver_failure(unit.origin, &timed_out());
        }
        if self.batch.as_ref().is_some_and(|batch| batch.deadline <= self.now) {
            self.expire();
        }
        if self.catch_up.asked.is_some_and(|(_, until)| until <= self.now) {
            self.fetch_failed();
        }
        if self.status_at <= self.now {
            self.tell_status();
        }
        match &self.round.stage {
            Stage::Idle => {}
            Stage::Forwarded { until, .. } if *until <= self.now => self.forward_lost(),
            Stage::BackingOff { until } if *until <= self.now => self.resume(),
            Stage::Forwarded { .. } | Stage::BackingOff { .. } => {}
            Stage::Preparing { .. } | Stage::Accepting { .. } | Stage::Asking { .. } => {
                if self.round.resend.is_some_and(|(at, _)| at <= self.now) {
                    self.ask_again();
                }
            }
        }
    }
}
