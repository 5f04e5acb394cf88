//! Asks what a group has committed: again and again while the faults last, and once in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::core::consumer::{ConsumerCore, ConsumerEvent};
use millrace_client::core::{Machine, Random};
use millrace_client::{ClientError, ConsumerConfig, TopicPartition};
use millrace_types::{Instant, Offset};

use super::{Client, Context, Wire, client_config};
use crate::dice::Dice;
use crate::history::{Part, Tick};
use crate::invariant::commits;
use crate::options::{Options, TopicOptions};

/// The question and its answer.
#[derive(Debug)]
pub struct CommittedOffsets {
    core: ConsumerCore,
    group: String,
    partitions: Vec<TopicPartition>,
    answered: bool,
    last_error: Option<ClientError>,
    asking: bool,
    /// When it was asked; what was acknowledged later may be found or not.
    asked: Tick,
    asked_at: Instant,
    /// The longest pause before the next question, in milliseconds; `None` for a single question.
    pause: Option<u64>,
    next: Instant,
    dice: Dice,
}

impl CommittedOffsets {
    /// Asks what `group` has committed for `topic`, once.
    ///
    /// # Errors
    /// The drawn configuration contradicts itself.
    pub fn new(group: &str, topic: &TopicOptions, options: &Options, mut dice: Dice) -> Result<Self, ClientError> {
        let mut config = ConsumerConfig::new(super::BOOTSTRAP);
        config.client = client_config(&mut dice, "offsets", options);
        config.fetch_max_wait = Duration::from_millis(50);
        config.group_id = Some(group.to_owned());
        let core = ConsumerCore::new(config, Random::new(dice.number()))?;
        let partitions: Vec<_> =
            (0..topic.partitions).map(|partition| TopicPartition::new(topic.name, partition)).collect();
        let group = group.to_owned();
        Ok(Self {
            core,
            group,
            partitions,
            answered: false,
            last_error: None,
            asking: false,
            asked: 0,
            asked_at: Instant::ZERO,
            pause: None,
            next: Instant::ZERO,
            dice,
        })
    }

    /// Asks it again and again: a commit that was acknowledged and lost is soon overwritten by the next.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn watching(group: &str, topic: &TopicOptions, options: &Options, mut dice: Dice) -> Result<Self, ClientError> {
        let pause = Some(dice.pick(&[5, 50, 500]));
        Ok(Self { pause, ..Self::new(group, topic, options, dice)? })
    }

    fn check(&mut self, cx: &mut Context<'_>, found: &BTreeMap<TopicPartition, millrace_client::OffsetAndMetadata>) {
        let epoch = cx.epoch_since(self.asked_at);
        for partition in &self.partitions {
            let part = Part::new(&partition.topic, partition.partition);
            let offset = found.get(partition).map_or(-1, |found| found.offset);
            let commits = cx.history.commits.get(&(self.group.clone(), part.clone())).cloned().unwrap_or_default();
            cx.history.check(commits::check(&self.group, &part, &commits, epoch, (self.asked, offset)));
        }
        self.answered = true;
    }
}

impl Client for CommittedOffsets {
    fn wire(&mut self) -> &mut dyn Wire {
        &mut self.core
    }

    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Some(event) = self.core.poll_event() {
            busy = true;
            match event {
                ConsumerEvent::Offsets(_, Ok(found)) => self.check(cx, &found),
                ConsumerEvent::Offsets(_, Err(error)) => {
                    self.last_error = Some(error);
                    self.asking = false;
                }
                _ => {}
            }
        }
        if let Some(pause) = self.pause.filter(|_| self.answered) {
            self.answered = false;
            self.asking = false;
            self.next = cx.now.instant.after(Duration::from_millis(1 + self.dice.below(pause)));
        }
        if !self.asking && !self.answered && self.next <= cx.now.instant {
            (self.asked, self.asked_at) = (cx.history.tick(), cx.now.instant);
            self.asking = self.core.committed(cx.now, &self.partitions).is_ok();
            busy |= self.asking;
        }
        busy
    }

    fn wake(&self) -> Instant {
        if self.pause.is_some() && !self.asking { self.next } else { Instant::NEVER }
    }

    fn missing(&mut self, _ends: &BTreeMap<Part, Offset>) -> Option<String> {
        (!self.answered && self.pause.is_none())
            .then(|| format!("committed offsets of {}: {:?}", self.group, self.last_error))
    }
}
