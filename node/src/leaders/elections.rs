//! Elections that wait until the preferred replica leads.

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::{BrokerId, ErrorCode, Instant, TopicPartition};

use super::event::LeadersEffect;
use crate::call::{Caller, ConnectionId, ReplyTo};

/// The most that wait.
const MAX_WAITING: usize = 100_000;

/// The waiting calls.
///
/// Invariant: the three maps hold the same calls.
#[derive(Debug, Default)]
pub(super) struct Elections {
    calls: BTreeMap<ReplyTo, (TopicPartition, BrokerId, Instant)>,
    by_partition: BTreeSet<(TopicPartition, ReplyTo)>,
    by_deadline: BTreeSet<(Instant, ReplyTo)>,
}

impl Elections {
    /// Keeps a call; `false` when there is no room.
    pub(super) fn wait(&mut self, from: ReplyTo, partition: TopicPartition, to: BrokerId, deadline: Instant) -> bool {
        if self.calls.len() >= MAX_WAITING || self.calls.contains_key(&from) {
            return false;
        }
        self.calls.insert(from, (partition, to, deadline));
        self.by_partition.insert((partition, from));
        self.by_deadline.insert((deadline, from));
        true
    }

    /// A broker leads the partition: whoever waited for it is answered.
    pub(super) fn led(&mut self, partition: TopicPartition, leader: BrokerId, out: &mut Vec<LeadersEffect>) {
        // No caller comes before the first connection.
        let first = ReplyTo { caller: Caller::Connection(ConnectionId(0)), token: 0 };
        let waiting = self.by_partition.range((partition, first)..).take_while(|(at, _)| *at == partition);
        let waits_for = |from: &ReplyTo| self.calls.get(from).is_some_and(|(_, to, _)| *to == leader);
        let done: Vec<ReplyTo> = waiting.map(|(_, from)| *from).filter(|from| waits_for(from)).collect();
        for from in done {
            self.answer(from, ErrorCode::None, out);
        }
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<LeadersEffect>) {
        while let Some((_, from)) = self.by_deadline.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.answer(from, ErrorCode::RequestTimedOut, out);
        }
    }

    /// When the next call has waited too long.
    pub(super) fn deadline(&self) -> Instant {
        self.by_deadline.first().map_or(Instant::NEVER, |(deadline, _)| *deadline)
    }

    fn answer(&mut self, from: ReplyTo, error: ErrorCode, out: &mut Vec<LeadersEffect>) {
        if let Some((partition, _, deadline)) = self.calls.remove(&from) {
            self.by_partition.remove(&(partition, from));
            self.by_deadline.remove(&(deadline, from));
            out.push(LeadersEffect::Elected { to: from, error });
        }
    }
}
