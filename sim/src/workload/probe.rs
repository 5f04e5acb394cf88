//! Asks for latest offsets all the time, and deletes records of the topic that is trimmed.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::core::admin::{AdminCore, AdminEvent, LookupKey};
use millrace_client::core::{Machine, Random};
use millrace_client::{ClientError, OffsetSpec, TopicPartition};
use millrace_types::{Instant, Offset};

use super::{Client, Context, Wire, client_config};
use crate::dice::Dice;
use crate::history::Part;
use crate::invariant::latest::{self, Question};
use crate::options::Options;

/// What was asked.
#[derive(Debug)]
enum Asked {
    Latest(Part, Question),
    Delete(Part, Offset),
}

/// The asker.
#[derive(Debug)]
pub struct Probe {
    core: AdminCore,
    asked: BTreeMap<LookupKey, Asked>,
    next: Instant,
    every: u64,
    dice: Dice,
}

impl Probe {
    /// Asks about the topics of the run.
    ///
    /// # Errors
    /// The drawn configuration contradicts itself.
    pub fn new(options: &Options, mut dice: Dice) -> Result<Self, ClientError> {
        let config = client_config(&mut dice, "probe", options);
        let core = AdminCore::new(config, Random::new(dice.number()))?;
        let every = dice.pick(&[2_000, 20_000, 200_000]);
        Ok(Self { core, asked: BTreeMap::new(), next: Instant::ZERO, every, dice })
    }

    fn take(&mut self, cx: &mut Context<'_>, event: AdminEvent) {
        let AdminEvent::Lookup(id, found) = event else { return };
        let (Some(asked), Some(Ok(found))) = (self.asked.remove(&id), found.into_values().next()) else { return };
        match asked {
            Asked::Latest(part, question) => {
                let Some(partition) = cx.history.parts.get(&part) else { return };
                let result = latest::check(partition, &part, &question, (found.offset, found.leader_epoch));
                cx.history.check(result);
            }
            Asked::Delete(part, before) => {
                if let Some(partition) = cx.history.parts.get_mut(&part) {
                    partition.trim_acked = partition.trim_acked.max(before);
                }
            }
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        let count = cx.history.parts.len() as u64;
        let at = usize::try_from(self.dice.below(count)).unwrap_or(0);
        let Some((part, partition)) = cx.history.parts.iter_mut().nth(at) else { return };
        let part = part.clone();
        let trimmed = cx.options.topics.iter().any(|topic| topic.name == part.topic && topic.trimmed);
        let wire = TopicPartition::new(part.topic.as_str(), part.partition);
        let highest = partition.acked.keys().next_back().copied();
        if let Some(highest) = highest.filter(|_| trimmed && self.dice.chance(30)) {
            let before = i64::try_from(self.dice.below(u64::try_from(highest).unwrap_or(0) + 2)).unwrap_or(0);
            partition.trim_asked = partition.trim_asked.max(before);
            let id = self.core.delete_records(cx.now, &BTreeMap::from([(wire, before)]));
            self.asked.insert(id, Asked::Delete(part, before));
        } else {
            let invoked = cx.history.tick();
            let Some(partition) = cx.history.parts.get(&part) else { return };
            let question = Question::new(partition, invoked);
            let id = self.core.offsets(cx.now, &BTreeMap::from([(wire, OffsetSpec::Latest)]));
            self.asked.insert(id, Asked::Latest(part, question));
        }
    }
}

impl Client for Probe {
    fn wire(&mut self) -> &mut dyn Wire {
        &mut self.core
    }

    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Some(event) = self.core.poll_event() {
            self.take(cx, event);
            busy = true;
        }
        if self.next <= cx.now.instant && self.asked.len() < 20 && !cx.calm {
            self.next = cx.now.instant.after(Duration::from_micros(1 + self.dice.below(self.every)));
            self.ask(cx);
            busy = true;
        }
        busy
    }

    fn wake(&self) -> Instant {
        self.next
    }

    fn missing(&mut self, _ends: &BTreeMap<Part, Offset>) -> Option<String> {
        (!self.asked.is_empty()).then(|| format!("probe: {:?}", self.asked))
    }
}
