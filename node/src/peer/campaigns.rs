//! Elections after the loss of a broker, a few at a time: thousands of candidates at once would only time each other out.
//!
//! A replica campaigns when it is told that its leader's session is down. So the host asks here whom to tell next, the
//! most important partitions first, and says when a partition has a leader again, or gives up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use millrace_types::{Instant, TopicPartition};

/// Partitions of a slice: their votes share a frame and a flush at each voter.
pub const SLICE: usize = 512;
/// Slices under way in one broker.
pub const SLICES_IN_FLIGHT: usize = 4;
/// A slice that is not decided after this long makes room for the next: its partitions may have no majority.
const PATIENCE: Duration = Duration::from_secs(1);

/// The elections of one broker.
#[derive(Debug, Default)]
pub struct Campaigns {
    waiting: VecDeque<TopicPartition>,
    /// Invariant: a partition waits at most once, and `queued` holds those that wait.
    queued: BTreeSet<TopicPartition>,
    /// By number of the slice: what is not decided, and when it is given up.
    slices: BTreeMap<u64, (Instant, BTreeSet<TopicPartition>)>,
    of: BTreeMap<TopicPartition, u64>,
    next: u64,
}

impl Campaigns {
    /// Adds partitions that have lost their leader, the most important first, behind those that wait.
    pub fn add(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            if !self.of.contains_key(&partition) && self.queued.insert(partition) {
                self.waiting.push_back(partition);
            }
        }
    }

    /// The next slice of partitions to tell, if one may start.
    pub fn next(&mut self, now: Instant) -> Option<Vec<TopicPartition>> {
        let overdue: Vec<u64> = self.slices.iter().filter(|(_, slice)| slice.0 <= now).map(|(at, _)| *at).collect();
        for number in overdue {
            let given_up = self.slices.remove(&number).map(|slice| slice.1).unwrap_or_default();
            self.of.retain(|partition, _| !given_up.contains(partition));
        }
        if self.slices.len() >= SLICES_IN_FLIGHT || self.waiting.is_empty() {
            return None;
        }
        let slice: Vec<TopicPartition> = self.waiting.drain(..self.waiting.len().min(SLICE)).collect();
        self.next += 1;
        for partition in &slice {
            self.queued.remove(partition);
            self.of.insert(*partition, self.next);
        }
        self.slices.insert(self.next, (now.after(PATIENCE), slice.iter().copied().collect()));
        Some(slice)
    }

    /// The partition has a leader, or its leader is heard again: it need not campaign, or is done.
    pub fn done(&mut self, partition: TopicPartition) {
        if self.queued.remove(&partition) {
            self.waiting.retain(|waiting| *waiting != partition);
        }
        let Some(number) = self.of.remove(&partition) else { return };
        if let Some(slice) = self.slices.get_mut(&number) {
            slice.1.remove(&partition);
            if slice.1.is_empty() {
                self.slices.remove(&number);
            }
        }
    }

    /// When [`Campaigns::next`] may have another slice without anything being done; never when none waits.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if self.waiting.is_empty() {
            return Instant::NEVER;
        }
        if self.slices.len() < SLICES_IN_FLIGHT {
            return Instant::ZERO;
        }
        self.slices.values().map(|slice| slice.0).min().unwrap_or(Instant::NEVER)
    }

    /// Partitions that wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::TopicId;
    use uuid::Uuid;

    use super::*;

    fn partitions(range: std::ops::Range<i32>) -> Vec<TopicPartition> {
        range.map(|number| TopicPartition::new(TopicId(Uuid::from_u128(7)), number)).collect()
    }

    #[test]
    fn four_slices_are_under_way_and_the_next_follows_the_first_that_is_done() {
        let (mut campaigns, now) = (Campaigns::default(), Instant::ZERO);
        campaigns.add(partitions(0..3_000));
        campaigns.add(partitions(0..3_000));
        assert_eq!(campaigns.waiting(), 3_000, "each waits once");
        let slices: Vec<_> = std::iter::from_fn(|| campaigns.next(now)).collect();
        assert_eq!(slices.iter().map(Vec::len).collect::<Vec<_>>(), [512; 4]);
        assert_eq!(slices[0], partitions(0..512), "in the order given");
        assert!(campaigns.deadline() > now);
        slices[2].iter().for_each(|partition| campaigns.done(*partition));
        assert_eq!(campaigns.next(now).expect("a place is free").len(), 512);
        assert_eq!(campaigns.next(now), None);
        assert_eq!(campaigns.waiting(), 3_000 - 5 * 512);
    }

    #[test]
    fn partitions_without_a_majority_do_not_block_the_others() {
        let (mut campaigns, now) = (Campaigns::default(), Instant::ZERO);
        campaigns.add(partitions(0..2_100));
        while campaigns.next(now).is_some() {}
        let later = campaigns.deadline();
        assert_eq!(campaigns.next(later).expect("a slice was given up").len(), 2_100 - 4 * 512);
        assert_eq!(campaigns.deadline(), Instant::NEVER);
    }

    #[test]
    fn a_partition_that_is_led_again_does_not_campaign() {
        let (mut campaigns, now) = (Campaigns::default(), Instant::ZERO);
        campaigns.add(partitions(0..3));
        campaigns.done(partitions(1..2)[0]);
        assert_eq!(campaigns.next(now), Some([partitions(0..1), partitions(2..3)].concat()));
    }
}
