//! I14: at one epoch of the metadata every broker has applied the same entries.

use std::collections::BTreeMap;

use millrace_metadata::ChainHash;
use millrace_types::BrokerId;

use super::violation;
use crate::history::Violation;

/// What was applied at each epoch, and who was seen with it first.
#[derive(Debug, Default)]
pub struct Chains(BTreeMap<u64, (String, BrokerId)>);

impl Chains {
    /// A broker has applied `epoch`, and all its entries have this hash.
    ///
    /// # Errors
    /// Another broker has applied something else.
    pub fn check(&mut self, broker: BrokerId, epoch: u64, hash: &ChainHash) -> Result<(), Violation> {
        let (known, first) = self.0.entry(epoch).or_insert_with(|| (hash.to_string(), broker));
        if *known == hash.to_string() {
            return Ok(());
        }
        violation("chain", format!("brokers {first} and {broker} have applied different metadata at epoch {epoch}"))
    }
}
