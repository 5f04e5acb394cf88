//! A consumer of all partitions of a topic, by assignment, from the beginning.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::core::consumer::{ConsumerCore, Polled};
use millrace_client::core::{Machine, Random};
use millrace_client::{ClientError, ConsumerConfig, ConsumerRecord, OffsetReset, OffsetSpec, TopicPartition};
use millrace_types::{Instant, Now, Offset};

use super::{Client, Context, Wire, client_config, decode};
use crate::dice::Dice;
use crate::history::Part;
use crate::invariant::reads::Position;
use crate::options::{Options, TopicOptions, rack_name};

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    config: ConsumerConfig,
    core: ConsumerCore,
    partitions: Vec<TopicPartition>,
    positions: BTreeMap<Part, Position>,
    /// When it starts over from the beginning; never for one that reads on.
    restart: Instant,
    restart_every: Option<Duration>,
    remade: bool,
    dice: Dice,
    errors: u64,
    last_error: Option<ClientError>,
}

impl Consumer {
    /// A consumer of `topic`; one that is not `steady` starts over now and then.
    ///
    /// # Errors
    /// The drawn configuration contradicts itself.
    pub fn new(
        now: Now,
        name: &str,
        topic: &TopicOptions,
        steady: bool,
        options: &Options,
        mut dice: Dice,
    ) -> Result<Self, ClientError> {
        let config = consumer_config(name, options, &mut dice);
        let partitions = (0..topic.partitions).map(|partition| TopicPartition::new(topic.name, partition)).collect();
        let restart_every = (!steady).then(|| Duration::from_millis(dice.between(100, 2_000)));
        let core = ConsumerCore::new(config.clone(), Random::new(dice.number()))?;
        let mut consumer = Self {
            config,
            core,
            partitions,
            positions: BTreeMap::new(),
            restart: restart_every.map_or(Instant::NEVER, |every| now.instant.after(every)),
            restart_every,
            remade: false,
            dice,
            errors: 0,
            last_error: None,
        };
        consumer.core.assign(now, &consumer.partitions)?;
        Ok(consumer)
    }

    fn start_over(&mut self, now: Now) {
        let Ok(mut core) = ConsumerCore::new(self.config.clone(), Random::new(self.dice.number())) else { return };
        if core.assign(now, &self.partitions).is_ok() {
            self.core.close(now);
            self.core = core;
            self.positions.clear();
            self.remade = true;
        }
        self.restart = self.restart_every.map_or(Instant::NEVER, |every| now.instant.after(every));
    }
}

impl Client for Consumer {
    fn wire(&mut self) -> &mut dyn Wire {
        &mut self.core
    }

    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while self.core.poll_event().is_some() {
            busy = true;
        }
        if self.restart <= cx.now.instant && !cx.calm {
            self.start_over(cx.now);
            return true;
        }
        self.core.poll_begun(cx.now);
        loop {
            match self.core.poll(100) {
                Ok(Polled::Records(records)) => {
                    busy = true;
                    read(cx, &mut self.positions, &records);
                }
                Ok(Polled::Rebalance(_)) => self.core.rebalanced(cx.now),
                Ok(Polled::Nothing) => break,
                Err(error) => {
                    self.errors += 1;
                    failed(cx, &mut self.core, &mut self.positions, &error);
                    self.last_error = Some(error);
                    break;
                }
            }
        }
        busy
    }

    fn wake(&self) -> Instant {
        self.restart
    }

    fn missing(&mut self, ends: &BTreeMap<Part, Offset>) -> Option<String> {
        self.partitions.iter().find_map(|partition| {
            let end = ends.get(&Part::new(&partition.topic, partition.partition))?;
            let position = self.core.position(partition).ok().flatten();
            (position != Some(*end))
                .then(|| format!("consumer of {partition}: {position:?} of {end}, {:?}", self.last_error))
        })
    }

    fn take_remade(&mut self) -> bool {
        std::mem::take(&mut self.remade)
    }
}

/// The settings of a consumer, drawn.
pub(super) fn consumer_config(name: &str, options: &Options, dice: &mut Dice) -> ConsumerConfig {
    let mut config = ConsumerConfig::new(super::BOOTSTRAP);
    config.client = client_config(dice, name, options);
    config.offset_reset = OffsetReset::Earliest;
    config.auto_commit = false;
    config.allow_auto_create_topics = false;
    config.fetch_max_wait = Duration::from_millis(dice.pick(&[1, 20, 50, 250, 250]));
    config.fetch_max_bytes = i32::try_from(options.fetch_bytes).unwrap_or(1_000);
    config.max_partition_fetch_bytes = dice.pick(&[1, 300, 1 << 20]);
    // A fetch that may not return what it waits for always waits to the end.
    let roomy = config.max_partition_fetch_bytes.min(config.fetch_max_bytes) > 1_000;
    config.fetch_min_bytes = if roomy && dice.chance(50) { 1_000 } else { 1 };
    if options.cluster.racks > 0 && dice.chance(70) {
        config.client_rack = Some(rack_name(dice.below(options.cluster.racks)));
    }
    config
}

/// Takes in records that a poll has returned.
pub(super) fn read(cx: &mut Context<'_>, positions: &mut BTreeMap<Part, Position>, records: &[ConsumerRecord]) {
    for record in records {
        let part = Part::new(&record.topic, record.partition);
        cx.history.reads += 1;
        let misled = cx.history.parts.get(&part).is_some_and(crate::history::Partition::misleads);
        let Some(value) = record.value.as_ref().and_then(|value| decode(value)) else {
            if misled {
                continue;
            }
            let text = format!("a consumer of {part} was given broken bytes at {}", record.offset);
            return cx.history.violated("reads", text);
        };
        let Some(partition) = cx.history.parts.get(&part) else { continue };
        let position = positions.entry(part.clone()).or_default();
        let result = position.read(partition, &part, record.offset);
        cx.history.check(result);
        cx.history.saw(&part, record.offset, value, "a consumer");
    }
}

/// Takes in an error that a poll has returned.
pub(super) fn failed(
    cx: &mut Context<'_>,
    core: &mut ConsumerCore,
    positions: &mut BTreeMap<Part, Position>,
    error: &ClientError,
) {
    match error {
        ClientError::Truncated { topic, partition, .. } => {
            let part = Part::new(topic, *partition);
            let lossless = cx.history.parts.get(&part).is_none_or(|part| part.losses == 0 && !part.misleads());
            if lossless {
                cx.history.violated("reads", format!("a consumer of {part} is told of a truncation: {error}"));
            }
            positions.remove(&part);
            // The partition was assigned a moment ago.
            let _gone = core.seek_to(&TopicPartition::new(&**topic, *partition), OffsetSpec::Earliest);
        }
        ClientError::Corrupt { topic, partition, .. } => {
            let part = Part::new(topic, *partition);
            if cx.history.parts.get(&part).is_none_or(|part| !part.misleads()) {
                cx.history.violated("reads", format!("a consumer of {part} was sent a corrupt batch: {error}"));
            }
        }
        _ => {}
    }
}
