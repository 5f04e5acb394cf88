//! The checker: a pure function from a history to its anomalies.
//!
//! A log needs no search for an order: an acknowledgement tells its offset, so each rule is a comparison of what observers were told. The anomalies
//! are those of Jepsen's Kafka workload that exist without transactions, and some that are about real time, the end of a
//! partition and groups; docs/internals/testing.md tells what each means.

mod ends;
mod group;
mod index;
mod polls;
mod sends;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::event::Event;
use index::Index;

/// A kind of anomaly. None is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Two values were seen at one offset of a partition.
    InconsistentOffsets,
    /// A value was seen at two offsets.
    Duplicate,
    /// An acknowledged record was passed over by everyone: others above it were read.
    LostWrite,
    /// An acknowledged record was never read, and none above it either, though everything was read to its end.
    Unseen,
    /// A record was read whose producer was told that it was not written.
    RefusedRead,
    /// A value was read that nobody sent.
    Phantom,
    /// Within one poll offsets go back.
    IntNonmonotonicPoll,
    /// Within one poll a record that exists was passed over.
    IntPollSkip,
    /// A poll goes back behind what the same consumer read before.
    NonmonotonicPoll,
    /// Between two polls of a consumer a record that exists was passed over.
    PollSkip,
    /// A consumer was told that the log had been cut below what it had read.
    Truncated,
    /// Records of one operation stand in the log in another order.
    IntNonmonotonicSend,
    /// A record stands below one that the same process sent before it.
    NonmonotonicSend,
    /// A record stands below one that was acknowledged before it was sent.
    RealtimeOrder,
    /// The end of a partition was told to be below what had been acknowledged, or told before.
    StaleEnd,
    /// A group's committed offset went back.
    LostCommit,
    /// A group committed an offset beyond a record that none of its members was given.
    GroupSkip,
    /// The final reads did not reach the end: what is lost would not show.
    Undrained,
}

/// One anomaly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Anomaly {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Where, when it is about a partition.
    pub(crate) key: String,
    /// What was seen.
    pub(crate) what: String,
}

/// How much a history holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Operations.
    pub(crate) ops: u64,
    /// Records sent.
    pub(crate) sent: u64,
    /// Records acknowledged.
    pub(crate) acknowledged: u64,
    /// Records of which nothing is known.
    pub(crate) unknown: u64,
    /// Records that were refused.
    pub(crate) refused: u64,
    /// Records read, each as often as it was read.
    pub(crate) read: u64,
    /// Outcomes of rebalances that members were told.
    pub(crate) rebalances: u64,
    /// Commits of groups that were acknowledged.
    pub(crate) commits: u64,
    /// The longest time between two acknowledgements anywhere, in milliseconds.
    pub(crate) longest_gap_ms: u64,
    /// The faults that were under way in that time.
    pub(crate) longest_gap_faults: Vec<String>,
    /// The longest time among the acknowledgements of one partition.
    pub(crate) longest_partition_gap_ms: u64,
}

/// What a history shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// How much it holds.
    pub(crate) counts: Counts,
    /// In the order of their kinds.
    pub(crate) anomalies: Vec<Anomaly>,
}

impl Findings {
    /// How many there are of each kind.
    pub(crate) fn by_kind(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for anomaly in &self.anomalies {
            *kinds.entry(anomaly.kind).or_default() += 1;
        }
        kinds
    }
}

/// Checks a history, whose events are in the order of their time. Answers about ends and committed offsets may be `stale` nanoseconds behind.
pub(crate) fn check(events: &[Event], stale: u64) -> Findings {
    let index = Index::of(events);
    let mut anomalies = Vec::new();
    index::values(&index, &mut anomalies);
    sends::order(&index, &mut anomalies);
    sends::realtime(&index, &mut anomalies);
    polls::order(events, &index, &mut anomalies);
    ends::stale(events, &index, stale, &mut anomalies);
    group::commits(events, &index, stale, &mut anomalies);
    index::lost(&index, &mut anomalies);
    anomalies.sort();
    anomalies.dedup();
    Findings { counts: index.counts, anomalies }
}

fn anomaly(kind: Kind, key: &str, what: String) -> Anomaly {
    Anomaly { kind, key: key.to_owned(), what }
}
