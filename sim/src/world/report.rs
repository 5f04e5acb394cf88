//! What a run came to.

use std::ops::AddAssign;

use super::{BEGIN, World};
use crate::history::Violation;
use crate::queue::Micros;

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events that happened.
    pub events: u64,
    /// Acknowledged sends and commits.
    pub acks: u64,
    /// Records that consumers were given.
    pub reads: u64,
    /// Starts of brokers.
    pub starts: u64,
    /// Power losses.
    pub power_losses: u64,
    /// Epochs that had a leader, where there are several replicas.
    pub elections: u64,
    /// Batches that a majority held.
    pub commits: u64,
    /// Replicas that have moved away.
    pub moves: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.acks += other.acks;
        self.reads += other.reads;
        self.starts += other.starts;
        self.power_losses += other.power_losses;
        self.elections += other.elections;
        self.commits += other.commits;
        self.moves += other.moves;
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What happened, in numbers.
    pub counts: Counts,
    /// Virtual microseconds.
    pub time: Micros,
    /// Hash of the trace.
    pub trace: u64,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
}

impl Report {
    /// Of a run that ended without one.
    #[must_use]
    pub fn broken(seed: u64, violation: Violation) -> Self {
        Self { seed, violation: Some(violation), ..Self::default() }
    }
}

impl World {
    /// What has come of the run so far.
    pub(super) fn report(&self, seed: u64) -> Report {
        Report {
            seed,
            counts: Counts {
                events: self.events,
                acks: self.history.acks,
                reads: self.history.reads,
                starts: self.starts,
                power_losses: self.brokers.iter().map(|machine| machine.boot - 1).sum(),
                elections: self.ghosts.values().map(|ghost| ghost.leaders.len() as u64).sum(),
                moves: self.retired,
                commits: self.ghosts.values().map(|ghost| ghost.committed.len() as u64).sum(),
            },
            time: self.now.instant.as_micros() - BEGIN,
            trace: self.trace.hash(),
            violation: self.history.violation().cloned(),
        }
    }
}
