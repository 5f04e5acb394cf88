//! The way from the broker to the event queue: messages between cores, with delay and in order per pair.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_node::ConnectionId;
use millrace_node::connection::ConnectionEvent;
use millrace_node::group::GroupEvent;
use millrace_node::metadata_store::MetadataEvent;
use millrace_node::replica::ReplicaEvent;
use millrace_types::{Instant, Now, TopicPartition};

use super::Notice;
use crate::dice::Dice;
use crate::queue::{Micros, Queue};
use crate::trace::Trace;

/// A core of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The metadata store.
    Metadata,
    /// A replica.
    Replica(TopicPartition),
    /// A group coordinator.
    Group(i32),
    /// A client connection.
    Connection(ConnectionId),
}

/// What happens inside a broker.
#[derive(Debug)]
pub enum Event {
    /// To the metadata store.
    Metadata(MetadataEvent),
    /// To a replica.
    Replica(TopicPartition, ReplicaEvent),
    /// To a group coordinator.
    Group(i32, GroupEvent),
    /// To a connection.
    Connection(ConnectionId, ConnectionEvent),
    /// The timer of a core, if it is still set to this moment.
    Timer(Who, Instant),
    /// The group of flushes under way is done.
    Flushed,
    /// The commit of the write-ahead store under way is done.
    Committed,
    /// The job under way is done.
    JobDone,
    /// The write of the metadata journal under way is done.
    Journaled,
}

/// What happens on the network. `u64` is the number of a link.
#[derive(Debug)]
pub enum Net {
    /// A client connects.
    Connect(u64),
    /// The broker has accepted.
    Accepted(u64),
    /// A frame for the broker, without its length.
    Up(u64, Bytes),
    /// A frame for the client, without its length.
    Down(u64, Bytes),
    /// The client has hung up, or the network has for it.
    HungUp(u64),
    /// The link ended on the client's side.
    Lost(u64),
}

/// Everything that can happen in a run.
#[derive(Debug)]
pub enum Happening {
    /// Inside the process of this number.
    Broker(u64, Event),
    /// On the network.
    Net(Net),
    /// A client wakes up.
    Client(usize),
    /// The next fault of this kind.
    Fault(usize),
    /// The machine loses power, or the process is killed.
    Crash {
        /// The process.
        process: u64,
        /// Whether the page cache goes.
        power: bool,
    },
    /// The broker starts.
    Start,
    /// The disk gets its space back.
    DiskFreed,
    /// The faults end.
    Calm,
    /// Looks after clients and progress.
    Look,
}

/// What the broker may do to the world while it handles one event.
#[derive(Debug)]
pub struct Port<'a> {
    /// The present.
    pub now: Now,
    /// The process that speaks.
    pub process: u64,
    /// What happens next.
    pub queue: &'a mut Queue<Happening>,
    /// Chance.
    pub dice: &'a mut Dice,
    /// The trace.
    pub trace: &'a mut Trace,
    /// When the last message of each pair arrives.
    pub channels: &'a mut BTreeMap<(Who, Who), Micros>,
    /// What the process reports.
    pub notices: &'a mut Vec<Notice>,
    /// Longest delay of a message between cores.
    pub mail_delay: Micros,
    /// Shortest and longest duration of a flush.
    pub flush_delay: (Micros, Micros),
}

impl Port<'_> {
    /// The present in microseconds.
    #[must_use]
    pub const fn micros(&self) -> Micros {
        self.now.instant.as_micros()
    }

    /// Sends a message from core to core; messages of one pair keep their order.
    pub fn mail(&mut self, from: Who, to: Who, event: Event) {
        let earliest = self.micros() + self.dice.below(self.mail_delay + 1);
        let last = self.channels.entry((from, to)).or_default();
        let at = earliest.max(*last + 1);
        *last = at;
        self.queue.push(at, Happening::Broker(self.process, event));
    }

    /// Lets something happen inside the process after `delay` microseconds.
    pub fn after(&mut self, delay: Micros, event: Event) {
        self.queue.push(self.micros() + delay, Happening::Broker(self.process, event));
    }

    /// Lets something happen inside the process at a moment.
    pub fn at(&mut self, at: Instant, event: Event) {
        let at = at.max(self.now.instant.after(Duration::from_micros(1)));
        self.queue.push(at.as_micros(), Happening::Broker(self.process, event));
    }

    /// Duration of the next piece of work of a storage thread.
    pub fn work_delay(&mut self) -> Micros {
        let (low, high) = self.flush_delay;
        self.dice.between(low, high)
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, text: std::fmt::Arguments<'_>) {
        self.trace.line(self.now.instant.as_micros(), text);
    }
}
