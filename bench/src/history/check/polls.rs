//! The order in which consumers were given records.

use std::collections::BTreeMap;

use super::super::event::{Event, Key, Op, Phase};
use super::index::{Index, Partition};
use super::{Anomaly, Kind, anomaly};

/// The last offset that each consumer was given of each partition.
#[derive(Default)]
struct Reads(BTreeMap<u32, BTreeMap<Key, i64>>);

/// Within a poll, and from one poll of a consumer to its next.
pub(super) fn order(events: &[Event], index: &Index, found: &mut Vec<Anomaly>) {
    let mut reads = Reads::default();
    for event in events {
        match (&event.op, event.phase) {
            (Op::Poll { polls }, Phase::Ok) => {
                for (key, records) in polls {
                    let Some(partition) = index.partitions.get(key) else { continue };
                    let offsets: Vec<i64> = records.iter().map(|(offset, _)| *offset).collect();
                    let last = reads.0.entry(event.process).or_default();
                    poll(event.process, key, partition, last.get(key).copied(), &offsets, found);
                    if let Some(offset) = offsets.last() {
                        last.insert(key.clone(), *offset);
                    }
                }
            }
            (Op::Poll { .. }, Phase::Fail) if event.error.as_deref().is_some_and(|text| text.contains("truncated")) => {
                let what = format!("process {}: {}", event.process, event.error.as_deref().unwrap_or_default());
                found.push(anomaly(Kind::Truncated, "", what));
            }
            (Op::Assign { keys, from_start }, Phase::Ok) => {
                let last = reads.0.entry(event.process).or_default();
                last.retain(|key, _| !from_start && keys.contains(key));
            }
            // A member goes on where the group has committed, which is not where it or another one was.
            (Op::Subscribe { .. } | Op::Rebalance { .. } | Op::Crash, _) => {
                reads.0.remove(&event.process);
            }
            _ => {}
        }
    }
}

fn poll(process: u32, key: &str, partition: &Partition, last: Option<i64>, offsets: &[i64], found: &mut Vec<Anomaly>) {
    if let (Some(last), Some(first)) = (last, offsets.first()) {
        let kinds = [Kind::NonmonotonicPoll, Kind::PollSkip];
        step(process, key, partition, (last, *first), kinds, found);
    }
    for pair in offsets.windows(2) {
        let kinds = [Kind::IntNonmonotonicPoll, Kind::IntPollSkip];
        step(process, key, partition, (pair[0], pair[1]), kinds, found);
    }
}

fn step(
    process: u32,
    key: &str,
    partition: &Partition,
    (from, to): (i64, i64),
    [back, skip]: [Kind; 2],
    found: &mut Vec<Anomaly>,
) {
    if to <= from {
        found.push(anomaly(back, key, format!("process {process} was given offset {to} after {from}")));
    } else if let Some(offset) = partition.between(from, to) {
        let what = format!("process {process} was given offset {to} after {from}, and not {offset}");
        found.push(anomaly(skip, key, what));
    }
}
