//! Whose leader is silent, and who has been told so.

use std::collections::BTreeMap;

use millrace_types::{BrokerId, Instant, TopicPartition};

use super::News;
use crate::peer::Campaigns;

/// Partitions and what they are told.
pub(super) type Told = (Vec<TopicPartition>, News);

/// Replicas that have lost their leader, until they have another.
#[derive(Debug, Default)]
pub(super) struct Silence {
    campaigns: Campaigns,
    /// Who has not been told yet, and of whom: the silent broker, and when it was last heard.
    untold: BTreeMap<TopicPartition, (BrokerId, Instant)>,
}

impl Silence {
    /// The leader of these partitions is silent.
    pub(super) fn begin(&mut self, broker: BrokerId, heard: Instant, led: Vec<TopicPartition>) {
        self.untold.extend(led.iter().map(|partition| (*partition, (broker, heard))));
        self.campaigns.add(led);
    }

    /// Who is to be told now.
    pub(super) fn next(&mut self, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(slice) = self.campaigns.next(now) {
            told.extend(self.take(slice));
        }
        told
    }

    /// The broker is heard again: who has not been told of its silence.
    pub(super) fn end(&mut self, broker: BrokerId) -> Vec<Told> {
        let of_it =
            |(partition, (silent, _)): (&TopicPartition, &(BrokerId, _))| (*silent == broker).then_some(*partition);
        let late: Vec<TopicPartition> = self.untold.iter().filter_map(of_it).collect();
        for partition in &late {
            self.campaigns.done(*partition);
        }
        self.take(late)
    }

    /// The partition has a leader. If its replica has not been told of the silence before, it is to be told now.
    pub(super) fn done(&mut self, partition: TopicPartition) -> Option<News> {
        self.campaigns.done(partition);
        self.take(vec![partition]).pop().map(|(_, news)| news)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.campaigns.deadline()
    }

    pub(super) fn waiting(&self) -> usize {
        self.campaigns.waiting()
    }

    /// What the partitions are told, by broker.
    fn take(&mut self, partitions: Vec<TopicPartition>) -> Vec<Told> {
        let mut by_broker: BTreeMap<(BrokerId, Instant), Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            if let Some(silent) = self.untold.remove(&partition) {
                by_broker.entry(silent).or_default().push(partition);
            }
        }
        by_broker.into_iter().map(|((broker, heard), led)| (led, News::Down { broker, heard })).collect()
    }
}
