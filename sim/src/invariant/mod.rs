//! What must hold in every run, one file per invariant.
//!
//! Those that need only one event are checked when it happens, the others on the final log when all has healed.

pub mod acked;
pub mod calm;
pub mod chain;
pub mod commits;
pub mod completeness;
pub mod configurations;
pub mod copies;
pub mod deleted;
pub mod election;
pub mod epochs;
pub mod fence;
pub mod forgiven;
pub mod function;
pub mod idempotent;
pub mod kept;
pub mod latest;
pub mod markers;
pub mod matching;
pub mod metadata;
pub mod order;
pub mod reads;
pub mod reassigned;
pub mod recovering;
pub mod suffix;
pub mod target;
pub mod told;
pub mod watermark;
pub mod witness;

use std::collections::BTreeMap;

use millrace_types::Offset;

use crate::history::{History, Part, Value, Violation};

/// The log of one partition as the broker holds it in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinalLog {
    /// The log start offset.
    pub start: Offset,
    /// The high watermark.
    pub end: Offset,
    /// The records.
    pub records: BTreeMap<Offset, Value>,
}

/// A violation of `invariant`.
pub(crate) fn violation(invariant: &'static str, text: String) -> Result<(), Violation> {
    Err(Violation { invariant, text })
}

/// Checks the final logs against everything that happened.
pub fn check_final(history: &mut History, logs: &BTreeMap<Part, FinalLog>) {
    for (part, partition) in history.parts.clone() {
        let Some(log) = logs.get(&part).filter(|_| !partition.damaged) else { continue };
        history.check(acked::check(&partition, &part, log));
        history.check(idempotent::check(&partition, &part, log));
        history.check(order::check(&partition, &part));
        history.check(reads::check_final(&partition, &part, log));
    }
}
