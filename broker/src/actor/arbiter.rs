//! What the actors of one arbiter share: who is hosted here, and the way to everybody else.
//!
//! A call to a core of the same arbiter goes straight into that core's [`Mail`]: no other thread wakes up. What is for
//! another arbiter is collected while an actor's turn lasts and leaves as one batch per arbiter.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use millrace_metadata::CONSUMER_OFFSETS;
use millrace_node::connection::ConnectionEvent;
use millrace_node::group::GroupEvent;
use millrace_node::leaders::LeadersEvent;
use millrace_node::metadata_store::MetadataEvent;
use millrace_node::peers::PeersEvent;
use millrace_node::replica::ReplicaEvent;
use millrace_node::{Answer, Call, Caller, ConnectionId, PartitionView, ReplyTo};
use millrace_raft::{Message, ReplicaKey};
use millrace_types::{ErrorCode, TopicId, TopicPartition};

use super::connections::Connections;
use super::countdown::Countdown;
use super::forcing::Forcing;
use super::mail::Mail;
use super::parcel::{Order, Parcel};
use super::peers::PeersDesk;
use super::storage_port::StoragePort;
use super::timers::Timers;
use crate::shared::Shared;

/// Calls that wait for one core above which further ones are refused.
pub(crate) const CALL_BOUND: usize = 4_096;

/// What the actors of one arbiter share; it never leaves the arbiter's thread.
pub(crate) struct Local {
    /// Number of the arbiter, from 0.
    pub(crate) number: usize,
    /// What all arbiters share.
    pub(crate) shared: Arc<Shared>,
    /// The arbiter's timers.
    pub(crate) timers: Timers,
    /// The way to the storage threads.
    pub(crate) storage: Rc<StoragePort>,
    /// The connections served here.
    pub(crate) connections: Connections,
    /// The replicas hosted here.
    pub(crate) replicas: RefCell<HashMap<TopicPartition, Rc<Mail<ReplicaEvent>>>>,
    /// The coordinators hosted here, by partition of the topic of offsets.
    pub(crate) groups: RefCell<BTreeMap<i32, Rc<Mail<GroupEvent>>>>,
    /// The replicas whose coordinators begin when those of earlier replicas of their partitions have ended.
    pub(crate) next_groups: RefCell<BTreeMap<i32, Arc<PartitionView>>>,
    /// The metadata store, if it is hosted here.
    pub(crate) metadata: OnceCell<Rc<Mail<MetadataEvent>>>,
    /// The sessions with other brokers, if they are hosted here.
    pub(crate) peers: OnceCell<Rc<PeersDesk>>,
    /// What the replicas of this turn have for the sessions, which are hosted elsewhere.
    for_peers: RefCell<Vec<PeersEvent>>,
    /// The replicas that go with their data when they have stopped.
    pub(crate) deleting: RefCell<BTreeSet<TopicPartition>>,
    /// Dropped when the broker stops and the last replica has stopped.
    pub(crate) stopping: RefCell<Option<Countdown>>,
    /// Dropped when the broker stops and the last coordinator has stopped.
    pub(crate) stopping_groups: RefCell<Option<Countdown>>,
    /// Who waits for configurations that are being forced.
    pub(crate) forcing: Forcing,
    /// Whether the replicas were told that an arbiter hangs.
    pub(crate) unwell: Cell<bool>,
    outbox: RefCell<Vec<Vec<Parcel>>>,
}

impl Local {
    /// An arbiter that hosts nothing.
    pub(crate) fn new(number: usize, shared: Arc<Shared>) -> Rc<Self> {
        let storage = StoragePort::new(
            shared.storage.clone(),
            Arc::clone(shared.inbox(number)),
            shared.meters.storage_parked.clone(),
        );
        let outbox = (0..shared.placement.arbiters()).map(|_| Vec::new()).collect();
        Rc::new(Self {
            number,
            timers: Timers::new(),
            storage,
            connections: Connections::new(shared.node.settings.connections_max_idle),
            replicas: RefCell::default(),
            groups: RefCell::default(),
            next_groups: RefCell::default(),
            metadata: OnceCell::new(),
            peers: OnceCell::new(),
            for_peers: RefCell::default(),
            deleting: RefCell::default(),
            stopping: RefCell::default(),
            stopping_groups: RefCell::default(),
            forcing: Forcing::default(),
            unwell: Cell::new(false),
            outbox: RefCell::new(outbox),
            shared,
        })
    }

    /// Carries a call to its callee; when that is not possible, the caller is answered why.
    pub(crate) fn call(&self, from: ReplyTo, call: Call) {
        let placement = self.shared.placement;
        let arbiter = match &call {
            Call::Partition(partition, _) => placement.partition(partition),
            Call::Group(partition, _) => match self.offsets_topic() {
                Some(topic) => placement.group(topic, *partition),
                None => return self.answer(from, Answer::Gone(ErrorCode::CoordinatorNotAvailable)),
            },
            Call::Metadata(_) => placement.metadata(),
            Call::Elect { .. } if self.shared.members.is_some() => placement.peers(),
            Call::Elect { .. } => self.number,
        };
        if arbiter == self.number {
            self.deliver(from, call);
        } else {
            self.post(arbiter, Parcel::Call { from, call });
        }
    }

    /// Hands a call to a core of this arbiter.
    pub(crate) fn deliver(&self, from: ReplyTo, call: Call) {
        let refused = match call {
            Call::Partition(partition, op) => match self.replica(&partition) {
                Some(mail) => {
                    mail.offer(ReplicaEvent::Call { from, op }, CALL_BOUND).err().map(|_| ErrorCode::RequestTimedOut)
                }
                None => Some(ErrorCode::NotLeaderOrFollower),
            },
            Call::Group(partition, request) => match self.groups.borrow().get(&partition) {
                Some(mail) => mail
                    .offer(GroupEvent::Request { from, request }, CALL_BOUND)
                    .err()
                    .map(|_| ErrorCode::CoordinatorLoadInProgress),
                None => Some(ErrorCode::NotCoordinator),
            },
            Call::Metadata(command) => match self.metadata.get() {
                Some(mail) => mail
                    .offer(MetadataEvent::Command { from, command }, CALL_BOUND)
                    .err()
                    .map(|_| ErrorCode::RequestTimedOut),
                None => Some(ErrorCode::BrokerNotAvailable),
            },
            Call::Elect { partition, to, deadline } => match self.peers.get() {
                Some(desk) => {
                    let election = LeadersEvent::Elect { from, partition, to, deadline };
                    desk.elect(election).err().map(|_| ErrorCode::RequestTimedOut)
                }
                // Nobody else could lead.
                None => Some(ErrorCode::PreferredLeaderNotAvailable),
            },
        };
        if let Some(code) = refused {
            self.shared.meters.calls_refused.increment(1);
            self.answer(from, Answer::Gone(code));
        }
    }

    /// Takes back a `Watch` of `from`.
    pub(crate) fn cancel(&self, from: ReplyTo, partition: TopicPartition) {
        let arbiter = self.shared.placement.partition(&partition);
        if arbiter != self.number {
            self.post(arbiter, Parcel::Cancel { from, partition });
        } else if let Some(mail) = self.replica(&partition) {
            mail.push(ReplicaEvent::Cancel { from });
        }
    }

    /// Carries an answer to the caller. A caller that is gone does not miss it.
    pub(crate) fn answer(&self, to: ReplyTo, answer: Answer) {
        match self.shared.placement.caller(to.caller, self.offsets_topic_of(to.caller)) {
            Some(arbiter) if arbiter != self.number => self.post(arbiter, Parcel::Answer { to, answer }),
            _ => self.deliver_answer(to, answer),
        }
    }

    /// Hands an answer to a caller of this arbiter.
    pub(crate) fn deliver_answer(&self, to: ReplyTo, answer: Answer) {
        let token = to.token;
        match to.caller {
            Caller::Connection(id) => {
                if let Some(mail) = self.connections.mail(id) {
                    mail.push(ConnectionEvent::Answer { token, answer });
                }
            }
            Caller::GroupCoordinator(partition) => {
                if let Some(mail) = self.groups.borrow().get(&partition) {
                    mail.push(GroupEvent::Answer { token, answer });
                }
            }
            // The metadata store calls nobody.
            Caller::Metadata => {}
        }
    }

    /// Puts a parcel with those that leave for `arbiter` at the end of the turn.
    pub(crate) fn post(&self, arbiter: usize, parcel: Parcel) {
        if let Some(batch) = self.outbox.borrow_mut().get_mut(arbiter) {
            batch.push(parcel);
        }
    }

    /// Takes what a replica, or the write-ahead store, has for the sessions with other brokers.
    pub(crate) fn tell_peers(&self, event: PeersEvent) {
        match self.peers.get() {
            Some(desk) => desk.push(event),
            None => self.for_peers.borrow_mut().push(event),
        }
    }

    /// Hands on what a replica or a witness has for another broker.
    pub(crate) fn send(
        &self,
        partition: TopicPartition,
        to: ReplicaKey,
        message: Message,
        records: Bytes,
        catch_up: bool,
    ) {
        self.shared.room.leave(to.broker, records.len());
        self.tell_peers(PeersEvent::Send { partition, to, message, records, catch_up });
    }

    /// Takes what the sessions with other brokers have for the metadata store.
    pub(crate) fn tell_metadata(&self, event: MetadataEvent) {
        match self.metadata.get() {
            Some(mail) => mail.push(event),
            None => self.post(self.shared.placement.metadata(), Parcel::Order(Order::Metadata(Box::new(event)))),
        }
    }

    /// Hands the sessions what has come from other brokers, if they are hosted here.
    pub(crate) fn take_arrivals(&self) {
        if let Some(desk) = self.peers.get() {
            desk.take_arrivals();
        }
    }

    /// Hands events to replicas of this arbiter. What is for a replica that is not here is for nobody: it is told who is
    /// heard when it is made, and asks for everything else itself. A replica has few exchanges under way with each other
    /// one of its partition, which bounds what comes.
    pub(crate) fn deliver_to_replicas(&self, events: Vec<(TopicPartition, ReplicaEvent)>) {
        for (partition, event) in events {
            if let Some(mail) = self.replica(&partition) {
                mail.push(event);
            }
        }
    }

    /// Lets the collected parcels leave. Calls that find no room are answered at once.
    pub(crate) fn send_outbox(&self) {
        if !self.for_peers.borrow().is_empty() {
            self.post(self.shared.placement.peers(), Parcel::Peers(self.for_peers.take()));
        }
        for arbiter in 0..self.shared.placement.arbiters() {
            let mut batch = match self.outbox.borrow_mut().get_mut(arbiter) {
                Some(batch) if !batch.is_empty() => std::mem::take(batch),
                _ => continue,
            };
            self.shared.inbox(arbiter).send(&mut batch);
            for parcel in batch.drain(..) {
                if let Parcel::Call { from, .. } = parcel {
                    self.shared.meters.calls_refused.increment(1);
                    self.deliver_answer(from, Answer::Gone(ErrorCode::RequestTimedOut));
                }
            }
            if let Some(empty) = self.outbox.borrow_mut().get_mut(arbiter) {
                std::mem::swap(empty, &mut batch);
            }
        }
    }

    /// The replica of a partition hosted here.
    pub(crate) fn replica(&self, partition: &TopicPartition) -> Option<Rc<Mail<ReplicaEvent>>> {
        self.replicas.borrow().get(partition).map(Rc::clone)
    }

    /// Counts what waits here, for `/metrics`.
    pub(crate) fn count(&self) {
        let replicas: usize = self.replicas.borrow().values().map(|mail| mail.len()).sum();
        let groups: usize = self.groups.borrow().values().map(|mail| mail.len()).sum();
        let metadata = self.metadata.get().map_or(0, |mail| mail.len());
        let counted = self.shared.counted(self.number);
        let peers = self.peers.get().map_or(0, |desk| desk.waiting());
        let waiting = replicas + groups + metadata + peers + self.connections.waiting();
        counted.events.store(waiting, Ordering::Relaxed);
        counted.timers.store(self.timers.len(), Ordering::Relaxed);
        let load = self.connections.load();
        counted.requests.store(load.requests, Ordering::Relaxed);
        counted.request_bytes.store(load.bytes, Ordering::Relaxed);
        counted.produces.store(load.produces, Ordering::Relaxed);
        counted.produce_bytes.store(load.produce_bytes, Ordering::Relaxed);
        counted.fetches.store(load.fetches, Ordering::Relaxed);
    }

    /// The place of a connection that begins.
    pub(crate) fn next_connection(&self) -> ConnectionId {
        self.shared.placement.connection_id(self.number, self.connections.next_sequence())
    }

    /// Tells whoever stops the broker that no coordinator, or no replica, is left.
    pub(crate) fn drop_countdowns_if_done(&self) {
        if self.groups.borrow().is_empty() {
            self.stopping_groups.borrow_mut().take();
        }
        if self.replicas.borrow().is_empty() {
            self.stopping.borrow_mut().take();
        }
    }

    fn offsets_topic(&self) -> Option<TopicId> {
        self.shared.node.directory.image().topic(CONSUMER_OFFSETS).map(|topic| topic.id)
    }

    fn offsets_topic_of(&self, caller: Caller) -> Option<TopicId> {
        match caller {
            Caller::GroupCoordinator(_) => self.offsets_topic(),
            Caller::Connection(_) | Caller::Metadata => None,
        }
    }
}
