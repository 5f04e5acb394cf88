//! A value of an idempotent producer is in the log once at most, whatever was retried.

use std::collections::BTreeMap;

use super::{FinalLog, violation};
use crate::history::{Part, Partition, Violation};

/// Checks one partition.
///
/// # Errors
/// A value that is there twice.
pub fn check(partition: &Partition, part: &Part, log: &FinalLog) -> Result<(), Violation> {
    let mut found = BTreeMap::new();
    for (offset, value) in &log.records {
        let idempotent = partition.sent.get(value).is_some_and(|sent| sent.idempotent);
        if let Some(first) = found.insert(value, offset).filter(|_| idempotent) {
            return violation("idempotent", format!("{part} has {value} at {first} and at {offset}"));
        }
    }
    Ok(())
}
