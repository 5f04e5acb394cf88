//! Answers that wait until every broker has applied what they tell of.
//!
//! A client asks any broker next. When the brokers that are heard have the epoch of the answer, it finds there what it was
//! told. The wait is bounded: a broker that is slow is no error of the command.

use std::collections::VecDeque;

use millrace_metadata::CommandResult;
use millrace_types::{Instant, Now};

use super::SPREAD_WAIT;
use crate::call::ReplyTo;

/// The waiting answers, in the order in which they came: the order of time.
#[derive(Debug, Default)]
pub(super) struct Spread {
    waiting: VecDeque<(Instant, u64, ReplyTo, CommandResult)>,
}

impl Spread {
    /// Keeps an answer of `epoch`.
    pub(super) fn hold(&mut self, now: Now, epoch: u64, to: ReplyTo, result: CommandResult) {
        self.waiting.push_back((now.instant.after(SPREAD_WAIT), epoch, to, result));
    }

    /// The answers whose epoch everybody has, or that have waited long enough.
    pub(super) fn release(&mut self, now: Now, everywhere: u64) -> Vec<(ReplyTo, CommandResult)> {
        let (due, later): (VecDeque<_>, _) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(deadline, epoch, ..)| *epoch <= everywhere || *deadline <= now.instant);
        self.waiting = later;
        due.into_iter().map(|(_, _, to, result)| (to, result)).collect()
    }

    /// When the first of them has waited long enough.
    pub(super) fn deadline(&self) -> Instant {
        self.waiting.front().map_or(Instant::NEVER, |(deadline, ..)| *deadline)
    }
}
