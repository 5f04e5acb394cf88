//! Writes that come before the replica leads: they wait for it, within bounds.

use std::collections::VecDeque;

use millrace_types::Instant;

use crate::call::{PartitionOp, ReplyTo};

/// The most writes that wait.
const MAX_CALLS: usize = 1_000;
/// The most bytes of record batches that wait.
const MAX_BYTES: usize = 16 << 20;

/// Writes in the order they came. Clients turn to a partition as soon as they know of it; to make them wait for the few
/// milliseconds of an election is kinder than an error that costs them a retry interval.
#[derive(Debug, Default)]
pub(super) struct Early {
    calls: VecDeque<(ReplyTo, PartitionOp)>,
    bytes: usize,
}

impl Early {
    /// Takes a write; gives it back when the bounds are reached.
    pub(super) fn push(&mut self, from: ReplyTo, op: PartitionOp) -> Result<(), ReplyTo> {
        let bytes = size(&op);
        if self.calls.len() >= MAX_CALLS || self.bytes + bytes > MAX_BYTES {
            return Err(from);
        }
        self.bytes += bytes;
        self.calls.push_back((from, op));
        Ok(())
    }

    /// Takes all that waits, in order.
    pub(super) fn take(&mut self) -> VecDeque<(ReplyTo, PartitionOp)> {
        self.bytes = 0;
        std::mem::take(&mut self.calls)
    }

    /// Takes those whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<ReplyTo> {
        if self.deadline() > now {
            return Vec::new();
        }
        let (expired, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.calls).into_iter().partition(|(_, op)| deadline(op) <= now);
        self.calls = left;
        self.bytes = self.calls.iter().map(|(_, op)| size(op)).sum();
        expired.into_iter().map(|(from, _)| from).collect()
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Instant {
        self.calls.iter().map(|(_, op)| deadline(op)).min().unwrap_or(Instant::NEVER)
    }
}

fn size(op: &PartitionOp) -> usize {
    match op {
        PartitionOp::Produce { batches, .. } => batches.size(),
        PartitionOp::Watch { .. } | PartitionOp::DeleteRecords { .. } | PartitionOp::Describe => 0,
    }
}

fn deadline(op: &PartitionOp) -> Instant {
    match op {
        PartitionOp::Produce { deadline, .. } | PartitionOp::DeleteRecords { deadline, .. } => *deadline,
        PartitionOp::Watch { .. } | PartitionOp::Describe => Instant::NEVER,
    }
}
