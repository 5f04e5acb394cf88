//! A producer: unique values, one after the other, to the partitions of one topic.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::core::producer::{BatchId, ProducerCore, ProducerEvent};
use millrace_client::core::{Machine, Random};
use millrace_client::{Acks, ClientError, Codec, ProducerConfig, ProducerRecord};
use millrace_types::{Instant, Now, Offset};

use super::{Client, Context, Wire, client_config, encode};
use crate::dice::Dice;
use crate::history::{Part, Value};
use crate::options::{Options, TopicOptions};

/// Batches that are not acknowledged; beyond it the producer waits.
const OUTSTANDING: usize = 200;

/// A producer.
#[derive(Debug)]
pub struct Producer {
    config: ProducerConfig,
    core: ProducerCore,
    topic: TopicOptions,
    idempotent: bool,
    /// What is acknowledged to it must stay.
    binding: bool,
    batches: BTreeMap<BatchId, Vec<(i32, Part, Value)>>,
    left: u64,
    gap: u64,
    padding: u64,
    next: Instant,
    /// Partitions that have yet to acknowledge a record after the faults, once these are over.
    owed: Option<Vec<i32>>,
    remade: bool,
    dice: Dice,
}

impl Producer {
    /// A producer to `topic`.
    ///
    /// # Errors
    /// The drawn configuration contradicts itself.
    pub fn new(
        name: &str,
        topic: &TopicOptions,
        idempotent: bool,
        options: &Options,
        mut dice: Dice,
    ) -> Result<Self, ClientError> {
        let mut config = ProducerConfig::new(super::BOOTSTRAP);
        config.client = client_config(&mut dice, name, options);
        config.idempotence = idempotent;
        config.acks = if idempotent || dice.chance(30) { Acks::All } else { Acks::Leader };
        config.linger = Duration::from_micros(dice.pick(&[0, 500, 5_000]));
        config.batch_size = usize::try_from(options.batch_bytes).unwrap_or(1_000);
        config.delivery_timeout =
            config.client.request_timeout + Duration::from_millis(dice.pick(&[500, 5_000, 60_000]));
        config.max_in_flight = usize::try_from(dice.between(1, 5)).unwrap_or(1);
        config.codec = codec(options.codec);
        let binding = config.acks == Acks::All || options.copies() == 1;
        let core = ProducerCore::new(config.clone(), Random::new(dice.number()))?;
        Ok(Self {
            config,
            core,
            topic: topic.clone(),
            idempotent,
            binding,
            batches: BTreeMap::new(),
            left: options.records,
            gap: options.send_gap,
            padding: options.padding,
            next: Instant::ZERO,
            owed: None,
            remade: false,
            dice,
        })
    }

    fn take(&mut self, cx: &mut Context<'_>, event: ProducerEvent) {
        let ProducerEvent::Batch(batch, result) = event else { return };
        for (position, part, value) in self.batches.remove(&batch).unwrap_or_default() {
            match &result {
                // What its leader alone has acknowledged another leader need not have.
                Ok(_) if !self.binding => self.settled(part.partition),
                Ok(written) if written.base_offset >= 0 => {
                    cx.history.acked(&part, value, written.base_offset + i64::from(position));
                    self.settled(part.partition);
                }
                Ok(_) => {}
                Err(error) => {
                    if !error.possibly_written() {
                        cx.history.refused(&part, value);
                    }
                }
            }
        }
    }

    fn settled(&mut self, partition: i32) {
        if let Some(owed) = &mut self.owed {
            owed.retain(|known| *known != partition);
        }
    }

    /// The partition of the next record, if one is to be sent.
    fn next_partition(&mut self, cx: &Context<'_>) -> Option<i32> {
        if let Some(owed) = &self.owed {
            return owed.first().copied().filter(|_| self.batches.is_empty() && self.next <= cx.now.instant);
        }
        if self.left == 0 || self.batches.len() >= OUTSTANDING || self.next > cx.now.instant {
            return None;
        }
        i32::try_from(self.dice.below(u64::try_from(self.topic.partitions).unwrap_or(1))).ok()
    }

    /// Sends one record; `false` when the core does not take it yet.
    fn send(&mut self, cx: &mut Context<'_>, partition: i32) -> bool {
        let part = Part::new(self.topic.name, partition);
        let value = cx.history.new_value();
        let padding = self.dice.below(self.padding + 1);
        let record = ProducerRecord::to(self.topic.name).partition(partition).value(encode(value, padding));
        match self.core.append(cx.now, &record) {
            Ok(Some(appended)) => {
                cx.history.sent(&part, value, self.idempotent);
                self.batches.entry(appended.batch).or_default().push((appended.position, part, value));
                true
            }
            Ok(None) => false,
            Err(error) if error.is_fatal() => {
                self.remake(cx.now);
                false
            }
            Err(_) => false,
        }
    }

    /// Starts anew: what is not acknowledged stays unknown.
    fn remake(&mut self, now: Now) {
        self.core.close(now);
        self.batches.clear();
        if let Ok(core) = ProducerCore::new(self.config.clone(), Random::new(self.dice.number())) {
            self.core = core;
            self.remade = true;
        }
    }
}

impl Client for Producer {
    fn wire(&mut self) -> &mut dyn Wire {
        &mut self.core
    }

    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Some(event) = self.core.poll_event() {
            self.take(cx, event);
            busy = true;
        }
        if cx.calm && self.owed.is_none() {
            let whole = |partition: &i32| {
                let part = Part::new(self.topic.name, *partition);
                cx.history.parts.get(&part).is_none_or(|part| !part.damaged)
            };
            self.owed = Some((0..self.topic.partitions).filter(whole).collect());
        }
        if let Some(partition) = self.next_partition(cx) {
            if self.send(cx, partition) {
                busy = true;
                self.left = self.left.saturating_sub(1);
            }
            self.next = cx.now.instant.after(Duration::from_micros(1 + self.dice.below(self.gap)));
        }
        busy
    }

    fn wake(&self) -> Instant {
        let wants = match &self.owed {
            Some(owed) => !owed.is_empty() && self.batches.is_empty(),
            None => self.left > 0 && self.batches.len() < OUTSTANDING,
        };
        if wants { self.next } else { Instant::NEVER }
    }

    fn missing(&mut self, _ends: &BTreeMap<Part, Offset>) -> Option<String> {
        let owed = self.owed.as_ref()?;
        let done = owed.is_empty() && self.batches.is_empty();
        (!done).then(|| format!("producer of {}: {} batches, partitions {owed:?}", self.topic.name, self.batches.len()))
    }

    fn take_remade(&mut self) -> bool {
        std::mem::take(&mut self.remade)
    }
}

fn codec(number: u64) -> Codec {
    match number {
        1 => Codec::Gzip,
        2 => Codec::Snappy,
        3 => Codec::Lz4,
        4 => Codec::Zstd,
        _ => Codec::None,
    }
}
