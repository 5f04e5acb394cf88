//! A member of a consumer group that commits what it has read.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::core::consumer::{ConsumerCore, ConsumerEvent, Polled, Rebalance};
use millrace_client::core::{Machine, Random};
use millrace_client::{ClientError, OffsetAndMetadata};
use millrace_types::{Instant, Now, Offset};

use super::consumer::{consumer_config, failed, read};
use super::{Client, Context, Wire};
use crate::dice::Dice;
use crate::history::Part;
use crate::invariant::reads::Position;
use crate::options::{Options, TopicOptions};

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    core: ConsumerCore,
    group: String,
    positions: BTreeMap<Part, Position>,
    /// The commit under way: what it is of each partition.
    committing: Option<Vec<(Part, usize)>>,
    /// Offsets of the latest commit, so that the same is not asked for again.
    committed: BTreeMap<Part, Offset>,
    next: Instant,
    every: u64,
    /// A commit was acknowledged after the faults.
    settled: bool,
    remade: bool,
    last_error: Option<ClientError>,
    dice: Dice,
}

impl Member {
    /// A member of `group` that reads `topic`.
    ///
    /// # Errors
    /// The drawn configuration contradicts itself.
    pub fn new(
        now: Now,
        group: &str,
        topic: &TopicOptions,
        options: &Options,
        mut dice: Dice,
    ) -> Result<Self, ClientError> {
        let mut config = consumer_config(group, options, &mut dice);
        config.group_id = Some(group.to_owned());
        config.session_timeout = Duration::from_secs(6);
        config.heartbeat_interval = Duration::from_millis(dice.pick(&[100, 1_000]));
        let mut core = ConsumerCore::new(config, Random::new(dice.number()))?;
        core.subscribe(now, &[topic.name])?;
        Ok(Self {
            core,
            group: group.to_owned(),
            positions: BTreeMap::new(),
            committing: None,
            committed: BTreeMap::new(),
            next: Instant::ZERO,
            every: dice.between(10, 500),
            settled: false,
            remade: false,
            last_error: None,
            dice,
        })
    }

    fn take(&mut self, cx: &mut Context<'_>, event: ConsumerEvent) {
        let ConsumerEvent::Committed(_, result) = event else { return };
        let Some(commit) = self.committing.take() else { return };
        match result {
            Ok(()) => {
                self.settled |= cx.calm;
                let epoch = cx.epoch_by_now();
                for (part, number) in commit {
                    cx.history.committed(&self.group, &part, number, epoch);
                }
            }
            Err(error) => {
                self.committed.clear();
                self.last_error = Some(error);
            }
        }
    }

    fn commit(&mut self, cx: &mut Context<'_>) -> bool {
        if self.committing.is_some() || self.next > cx.now.instant {
            return false;
        }
        self.next = cx.now.instant.after(Duration::from_millis(1 + self.dice.below(self.every)));
        let offsets: BTreeMap<_, OffsetAndMetadata> = self.core.positions();
        let moved = offsets.iter().any(|(partition, at)| self.committed.get(&part(partition)) != Some(&at.offset));
        if offsets.is_empty() || !(moved || cx.calm && !self.settled) {
            return false;
        }
        if let Err(error) = self.core.commit(cx.now, &offsets) {
            self.last_error = Some(error);
            return false;
        }
        let begin = |(partition, at): (&millrace_client::TopicPartition, &OffsetAndMetadata)| {
            let part = part(partition);
            self.committed.insert(part.clone(), at.offset);
            let number = cx.history.committing(&self.group, &part, at.offset);
            (part, number)
        };
        self.committing = Some(offsets.iter().map(begin).collect());
        true
    }
}

impl Client for Member {
    fn wire(&mut self) -> &mut dyn Wire {
        &mut self.core
    }

    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Some(event) = self.core.poll_event() {
            self.take(cx, event);
            busy = true;
        }
        self.core.poll_begun(cx.now);
        loop {
            match self.core.poll(100) {
                Ok(Polled::Records(records)) => {
                    busy = true;
                    read(cx, &mut self.positions, &records);
                }
                Ok(Polled::Rebalance(rebalance)) => {
                    busy = true;
                    if let Rebalance::Assigned(partitions) = &rebalance {
                        for partition in partitions {
                            let part = Part::new(&partition.topic, partition.partition);
                            let losses = cx.history.parts.get(&part).map_or(0, |part| part.losses);
                            self.positions.insert(part, Position { next: None, losses, anywhere: true, trimmed: 0 });
                        }
                    }
                    self.core.rebalanced(cx.now);
                }
                Ok(Polled::Nothing) => break,
                Err(error) => {
                    failed(cx, &mut self.core, &mut self.positions, &error);
                    self.last_error = Some(error);
                    break;
                }
            }
        }
        self.commit(cx) || busy
    }

    fn wake(&self) -> Instant {
        self.next
    }

    fn missing(&mut self, ends: &BTreeMap<Part, Offset>) -> Option<String> {
        // A partition whose end has rotted away tells nobody where it ends, so there may be no position to commit.
        let is_whole = |partition: &millrace_client::TopicPartition| ends.contains_key(&part(partition));
        let idle = !self.core.assignment().iter().any(is_whole);
        let done = self.committing.is_none() && (self.settled || idle);
        (!done).then(|| {
            format!("member of {}: committing {:?}, last error {:?}", self.group, self.committing, self.last_error)
        })
    }

    fn take_remade(&mut self) -> bool {
        std::mem::take(&mut self.remade)
    }
}

fn part(partition: &millrace_client::TopicPartition) -> Part {
    Part::new(&partition.topic, partition.partition)
}
