//! What the clients did and saw, and what the broker said about it: the material of the checkers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use millrace_types::{LeaderEpoch, Offset};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The checker that found it.
    pub invariant: &'static str,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// A partition as clients name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
}

impl Part {
    /// The partition `partition` of `topic`.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A value: unique in a run.
pub type Value = u64;

/// A point in the order in which the run saw things happen.
pub type Tick = u64;

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not known yet, or never.
    Unknown,
    /// Acknowledged at this offset.
    Acked(Offset),
    /// Refused: it is certainly not in the log.
    Refused,
}

/// One record that a producer sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When it was sent.
    pub invoked: Tick,
    /// Whether its producer is idempotent.
    pub idempotent: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// An acknowledged record.
#[derive(Debug, Clone, Copy)]
pub struct Ack {
    /// Its value.
    pub value: Value,
    /// When it was sent.
    pub invoked: Tick,
    /// When the client knew.
    pub acked: Tick,
}

/// What is known of one partition.
#[derive(Debug, Clone, Default)]
pub struct Partition {
    /// Acknowledged means flushed.
    pub durable: bool,
    /// All sends, by value.
    pub sent: BTreeMap<Value, Sent>,
    /// Acknowledged records that no reported loss has taken, by offset.
    pub acked: BTreeMap<Offset, Ack>,
    /// What anybody has ever seen at an offset, reported losses apart.
    pub seen: BTreeMap<Offset, Value>,
    /// Values whose acknowledgement a reported loss has taken.
    pub lost: BTreeSet<Value>,
    /// How far the high watermark of each epoch's leader came, where several replicas take turns.
    pub told: BTreeMap<LeaderEpoch, Offset>,
    /// The highest offset anybody asked to delete records below.
    pub trim_asked: Offset,
    /// The highest log start offset that was acknowledged.
    pub trim_acked: Offset,
    /// How often a suffix was lost.
    pub losses: u64,
    /// A disk operation failed under its leader, which serves no more than what is flushed from there on.
    pub limited: bool,
    /// Rot was put below what is flushed: readers must be told, everything else may fail.
    pub damaged: bool,
    /// Rot was put into one of several replicas: readers may be misled until it is found, and it has to be repaired.
    pub rotten: bool,
}

impl Partition {
    /// Whether readers may be given what was never written.
    #[must_use]
    pub const fn misleads(&self) -> bool {
        self.damaged || self.rotten
    }
}

/// One commit of a group's offset.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// The offset.
    pub offset: Offset,
    /// When it was asked for.
    pub invoked: Tick,
    /// When it was acknowledged.
    pub acked: Option<Tick>,
    /// Epoch of the coordinator that has acknowledged it, or a later one of the same broker.
    pub epoch: LeaderEpoch,
}

/// A topic that the administrator creates and deletes.
#[derive(Debug, Clone, Default)]
pub struct Churned {
    /// A creation was acknowledged and no deletion was asked for since.
    pub created: bool,
    /// A deletion was acknowledged and no creation was asked for since.
    pub deleted: bool,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub struct History {
    /// The partitions of the topics that live through the run.
    pub parts: BTreeMap<Part, Partition>,
    /// Commits by group and partition.
    pub commits: BTreeMap<(String, Part), Vec<Commit>>,
    /// Topics that come and go.
    pub churned: BTreeMap<String, Churned>,
    /// Acknowledged sends and commits.
    pub acks: u64,
    /// Records that consumers were given.
    pub reads: u64,
    violation: Option<Violation>,
    tick: Tick,
    next_value: Value,
}

impl History {
    /// The next point in the order of things.
    pub fn tick(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    /// A value that nobody has used.
    pub fn new_value(&mut self) -> Value {
        self.next_value += 1;
        self.next_value
    }

    /// The first violation found.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Reports a violation; the first one stays.
    pub fn violated(&mut self, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation { invariant, text });
    }

    /// Takes over what a checker found.
    pub fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.violation.get_or_insert(violation);
        }
    }

    /// A producer sends `value`.
    pub fn sent(&mut self, part: &Part, value: Value, idempotent: bool) {
        let invoked = self.tick();
        let sent = Sent { invoked, idempotent, outcome: Outcome::Unknown };
        self.parts.entry(part.clone()).or_default().sent.insert(value, sent);
    }

    /// The producer of `value` was told that it is at `offset`.
    pub fn acked(&mut self, part: &Part, value: Value, offset: Offset) {
        let acked = self.tick();
        self.acks += 1;
        let partition = self.parts.entry(part.clone()).or_default();
        let Some(sent) = partition.sent.get_mut(&value) else { return };
        sent.outcome = Outcome::Acked(offset);
        let ack = Ack { value, invoked: sent.invoked, acked };
        partition.acked.insert(offset, ack);
        self.saw(part, offset, value, "a producer");
    }

    /// The producer of `value` was told that it is not in the log.
    pub fn refused(&mut self, part: &Part, value: Value) {
        if let Some(sent) = self.parts.get_mut(part).and_then(|partition| partition.sent.get_mut(&value)) {
            sent.outcome = Outcome::Refused;
        }
    }

    /// Somebody saw `value` at `offset`.
    pub fn saw(&mut self, part: &Part, offset: Offset, value: Value, who: &str) {
        let result =
            crate::invariant::function::check(self.parts.entry(part.clone()).or_default(), part, offset, value, who);
        self.check(result);
    }

    /// The log of `part` came back ending at `end`; after a power loss or a failed flush it `may_lose` what was
    /// acknowledged from the page cache.
    pub fn came_back(&mut self, part: &Part, end: Offset, may_lose: bool, loss_reported: bool) {
        let Some(partition) = self.parts.get_mut(part) else { return };
        let result = crate::invariant::suffix::came_back(partition, part, end, may_lose, loss_reported);
        self.check(result);
    }

    /// Everything at `end` and above is lost, and its loss is told.
    pub fn lost(&mut self, part: &Part, end: Offset) {
        if let Some(partition) = self.parts.get_mut(part) {
            crate::invariant::suffix::lost(partition, end);
        }
    }

    /// A commit is asked for; the returned number names it.
    pub fn committing(&mut self, group: &str, part: &Part, offset: Offset) -> usize {
        let invoked = self.tick();
        let commits = self.commits.entry((group.to_owned(), part.clone())).or_default();
        commits.push(Commit { offset, invoked, acked: None, epoch: 0 });
        commits.len() - 1
    }

    /// A commit was acknowledged by the coordinator of `epoch`.
    pub fn committed(&mut self, group: &str, part: &Part, number: usize, epoch: LeaderEpoch) {
        let tick = self.tick();
        self.acks += 1;
        let commits = self.commits.entry((group.to_owned(), part.clone())).or_default();
        if let Some(commit) = commits.get_mut(number) {
            (commit.acked, commit.epoch) = (Some(tick), epoch);
        }
    }
}
