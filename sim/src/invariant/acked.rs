//! An acknowledged value is at its offset in the final log; a refused one is nowhere, and what was acknowledged to be deleted is not
//! back.

use super::{FinalLog, violation};
use crate::history::{Outcome, Part, Partition, Violation};

const NAME: &str = "acked";

/// Checks one partition. What was deleted on request is owed no more.
///
/// # Errors
/// The first violation.
pub fn check(partition: &Partition, part: &Part, log: &FinalLog) -> Result<(), Violation> {
    if log.start > partition.trim_asked {
        return violation(
            NAME,
            format!("{part} begins at {}, nobody asked to delete below more than {}", log.start, partition.trim_asked),
        );
    }
    if log.start < partition.trim_acked {
        let text =
            format!("{part} begins at {}, below {} was acknowledged to be deleted", log.start, partition.trim_acked);
        return violation(NAME, text);
    }
    for (offset, ack) in partition.acked.range(log.start..) {
        match log.records.get(offset) {
            Some(value) if *value == ack.value => {}
            found => {
                let text = format!("{part} has {found:?} at {offset}, where {} was acknowledged", ack.value);
                return violation(NAME, text);
            }
        }
    }
    for (offset, value) in &log.records {
        match partition.sent.get(value).map(|sent| sent.outcome) {
            None => return violation(NAME, format!("{part} has {value} at {offset}, which nobody sent")),
            Some(Outcome::Refused) => {
                return violation(NAME, format!("{part} has {value} at {offset}, which was refused"));
            }
            Some(Outcome::Unknown | Outcome::Acked(_)) => {}
        }
    }
    Ok(())
}
