//! A partition's leader epoch grows with each start and never repeats; so does the broker's incarnation.

use std::collections::BTreeMap;

use millrace_types::{BrokerId, Incarnation, LeaderEpoch, TopicPartition};

use super::violation;
use crate::history::Violation;

/// The epochs that were ever published, and the process that did.
#[derive(Debug, Default)]
pub struct Epochs {
    /// Who led an epoch.
    owners: BTreeMap<(TopicPartition, LeaderEpoch), u64>,
    /// The latest epoch that each broker led, and its process.
    latest: BTreeMap<(TopicPartition, BrokerId), (LeaderEpoch, u64)>,
    incarnations: BTreeMap<BrokerId, Incarnation>,
}

impl Epochs {
    /// Takes in the epoch that process number `process` of `broker` shows to everybody as its own.
    ///
    /// # Errors
    /// Another process has shown it, or this broker has shown a later one.
    pub fn check(
        &mut self,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        broker: BrokerId,
        process: u64,
    ) -> Result<(), Violation> {
        let owner = *self.owners.entry((partition, epoch)).or_insert(process);
        let (latest, led) = self.latest.get(&(partition, broker)).copied().unwrap_or((0, process));
        if owner != process || epoch < latest {
            let text = format!(
                "{partition}: process {process} leads in epoch {epoch}, {owner} did too, {led} led in {latest}"
            );
            return violation("epochs", text);
        }
        self.latest.insert((partition, broker), (epoch, process));
        Ok(())
    }

    /// The data directory of `broker` is another one, or an old copy: its starts are counted anew.
    pub fn forget(&mut self, broker: BrokerId) {
        self.incarnations.remove(&broker);
    }

    /// Takes in the incarnation of a process of `broker` that has started.
    ///
    /// # Errors
    /// It is not above those before.
    pub fn started(&mut self, broker: BrokerId, incarnation: Incarnation) -> Result<(), Violation> {
        let latest = self.incarnations.entry(broker).or_default();
        if incarnation <= *latest {
            return violation("epochs", format!("incarnation {incarnation} of {broker} after {latest}"));
        }
        *latest = incarnation;
        Ok(())
    }
}
