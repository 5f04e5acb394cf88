//! The preferred leader comes back: each broker asks for the partitions that it is meant to lead.
//!
//! Whoever is first in a partition's assignment, or in its target while it moves, leads it, or else, once it has been in sync
//! without leading for a while, asks who does to hand over. The goal is the same for everybody who knows the assignment, so
//! nothing is negotiated and nobody decides for others (consensus rules, 4.4; what Kafka's controller does with
//! `auto.leader.rebalance.enable`).

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_types::{BrokerId, Instant, TopicPartition};

use super::codec::LeadersMessage;
use super::event::LeadersEffect;
use crate::directory::{Directory, Leader};

/// The most partitions that are asked for at once: each stands still for as long as the successor takes to be elected.
const MAX_ASKED: usize = 16;
/// How often a broker looks, at most and at least.
const PERIOD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What this broker is meant to lead and does not.
#[derive(Debug)]
pub(super) struct Balance {
    me: BrokerId,
    /// For how long a replica is in sync before it asks; `None` when nobody is to ask.
    patience: Option<Duration>,
    /// Since when this broker could lead a partition that it is meant to lead.
    since: BTreeMap<TopicPartition, Instant>,
    next: Instant,
}

impl Balance {
    pub(super) const fn new(me: BrokerId, patience: Option<Duration>) -> Self {
        Self { me, patience, since: BTreeMap::new(), next: Instant::NEVER }
    }

    /// When it looks next.
    pub(super) fn due(&mut self, now: Instant) -> Instant {
        if let (Some(patience), Instant::NEVER) = (self.patience, self.next) {
            let (least, most) = PERIOD;
            self.next = now.after((patience / 6).clamp(least, most));
        }
        self.next
    }

    /// Asks for what it could have led for long enough, if the time to look has come.
    pub(super) fn look(&mut self, now: Instant, directory: &Directory, out: &mut Vec<LeadersEffect>) {
        let Some(patience) = self.patience.filter(|_| self.next <= now) else { return };
        self.next = Instant::NEVER;
        let image = directory.image();
        let (mut could, mut catches_up) = (BTreeMap::new(), false);
        let mut asked = Vec::new();
        for topic in image.topics() {
            for partition in topic.partitions_on(self.me) {
                let Some(leader) = directory.leader(&partition).filter(|leader| leader.broker != self.me) else {
                    continue;
                };
                if !leader.in_sync.contains(&self.me) {
                    catches_up = true;
                    continue;
                }
                let assignment = topic.assignment(partition.partition);
                if assignment.and_then(|assignment| assignment.target_replicas().first()) != Some(&self.me) {
                    continue;
                }
                let since = self.since.get(&partition).copied().unwrap_or(now);
                could.insert(partition, since);
                if since.after(patience) <= now {
                    asked.push((partition, leader));
                }
            }
        }
        self.since = could;
        // A broker that has not caught up everywhere has no time to lead more.
        if !catches_up {
            out.extend(asked.into_iter().take(MAX_ASKED).map(|(partition, leader)| self.ask(partition, &leader)));
        }
    }

    fn ask(&self, partition: TopicPartition, leader: &Leader) -> LeadersEffect {
        tracing::debug!(%partition, leader = %leader.broker, "asks to lead, as the preferred replica");
        let message = LeadersMessage::Transfer { partition, to: self.me }.encode();
        LeadersEffect::Send { to: leader.broker, message }
    }
}
