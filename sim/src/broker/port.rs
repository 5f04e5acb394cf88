//! The way from the broker to the event queue: messages between cores, with delay and in order per pair.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_node::ConnectionId;
use millrace_node::connection::ConnectionEvent;
use millrace_node::group::GroupEvent;
use millrace_node::leaders::LeadersEvent;
use millrace_node::metadata_store::MetadataEvent;
use millrace_node::peer::LinkId;
use millrace_node::peers::PeersEvent;
use millrace_node::replica::ReplicaEvent;
use millrace_types::{BrokerId, Instant, Now, TopicPartition};

use super::{Clock, Notice};
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
    /// The sessions with all other brokers.
    Peers,
    /// The table of leaders.
    Leaders,
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
    /// To the sessions, as one turn of whoever speaks.
    Peers(Vec<PeersEvent>),
    /// To the table of leaders.
    Leaders(LeadersEvent),
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

/// What happens on the network between brokers. `LinkId` is the number of a connection, which both ends have in common.
#[derive(Debug)]
pub enum Wire {
    /// A dial arrives at the broker.
    Dial {
        /// The connection, if it comes to one.
        link: LinkId,
        /// Process and broker that dial.
        from: (u64, BrokerId),
        /// The broker that is dialed.
        to: BrokerId,
        /// The shard it is for.
        shard: u8,
        /// Number of the dial.
        attempt: u64,
    },
    /// The dial of this process has come to an end.
    Dialed {
        /// The process that has dialed.
        process: u64,
        /// What it is told.
        event: Box<PeersEvent>,
    },
    /// A frame arrives, without its length.
    Frame {
        /// The connection.
        link: LinkId,
        /// To the process that has accepted it, else to the one that has dialed.
        accepted: bool,
        /// The frame.
        frame: Bytes,
    },
    /// The end of a connection arrives.
    End {
        /// The connection.
        link: LinkId,
        /// At the process that has accepted it, else at the one that has dialed.
        accepted: bool,
    },
    /// Bytes have left for the socket.
    Written {
        /// The connection.
        link: LinkId,
        /// Of the process that has accepted it, else of the one that has dialed.
        accepted: bool,
        /// How many.
        bytes: usize,
    },
    /// Part of a frame has arrived.
    Progress {
        /// The connection.
        link: LinkId,
        /// At the process that has accepted it, else at the one that has dialed.
        accepted: bool,
    },
    /// A keepalive is due.
    Keepalive {
        /// The connection.
        link: LinkId,
        /// Of the process that has accepted it, else of the one that has dialed.
        accepted: bool,
        /// How many came before.
        tick: u64,
        /// The interval.
        every: Duration,
    },
}

/// Everything that can happen in a run.
#[derive(Debug)]
pub enum Happening {
    /// Inside the process of this number.
    Broker(u64, Event),
    /// On the network of the clients.
    Net(Net),
    /// On the network of the brokers.
    Wire(Wire),
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
    /// The broker at this place starts.
    Start(usize),
    /// The disk of the broker at this place gets its space back.
    DiskFreed(usize),
    /// The process goes on after a pause.
    Resume(u64),
    /// The ways that were cut at this number of cuts are open again.
    Mended(u64),
    /// The faults end.
    Calm,
    /// Looks after clients and progress.
    Look,
}

/// What the broker may do to the world while it handles one event.
#[derive(Debug)]
pub struct Port<'a> {
    /// The present by the machine's clocks.
    pub now: Now,
    /// The present of the world.
    pub moment: Micros,
    /// The machine's clocks.
    pub clock: Clock,
    /// What lines of the trace begin with, where there are several brokers.
    pub label: Option<BrokerId>,
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
    /// Sends a message from core to core; messages of one pair keep their order.
    pub fn mail(&mut self, from: Who, to: Who, event: Event) {
        let earliest = self.moment + self.dice.below(self.mail_delay + 1);
        let last = self.channels.entry((from, to)).or_default();
        let at = earliest.max(*last + 1);
        *last = at;
        self.queue.push(at, Happening::Broker(self.process, event));
    }

    /// Lets something happen inside the process after `delay` microseconds.
    pub fn after(&mut self, delay: Micros, event: Event) {
        self.queue.push(self.moment + delay, Happening::Broker(self.process, event));
    }

    /// Lets something happen inside the process at a moment.
    pub fn at(&mut self, at: Instant, event: Event) {
        let at = self.clock.moment(at).max(self.moment + 1);
        self.queue.push(at, Happening::Broker(self.process, event));
    }

    /// Duration of the next piece of work of a storage thread.
    pub fn work_delay(&mut self) -> Micros {
        let (low, high) = self.flush_delay;
        self.dice.between(low, high)
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, text: std::fmt::Arguments<'_>) {
        match self.label {
            Some(broker) => self.trace.line(self.moment, format_args!("b{broker} {text}")),
            None => self.trace.line(self.moment, text),
        }
    }
}
