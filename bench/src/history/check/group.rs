//! What groups commit.

use std::collections::{BTreeMap, BTreeSet};

use super::super::event::{Event, Key, Op, Phase};
use super::index::Index;
use super::sends::Highest;
use super::{Anomaly, Kind, anomaly};

/// A group's offset of a partition.
type Place<'a> = (&'a str, &'a str);

#[derive(Default)]
struct Groups<'a> {
    /// The group of each member.
    member_of: BTreeMap<u32, &'a str>,
    /// What was read of a partition by a group.
    read: BTreeMap<Place<'a>, BTreeSet<i64>>,
    /// Acknowledged commits, and answers of what is committed, by time.
    known: BTreeMap<Place<'a>, Vec<(u64, i64)>>,
    /// Commits that are under way, by process.
    under_way: BTreeMap<u32, (&'a str, &'a BTreeMap<Key, i64>)>,
    /// Commits of which nothing was heard: such a request may reach the coordinator long after its member has gone on.
    unknown: BTreeMap<Place<'a>, BTreeSet<i64>>,
    /// When each process asked.
    asked: BTreeMap<u32, u64>,
    /// How old what is known has to be to count.
    stale: u64,
}

/// Committed offsets do not go back, and nothing below them was passed over.
///
/// Members commit the position behind what they were given. Each reads on from what is committed, so that offsets only rise, as long as a member
/// that is out of its group cannot commit.
pub(super) fn commits(events: &[Event], index: &Index, stale: u64, found: &mut Vec<Anomaly>) {
    let mut groups = Groups { stale, ..Groups::default() };
    for event in events {
        groups.add(event, found);
    }
    groups.passed_over(index, found);
}

impl<'a> Groups<'a> {
    fn add(&mut self, event: &'a Event, found: &mut Vec<Anomaly>) {
        if event.phase == Phase::Invoke {
            self.asked.insert(event.process, event.at.saturating_sub(self.stale));
            if let Op::Commit { group, offsets } = &event.op {
                self.under_way.insert(event.process, (group, offsets));
            }
            return;
        }
        match &event.op {
            Op::Subscribe { group } => {
                self.member_of.insert(event.process, group);
            }
            Op::Poll { polls } if event.phase == Phase::Ok => {
                let Some(group) = self.member_of.get(&event.process).copied() else { return };
                for (key, records) in polls {
                    let read = self.read.entry((group, key)).or_default();
                    read.extend(records.iter().map(|(offset, _)| *offset));
                }
            }
            Op::Commit { group, offsets } => {
                self.under_way.remove(&event.process);
                match event.phase {
                    Phase::Ok => self.learn(group, offsets, event.at),
                    Phase::Info => self.doubt(group, offsets),
                    Phase::Invoke | Phase::Fail => {}
                }
            }
            Op::Committed { group, offsets } if event.phase == Phase::Ok => {
                self.compare(group, offsets, event.process, found);
                self.learn(group, offsets, event.at);
            }
            _ => {}
        }
    }

    fn learn(&mut self, group: &'a str, offsets: &'a BTreeMap<Key, i64>, at: u64) {
        for (key, offset) in offsets {
            self.known.entry((group, key)).or_default().push((at, *offset));
        }
    }

    fn doubt(&mut self, group: &'a str, offsets: &'a BTreeMap<Key, i64>) {
        for (key, offset) in offsets {
            self.unknown.entry((group, key)).or_default().insert(*offset);
        }
    }

    /// Whether a commit of which nothing was heard so far explains an offset.
    fn may_be_committed(&self, group: &str, key: &str, offset: i64) -> bool {
        let mut under_way = self.under_way.values().filter(|(of, _)| *of == group);
        self.unknown.get(&(group, key)).is_some_and(|offsets| offsets.contains(&offset))
            || under_way.any(|(_, offsets)| offsets.get(key) == Some(&offset))
    }

    /// What is committed is not below what was known before the question.
    fn compare(&self, group: &str, offsets: &BTreeMap<Key, i64>, process: u32, found: &mut Vec<Anomaly>) {
        let Some(since) = self.asked.get(&process) else { return };
        for ((_, key), known) in self.known.iter().filter(|((of, _), _)| *of == group) {
            let Some(before) = Highest::of(known).before(*since) else { continue };
            let now = offsets.get(*key).copied();
            if now < Some(before) && !now.is_some_and(|now| self.may_be_committed(group, key, now)) {
                let what = format!("group {group} had committed {before}, and later {now:?}");
                found.push(anomaly(Kind::LostCommit, key, what));
            }
        }
    }

    fn passed_over(&self, index: &Index, found: &mut Vec<Anomaly>) {
        for ((group, key), known) in &self.known {
            let Some(partition) = index.partitions.get(*key) else { continue };
            let committed = known.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
            let read = self.read.get(&(*group, *key));
            for (offset, _) in partition.at.range(..committed) {
                if !read.is_some_and(|read| read.contains(offset)) {
                    let what =
                        format!("group {group} has committed {committed}, and no member was given offset {offset}");
                    found.push(anomaly(Kind::GroupSkip, key, what));
                }
            }
        }
    }
}
