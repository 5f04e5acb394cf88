//! A partition's leader epoch grows with each start and never repeats; so does the broker's incarnation.

use std::collections::BTreeMap;

use millrace_types::{Incarnation, LeaderEpoch, TopicPartition};

use super::violation;
use crate::history::Violation;

/// The epochs that were ever published, and the process that did.
#[derive(Debug, Default)]
pub struct Epochs {
    latest: BTreeMap<TopicPartition, (LeaderEpoch, u64)>,
    incarnation: Incarnation,
}

impl Epochs {
    /// Takes in the epoch that process number `process` shows to everybody.
    ///
    /// # Errors
    /// Another process has shown it, or a later one.
    pub fn check(&mut self, partition: TopicPartition, epoch: LeaderEpoch, process: u64) -> Result<(), Violation> {
        let (latest, owner) = self.latest.get(&partition).copied().unwrap_or((0, process));
        let fine = if owner == process { epoch >= latest } else { epoch > latest };
        if !fine {
            let text =
                format!("{partition}: process {process} leads in epoch {epoch}, process {owner} led in {latest}");
            return violation("epochs", text);
        }
        self.latest.insert(partition, (epoch, process));
        Ok(())
    }

    /// Takes in the incarnation of a process that has started.
    ///
    /// # Errors
    /// It is not above those before.
    pub fn started(&mut self, incarnation: Incarnation) -> Result<(), Violation> {
        if incarnation <= self.incarnation {
            return violation("epochs", format!("incarnation {incarnation} after {}", self.incarnation));
        }
        self.incarnation = incarnation;
        Ok(())
    }
}
