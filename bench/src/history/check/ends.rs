//! Where partitions are said to end.

use std::collections::BTreeMap;

use super::super::event::{Event, Key, Op, Phase};
use super::index::Index;
use super::sends::Highest;
use super::{Anomaly, Kind, anomaly};

/// An end lies above all that was acknowledged before the question, and not below what an earlier answer said; what is not older than `stale` does not count.
pub(super) fn stale(events: &[Event], index: &Index, stale: u64, found: &mut Vec<Anomaly>) {
    let mut asked: BTreeMap<u32, u64> = BTreeMap::new();
    let mut answered: BTreeMap<Key, Vec<(u64, i64)>> = BTreeMap::new();
    let acknowledged: BTreeMap<&str, Highest> =
        index.partitions.iter().map(|(key, partition)| (key.as_str(), Highest::of(&partition.acknowledged))).collect();
    for event in events {
        let Op::Ends { ends } = &event.op else { continue };
        if event.phase == Phase::Invoke {
            asked.insert(event.process, event.at.saturating_sub(stale));
        }
        let Some(since) = asked.get(&event.process).copied().filter(|_| event.phase == Phase::Ok) else { continue };
        for (key, end) in ends {
            let highest = acknowledged.get(key.as_str()).and_then(|highest| highest.before(since));
            if let Some(offset) = highest.filter(|offset| offset >= end) {
                let what = format!("the end was said to be {end}, though offset {offset} was acknowledged before");
                found.push(anomaly(Kind::StaleEnd, key, what));
            }
            // Answers come in the order of their time, so what is known is in order.
            let known = answered.entry(key.clone()).or_default();
            if let Some(before) = Highest::of(known).before(since).filter(|before| before > end) {
                found.push(anomaly(Kind::StaleEnd, key, format!("the end was said to be {before}, and later {end}")));
            }
            known.push((event.at, *end));
        }
    }
}
