//! Moves of partitions that the administrator asks for: to other brokers, to more or fewer of them, and back in the middle.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use millrace_metadata::CONSUMER_OFFSETS;
use millrace_types::Instant;

use crate::dice::Dice;
use crate::options::Options;

/// Version in which what is under way is asked for.
pub(super) const LIST: i16 = 0;
/// How long a request may wait for its effect.
const TIMEOUT_MS: i32 = 2_000;
/// How soon it is asked again whether anything is under way, once the faults are over.
const AGAIN: Duration = Duration::from_millis(200);

/// A topic that may move.
#[derive(Debug, Clone)]
struct Topic {
    name: String,
    partitions: u64,
    /// Replicas that its partitions have had at first.
    replicas: u64,
}

/// When and where partitions move.
#[derive(Debug)]
pub(super) struct Moves {
    /// Twice the mean time between two requests, in microseconds; 0 for never.
    every: u64,
    next: Instant,
    /// The brokers that hold replicas.
    brokers: Vec<i32>,
    fewest: u64,
    /// The topics that live through the run.
    topics: Vec<Topic>,
    /// The faults are over, and nothing was under way then.
    settled: bool,
}

impl Moves {
    pub(super) fn new(options: &Options) -> Self {
        let witnesses = &options.cluster.witnesses;
        let brokers = (0..options.cluster.brokers).filter(|at| !witnesses.contains(at));
        let topic = |name: &str, partitions, replicas: usize| Topic {
            name: name.to_owned(),
            partitions,
            replicas: replicas as u64,
        };
        let topics = options
            .topics
            .iter()
            .map(|known| topic(known.name, u64::try_from(known.partitions).unwrap_or(1), known.replicas));
        let offsets = topic(CONSUMER_OFFSETS, options.offsets_partitions, options.cluster.offsets_replicas);
        Self {
            every: 2_000 * options.cluster.moves_ms,
            next: Instant::ZERO,
            brokers: brokers.filter_map(|at| i32::try_from(at + 1).ok()).collect(),
            fewest: options.moved_replicas_min(),
            topics: topics.chain([offsets]).collect(),
            settled: options.cluster.moves_ms == 0,
        }
    }

    /// When something is to be asked for next.
    pub(super) const fn next(&self) -> Instant {
        if self.every == 0 { Instant::NEVER } else { self.next }
    }

    /// Whether the faults are over and nothing is under way any more.
    pub(super) const fn are_settled(&self) -> bool {
        self.settled
    }

    /// What to move, if it is time; `others` are topics that come and go.
    pub(super) fn draw(
        &mut self,
        now: Instant,
        dice: &mut Dice,
        others: &[String],
    ) -> Option<(i16, AlterPartitionReassignmentsRequest)> {
        if self.next() > now {
            return None;
        }
        let is_first = self.next == Instant::ZERO;
        self.next = now.after(Duration::from_micros(1 + dice.below(self.every)));
        if is_first {
            return None;
        }
        let topic = self.draw_topic(dice, others);
        let all = dice.chance(20);
        let one = dice.below(topic.partitions);
        let partitions = (0..topic.partitions).filter(|at| all || *at == one);
        let partitions: Vec<_> = partitions.map(|at| self.draw_partition(dice, &topic, at)).collect();
        let version = i16::from(dice.chance(50));
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(TIMEOUT_MS)
            .with_allow_replication_factor_change(version == 0 || dice.chance(90))
            .with_topics(vec![
                ReassignableTopic::default()
                    .with_name(TopicName(StrBytes::from_string(topic.name)))
                    .with_partitions(partitions),
            ]);
        Some((version, request))
    }

    fn draw_topic(&self, dice: &mut Dice, others: &[String]) -> Topic {
        let chosen = dice.below((self.topics.len() + others.len()) as u64);
        let chosen = usize::try_from(chosen).unwrap_or(0);
        let other = || Topic {
            name: others.get(chosen - self.topics.len()).cloned().unwrap_or_default(),
            partitions: 2,
            replicas: self.fewest,
        };
        self.topics.get(chosen).cloned().unwrap_or_else(other)
    }

    /// A partition with its target, or one whose move is called off.
    fn draw_partition(&self, dice: &mut Dice, topic: &Topic, partition: u64) -> ReassignablePartition {
        let index = i32::try_from(partition).unwrap_or(0);
        let wanted = ReassignablePartition::default().with_partition_index(index);
        if dice.chance(15) {
            return wanted.with_replicas(None);
        }
        let most = self.brokers.len() as u64;
        let drawn = dice.between(self.fewest.min(most), most);
        let count = if dice.chance(60) { topic.replicas.clamp(self.fewest.min(most), most) } else { drawn };
        let mut left = self.brokers.clone();
        let mut replicas = Vec::new();
        for _ in 0..count {
            let at = usize::try_from(dice.below(left.len() as u64)).unwrap_or(0);
            replicas.push(BrokerId(left.remove(at)));
        }
        wanted.with_replicas(Some(replicas))
    }

    /// Whether it is to be asked for what is under way: again and again once the faults are over.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let asks = !self.settled && self.next <= now;
        if asks {
            self.next = now.after(AGAIN);
        }
        asks
    }

    pub(super) fn list() -> ListPartitionReassignmentsRequest {
        ListPartitionReassignmentsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(None)
    }

    /// Takes in the answer to that.
    pub(super) fn listed(&mut self, calm: bool, mut body: Bytes) {
        let response = ListPartitionReassignmentsResponse::decode(&mut body, LIST);
        self.settled |= calm && response.is_ok_and(|response| response.error_code == 0 && response.topics.is_empty());
    }
}
