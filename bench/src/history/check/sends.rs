//! The order of records in the log against the order in which they were sent.

use std::collections::BTreeMap;

use super::index::{Index, Outcome, SendOp};
use super::{Anomaly, Kind, anomaly};

/// Within an operation, and from one operation of a process to its next.
pub(super) fn order(index: &Index, found: &mut Vec<Anomaly>) {
    // The last acknowledged record of each process and partition: offset and value.
    let mut last: BTreeMap<(u32, &str), (i64, u64)> = BTreeMap::new();
    for op in &index.sends {
        let mut within: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
        for (key, offset, value) in acknowledged(index, op) {
            let before = within.insert(key, (offset, value));
            compare(Kind::IntNonmonotonicSend, key, before, (offset, value), found);
            if before.is_none() {
                let before = last.get(&(op.process, key)).copied();
                compare(Kind::NonmonotonicSend, key, before, (offset, value), found);
            }
        }
        last.extend(within.into_iter().map(|(key, place)| ((op.process, key), place)));
    }
}

fn acknowledged<'a>(index: &'a Index, op: &'a SendOp) -> impl Iterator<Item = (&'a str, i64, u64)> {
    op.values.iter().filter_map(|value| {
        let record = index.records.get(value)?;
        let Outcome::Acknowledged { offset, .. } = record.outcome else { return None };
        Some((record.key.as_str(), offset, *value))
    })
}

fn compare(kind: Kind, key: &str, before: Option<(i64, u64)>, here: (i64, u64), found: &mut Vec<Anomaly>) {
    if let Some((offset, value)) = before.filter(|(offset, _)| *offset >= here.0) {
        let what = format!("value {value} is at {offset}, value {} that was sent after it at {}", here.1, here.0);
        found.push(anomaly(kind, key, what));
    }
}

/// What was acknowledged before a record was sent, by whomever, stands below it.
pub(super) fn realtime(index: &Index, found: &mut Vec<Anomaly>) {
    let highest: BTreeMap<&str, Highest> =
        index.partitions.iter().map(|(key, partition)| (key.as_str(), Highest::of(&partition.acknowledged))).collect();
    for (value, record) in &index.records {
        let Outcome::Acknowledged { offset, .. } = record.outcome else { continue };
        let before = highest.get(record.key.as_str()).and_then(|highest| highest.before(record.invoked));
        if let Some(before) = before.filter(|before| *before >= offset) {
            let what =
                format!("value {value} is at {offset}, though offset {before} was acknowledged before it was sent");
            found.push(anomaly(Kind::RealtimeOrder, &record.key, what));
        }
    }
}

/// The highest offset that was known at each moment.
#[derive(Debug)]
pub(super) struct Highest(Vec<(u64, i64)>);

impl Highest {
    /// From offsets and when they were known, in the order of time.
    pub(super) fn of(known: &[(u64, i64)]) -> Self {
        let mut highest = i64::MIN;
        let rising = known.iter().map(|(at, offset)| {
            highest = highest.max(*offset);
            (*at, highest)
        });
        Self(rising.collect())
    }

    /// The highest that was known before `moment`.
    pub(super) fn before(&self, moment: u64) -> Option<i64> {
        let count = self.0.partition_point(|(at, _)| *at < moment);
        count.checked_sub(1).map(|last| self.0[last].1)
    }
}
