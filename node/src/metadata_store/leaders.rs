//! Answers that wait for the leaders of the partitions their commands created.
//!
//! A client that created a topic asks for its metadata next. When its answer waits until the partitions have leaders,
//! that request succeeds at once. The wait is bounded: a leader that does not come is no error of the command.

use std::collections::{BTreeMap, VecDeque};

use millrace_metadata::CommandResult;
use millrace_types::{Instant, Now, TopicPartition};

use super::LEADER_WAIT;
use super::event::MetadataEffect;
use crate::call::ReplyTo;

/// The waiting answers.
///
/// Invariant: `missing` of an answer is the number of partitions in `partitions` that carry its number.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Number of the answer each partition holds up.
    partitions: BTreeMap<TopicPartition, u64>,
    answers: BTreeMap<u64, Waiting>,
    /// Deadlines in the order of the numbers, which is the order of time.
    deadlines: VecDeque<(Instant, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    to: ReplyTo,
    result: CommandResult,
    missing: usize,
}

impl Awaited {
    /// Keeps an answer until every one of `partitions` has a leader.
    pub(super) fn hold(&mut self, now: Now, (to, result): (ReplyTo, CommandResult), partitions: Vec<TopicPartition>) {
        let number = self.next;
        self.next += 1;
        let missing = partitions.len();
        self.partitions.extend(partitions.into_iter().map(|partition| (partition, number)));
        self.answers.insert(number, Waiting { to, result, missing });
        self.deadlines.push_back((now.instant.after(LEADER_WAIT), number));
    }

    /// A partition has a leader, or shall not have one any more.
    pub(super) fn led(&mut self, partition: TopicPartition, out: &mut Vec<MetadataEffect>) {
        let Some(number) = self.partitions.remove(&partition) else { return };
        let Some(waiting) = self.answers.get_mut(&number) else { return };
        waiting.missing -= 1;
        if waiting.missing == 0 {
            self.release(number, out);
        }
    }

    /// Sends the answers that have waited long enough.
    pub(super) fn expire(&mut self, now: Now, out: &mut Vec<MetadataEffect>) {
        while let Some((deadline, number)) = self.deadlines.front().copied() {
            if deadline > now.instant && self.answers.contains_key(&number) {
                break;
            }
            self.deadlines.pop_front();
            if self.release(number, out) {
                self.partitions.retain(|_, waiting| *waiting != number);
            }
        }
    }

    /// When [`Awaited::expire`] is due.
    pub(super) fn deadline(&self) -> Instant {
        self.deadlines.front().map_or(Instant::NEVER, |(deadline, _)| *deadline)
    }

    fn release(&mut self, number: u64, out: &mut Vec<MetadataEffect>) -> bool {
        let waiting = self.answers.remove(&number);
        let found = waiting.is_some();
        out.extend(waiting.map(|Waiting { to, result, .. }| MetadataEffect::Answer { to, result }));
        found
    }
}
