//! The actor of the sessions with all other brokers: their core between the thread of the sockets, the write-ahead store
//! and the replicas.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millrace_metadata::Proposer;
use millrace_node::leaders::{Leaders, LeadersEffect, LeadersEvent};
use millrace_node::metadata_store::MetadataEvent;
use millrace_node::peer::{PeerEvent, Plane, PlaneMessage, Start};
use millrace_node::peers::{Peers, PeersEffect, PeersEvent, replica_event};
use millrace_node::replica::ReplicaEvent;
use millrace_node::{Answer, Core};
use millrace_raft::Peer;
use millrace_storage::{DiskError, SeenStart, ToldStart};
use millrace_types::{Instant, Now, TopicPartition};

use super::arbiter::{CALL_BOUND, Local};
use super::countdown::Countdown;
use super::host::{After, Host, Ports};
use super::mail::Mail;
use super::parcel::Parcel;
use super::timers::{Fire, TimerSlot};
use crate::peer::handoff::{Arrival, Arrivals, Order, Orders};
use crate::shared::{PeerReport, Shared};

/// How long a start of another broker that could not be made durable waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often figures for metrics and the admin interface are renewed while nothing else happens.
const REPORT: Duration = Duration::from_millis(100);

/// What the arbiter of the sessions is given.
pub(crate) struct Sessions {
    /// The core.
    pub(crate) core: Peers,
    /// The way to the sockets.
    pub(crate) orders: Arc<Orders>,
    /// What comes from there.
    pub(crate) arrivals: Arc<Arrivals>,
    /// How often it is measured by how much this arbiter is late.
    pub(crate) beat: Duration,
}

/// The core, with what a frame is charged until it is handled.
struct Charged(Peers);

impl Core for Charged {
    type Event = Arrival;
    type Effect = PeersEffect;

    fn step(&mut self, now: Now, event: Arrival, out: &mut Vec<PeersEffect>) {
        self.0.step(now, event.event, out);
        drop(event.charge);
    }
}

/// Where others of the arbiter leave what they have for the sessions.
pub(crate) struct PeersDesk {
    mail: Rc<Mail<Arrival>>,
    arrivals: Arc<Arrivals>,
    shared: Arc<Shared>,
    slot: TimerSlot,
    wanted: Cell<Instant>,
    /// Calls for the table of leaders.
    elections: RefCell<Vec<LeadersEvent>>,
    /// Who waits until nothing is left.
    draining: RefCell<Vec<Countdown>>,
}

impl PeersDesk {
    /// Takes an event of this process.
    pub(crate) fn push(&self, event: PeersEvent) {
        self.mail.push(event.into());
    }

    /// Takes what has come from other brokers.
    pub(crate) fn take_arrivals(&self) {
        self.arrivals.take().into_iter().for_each(|arrival| self.mail.push(arrival));
    }

    /// Drops `countdown` when everything that waits has been handled, and what follows from it is with the sockets.
    pub(super) fn drain(&self, countdown: Countdown) {
        self.draining.borrow_mut().push(countdown);
        self.mail.schedule();
    }

    /// Takes an election, or gives it back when too many wait.
    pub(super) fn elect(&self, election: LeadersEvent) -> Result<(), LeadersEvent> {
        if self.elections.borrow().len() >= CALL_BOUND {
            return Err(election);
        }
        self.elections.borrow_mut().push(election);
        self.mail.schedule();
        Ok(())
    }

    /// Number of events that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.mail.len()
    }
}

impl Fire for PeersDesk {
    fn slot(&self) -> &TimerSlot {
        &self.slot
    }

    /// What came before the moment is handled before it, and a moment that comes late is told to be: else a broker that
    /// is heard would be taken for silent by one that does not come to listen.
    fn fire(&self, at: Instant) {
        self.take_arrivals();
        let now = self.shared.clock.instant().max(at);
        self.push(PeersEvent::Lag(now.since(self.wanted.get())));
        self.push(PeersEvent::Timer);
    }
}

/// Starts the sessions on the calling thread's arbiter.
pub(super) fn start(local: &Rc<Local>, sessions: Sessions) {
    let Sessions { core, orders, arrivals, beat } = sessions;
    // The timer of the mail is not used: the desk has one.
    let mail = Rc::new(Mail::new(local.timers.slot(), || PeersEvent::Timer.into()));
    let desk = Rc::new(PeersDesk {
        mail: Rc::clone(&mail),
        arrivals,
        shared: Arc::clone(&local.shared),
        slot: local.timers.slot(),
        wanted: Cell::new(Instant::NEVER),
        elections: RefCell::default(),
        draining: RefCell::default(),
    });
    let already = local.peers.set(Rc::clone(&desk)).is_err();
    debug_assert!(!already, "a broker has one actor for its sessions");
    let ports = PeersPorts {
        local: Rc::clone(local),
        desk: Rc::clone(&desk),
        orders,
        batch: Vec::new(),
        replicas: (0..local.shared.placement.arbiters()).map(|_| Vec::new()).collect(),
        leaders: leaders(local),
        leaders_due: Instant::NEVER,
        flush: false,
        report_at: Instant::ZERO,
    };
    desk.push(PeersEvent::Start);
    Host::start(Charged(core), ports, mail, Rc::clone(local));
    desk.take_arrivals();
    actix_rt::spawn(measure(desk, beat));
}

fn leaders(local: &Local) -> Leaders {
    let node = &local.shared.node;
    Leaders::new(node.settings.broker_id, Arc::clone(&node.directory), node.settings.leader_patience)
}

/// Measures by how much the arbiter is late, for as long as the process runs.
async fn measure(desk: Rc<PeersDesk>, beat: Duration) {
    loop {
        let due = desk.shared.clock.instant().after(beat);
        tokio::time::sleep(beat).await;
        desk.push(PeersEvent::Lag(desk.shared.clock.instant().since(due)));
    }
}

/// A start of another broker is durable, or could not be made so: until it is, nobody speaks with that broker.
pub(super) fn remembered(local: &Rc<Local>, token: u64, seen: SeenStart, result: Result<(), DiskError>) {
    match result {
        Ok(()) => local.tell_peers(PeersEvent::Peer { broker: seen.broker, event: PeerEvent::Remembered { token } }),
        Err(error) => {
            tracing::error!(broker = %seen.broker, %error, "the start of a broker cannot be remembered: no session with it");
            let local = Rc::clone(local);
            actix_rt::spawn(async move {
                tokio::time::sleep(RETRY).await;
                local.storage.remember(token, seen);
            });
        }
    }
}

/// A process as the metadata log names it.
const fn process(peer: Peer) -> Proposer {
    Proposer { broker: peer.key.broker, directory: peer.key.directory, incarnation: peer.incarnation }
}

/// The effects of the sessions.
struct PeersPorts {
    local: Rc<Local>,
    desk: Rc<PeersDesk>,
    orders: Arc<Orders>,
    /// What is for the sockets, until the turn ends.
    batch: Vec<Order>,
    /// What is for replicas, by arbiter, until the turn ends.
    replicas: Vec<Vec<(TopicPartition, ReplicaEvent)>>,
    /// Who leads, as brokers tell each other: it lives by what the sessions say.
    leaders: Leaders,
    /// When the table of leaders asked to be called; it is as exact as the measure of this arbiter's lag.
    leaders_due: Instant,
    /// Whether something was taken that may have been something to send.
    flush: bool,
    /// When the figures are renewed.
    report_at: Instant,
}

impl PeersPorts {
    fn for_replica(&mut self, partition: TopicPartition, event: ReplicaEvent) {
        let arbiter = self.local.shared.placement.partition(&partition);
        if let Some(batch) = self.replicas.get_mut(arbiter) {
            batch.push((partition, event));
        }
    }

    /// Something for the table of leaders, and what follows from it.
    fn lead(&mut self, event: LeadersEvent) {
        let mut effects = Vec::new();
        self.leaders.step(self.local.shared.clock.now(), event, &mut effects);
        for effect in effects {
            match effect {
                LeadersEffect::Send { to, message } => self.desk.push(PeersEvent::SendPlane { to, message }),
                LeadersEffect::Hint { partition, leader, epoch } => {
                    self.for_replica(partition, ReplicaEvent::Hint { leader, epoch });
                }
                LeadersEffect::Transfer { partition, to } => self.for_replica(partition, ReplicaEvent::Transfer { to }),
                LeadersEffect::Elected { to, error } => self.local.answer(to, Answer::Elected(error)),
                LeadersEffect::Timer(at) => self.leaders_due = at,
            }
        }
    }

    fn report(&mut self, core: &Peers) {
        for (broker, status) in core.status() {
            self.local.shared.room.set_queued(broker, status.queued_bytes);
        }
        let now = self.local.shared.clock.instant();
        if now >= self.report_at {
            self.report_at = now.after(REPORT);
            let sessions = core.status().collect();
            self.local.shared.set_peer_report(PeerReport { sessions, waiting: core.waiting() });
        }
    }
}

impl Ports<Charged> for PeersPorts {
    fn took(&mut self, event: &Arrival) {
        if let PeersEvent::Send { to, records, .. } = &event.event {
            self.local.shared.room.arrive(to.broker, records.len());
        }
        match &event.event {
            PeersEvent::Leader(partition) => self.lead(LeadersEvent::View(*partition)),
            PeersEvent::Unhosted(partition) => self.lead(LeadersEvent::Unhosted(*partition)),
            PeersEvent::Lag(_) if self.leaders_due <= self.local.shared.clock.instant() => {
                self.leaders_due = Instant::NEVER;
                self.lead(LeadersEvent::Timer);
            }
            _ => {}
        }
        self.flush |= matches!(event.event, PeersEvent::Send { .. } | PeersEvent::SendPlane { .. });
    }

    fn last(&mut self) -> Option<Arrival> {
        let elections = self.desk.elections.take();
        elections.into_iter().for_each(|election| self.lead(election));
        std::mem::take(&mut self.flush).then(|| PeersEvent::Flush.into())
    }

    fn carry_out(&mut self, effect: PeersEffect, _mail: &Rc<Mail<Arrival>>) {
        let meters = &self.local.shared.meters;
        match effect {
            PeersEffect::Dial { broker, shard, attempt } => self.batch.push(Order::Dial { broker, shard, attempt }),
            PeersEffect::Write { connection, frame } => self.batch.push(Order::Write { connection, frame }),
            PeersEffect::Keepalives { connection, every } => self.batch.push(Order::Keepalives { connection, every }),
            PeersEffect::Close { connection, why } => self.batch.push(Order::Close { connection, why }),
            PeersEffect::Remember { token, seen } => {
                let Start { incarnation, nonce } = seen.start;
                let seen = SeenStart { broker: seen.broker, directory: seen.directory, incarnation, nonce };
                self.local.storage.remember(token, seen);
            }
            PeersEffect::Told { broker, start: Start { incarnation, nonce } } => {
                self.local.storage.told(ToldStart { broker, incarnation, nonce });
            }
            PeersEffect::Tell { partitions, news } => {
                partitions.into_iter().for_each(|partition| self.for_replica(partition, news.into()));
            }
            PeersEffect::Deliver { from, messages } => {
                let me = self.local.shared.node.settings.broker_id;
                for message in messages {
                    let (partition, event) = replica_event(from, me, message);
                    self.for_replica(partition, event);
                }
            }
            PeersEffect::Plane { from, message: PlaneMessage { plane: Plane::Metadata, body } } => {
                self.local.tell_metadata(MetadataEvent::PeerMessage { from: process(from), bytes: body });
            }
            PeersEffect::Plane { from, message: PlaneMessage { plane: Plane::Leaders, body } } => {
                self.lead(LeadersEvent::Plane { from, body });
            }
            PeersEffect::Heard(peer) => {
                self.local.tell_metadata(MetadataEvent::BrokerUp(process(peer)));
                self.lead(LeadersEvent::Heard(peer));
                tracing::info!(broker = %peer.key.broker, incarnation = peer.incarnation, "a broker is heard");
                self.report_at = Instant::ZERO;
            }
            PeersEffect::Silent(broker) => {
                self.local.tell_metadata(MetadataEvent::BrokerDown(broker));
                self.lead(LeadersEvent::Silent(broker));
                tracing::warn!(%broker, "a broker is heard no longer");
                self.report_at = Instant::ZERO;
            }
            PeersEffect::Ahead { broker, epoch } => tracing::trace!(%broker, epoch, "a broker has newer metadata"),
            PeersEffect::Refused { broker, by_remote, reason } => {
                meters.peers.hellos_refused(reason).increment(1);
                if reason.is_lasting() {
                    tracing::error!(%broker, by_remote, ?reason, "a session is refused, and will be: an operator has to act");
                }
                self.report_at = Instant::ZERO;
            }
            PeersEffect::Timer(at) => {
                self.desk.wanted.set(at);
                let timer: Rc<dyn Fire> = Rc::<PeersDesk>::clone(&self.desk);
                self.local.timers.set(&timer, at);
            }
        }
    }

    fn end_turn(&mut self, core: &Charged) -> After {
        self.orders.send(&mut self.batch);
        for arbiter in 0..self.replicas.len() {
            let Some(batch) = self.replicas.get_mut(arbiter).filter(|batch| !batch.is_empty()) else { continue };
            let batch = std::mem::take(batch);
            if arbiter == self.local.number {
                self.local.deliver_to_replicas(batch);
            } else {
                self.local.post(arbiter, Parcel::Replicas(batch));
            }
        }
        self.report(&core.0);
        if self.desk.waiting() == 0 {
            self.desk.draining.borrow_mut().clear();
        }
        After::Wait
    }
}
