//! What every arbiter and the HTTP interface of one broker share.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use millrace_node::peer::PeerStatus;
use millrace_node::replica::{ROOM_BOUND, Room};
use millrace_raft::{Peer, ReplicaKey};
use millrace_storage::{Disk, OpenSegments, StorageHandle, Upkeep};
use millrace_types::{BrokerId, DirectoryId};
use tokio::sync::Notify;

use crate::actor::inbox::Inbox;
use crate::actor::placement::Placement;
use crate::clock::Clock;
use crate::config::Members;
use crate::metrics::Meters;
use crate::net::cuts::Cuts;
use crate::net::limits::Limits;
use crate::peer::handoff::{Arrivals, Orders};
use crate::pulse::Pulse;
use crate::replication::Replication;

/// One value per broker.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The clocks.
    pub(crate) clock: Clock,
    /// Which arbiter hosts what.
    pub(crate) placement: Placement,
    /// What the connections' cores share: directory, settings, fetch sessions.
    pub(crate) node: Arc<millrace_node::Shared>,
    /// The storage threads.
    pub(crate) storage: StorageHandle,
    /// Jobs a queue of theirs takes.
    pub(crate) storage_bound: usize,
    /// The data directory.
    pub(crate) disk: Arc<dyn Disk>,
    /// The bound on open segment files.
    pub(crate) open_segments: OpenSegments,
    /// The rate of the scrub, and what was found and repaired.
    pub(crate) upkeep: Upkeep,
    /// The connections of clients.
    pub(crate) limits: Arc<Limits>,
    /// The same, to be closed when their arbiters hang.
    pub(crate) cuts: Arc<Cuts>,
    /// Figures for `/metrics`.
    pub(crate) meters: Meters,
    /// What is counted and logged of elections and in-sync replicas.
    pub(crate) replication: Replication,
    /// Identity of the data directory.
    pub(crate) directory_id: DirectoryId,
    /// The brokers of the cluster; `None` for a broker that is alone.
    pub(crate) members: Option<Arc<ArcSwap<Members>>>,
    /// The queues to the sockets of other brokers and back; `None` for a broker that is alone.
    pub(crate) peer_queues: Option<(Arc<Orders>, Arc<Arrivals>)>,
    /// What is queued for other brokers.
    pub(crate) room: Arc<Room>,
    /// Whether the process gets on.
    pub(crate) pulse: Arc<Pulse>,
    /// Replicas that were asked for and have no leader epoch yet.
    pub(crate) starting: Starting,
    /// The listener whose addresses requests of the process itself are answered with.
    pub(crate) internal_listener: Arc<str>,
    inboxes: Vec<Arc<Inbox>>,
    /// Connections per arbiter, by which the next one is placed.
    loads: Vec<AtomicUsize>,
    counted: Vec<Counted>,
    peer_report: ArcSwap<PeerReport>,
    ready: AtomicBool,
    /// Whether a log was left with records that are not known to be durable.
    unflushed: AtomicBool,
}

/// What an arbiter counted last.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Events that wait for its actors.
    pub(crate) events: AtomicUsize,
    /// Timers that are set.
    pub(crate) timers: AtomicUsize,
    /// Requests of its connections that are not answered.
    pub(crate) requests: AtomicUsize,
    /// Bytes of these.
    pub(crate) request_bytes: AtomicUsize,
    /// Produce requests among them that wait to be acknowledged.
    pub(crate) produces: AtomicUsize,
    /// Bytes of these.
    pub(crate) produce_bytes: AtomicUsize,
    /// Fetch requests among them that wait.
    pub(crate) fetches: AtomicUsize,
}

/// What of [`Shared`] exists before the arbiters do.
pub(crate) struct Parts {
    /// The clocks.
    pub(crate) clock: Clock,
    /// Number of arbiters.
    pub(crate) arbiters: usize,
    /// What the connections' cores share.
    pub(crate) node: Arc<millrace_node::Shared>,
    /// The storage threads.
    pub(crate) storage: StorageHandle,
    /// Jobs a queue of theirs takes.
    pub(crate) storage_bound: usize,
    /// The data directory.
    pub(crate) disk: Arc<dyn Disk>,
    /// Identity of the data directory.
    pub(crate) directory_id: DirectoryId,
    /// The brokers of the cluster; `None` for a broker that is alone.
    pub(crate) members: Option<Members>,
    /// The listener whose addresses requests of the process itself are answered with.
    pub(crate) internal_listener: Arc<str>,
}

/// What the sessions with other brokers were when they last told.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerReport {
    /// By broker.
    pub(crate) sessions: Vec<(BrokerId, PeerStatus)>,
    /// Replicas that wait to be told that their leader is silent.
    pub(crate) waiting: usize,
}

/// Counts the replicas that are being started, so that the broker knows when it is ready.
#[derive(Debug, Default)]
pub(crate) struct Starting {
    registered: AtomicBool,
    replicas: AtomicUsize,
    changed: Notify,
}

impl Starting {
    /// The broker is registered, and every replica it had is counted.
    pub(crate) fn set_registered(&self) {
        if !self.registered.swap(true, Ordering::AcqRel) {
            self.changed.notify_waiters();
        }
    }

    /// `count` replicas are asked for.
    pub(crate) fn add(&self, count: usize) {
        self.replicas.fetch_add(count, Ordering::AcqRel);
    }

    /// One of them has a leader epoch, or is known to get none.
    pub(crate) fn sub(&self) {
        if self.replicas.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_waiters();
        }
    }

    /// Waits until the broker is registered and no replica is missing.
    pub(crate) async fn wait(&self) {
        loop {
            // Registered before the look, so that a change in between is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.registered.load(Ordering::Acquire) && self.missing() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Number of replicas that are missing.
    pub(crate) fn missing(&self) -> usize {
        self.replicas.load(Ordering::Acquire)
    }
}

impl Shared {
    /// This process, as a replica or a witness of it is named.
    pub(crate) fn me(&self) -> Peer {
        let settings = &self.node.settings;
        let key = ReplicaKey { broker: settings.broker_id, directory: self.directory_id };
        Peer { key, incarnation: settings.incarnation }
    }

    /// Before anything runs.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let placement = Placement::new(parts.arbiters);
        let upkeep = Upkeep::new(parts.node.settings.scrub_bytes_per_second);
        let inboxes: Vec<Arc<Inbox>> = (0..placement.arbiters()).map(|_| Inbox::new()).collect();
        let peer_queues = parts
            .members
            .as_ref()
            .and_then(|_| inboxes.get(placement.peers()))
            .map(|inbox| (Arc::<Orders>::default(), Arrivals::new(Arc::clone(inbox))));
        let others = parts.members.iter().flat_map(|members| members.brokers.keys().copied());
        let room = Arc::new(Room::new(others, ROOM_BOUND));
        Arc::new(Self {
            room,
            pulse: Arc::new(Pulse::new(placement.arbiters())),
            clock: parts.clock,
            placement,
            node: parts.node,
            storage: parts.storage,
            storage_bound: parts.storage_bound,
            disk: parts.disk,
            open_segments: OpenSegments::default(),
            upkeep,
            limits: Arc::default(),
            cuts: Arc::default(),
            meters: Meters::new(),
            replication: Replication::new(),
            directory_id: parts.directory_id,
            starting: Starting::default(),
            internal_listener: parts.internal_listener,
            members: parts.members.map(|members| Arc::new(ArcSwap::from_pointee(members))),
            peer_queues,
            peer_report: ArcSwap::default(),
            inboxes,
            loads: (0..placement.arbiters()).map(|_| AtomicUsize::new(0)).collect(),
            counted: (0..placement.arbiters()).map(|_| Counted::default()).collect(),
            ready: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
        })
    }

    /// The inbox of an arbiter; `arbiter` is below [`Placement::arbiters`].
    pub(crate) fn inbox(&self, arbiter: usize) -> &Arc<Inbox> {
        &self.inboxes[arbiter % self.inboxes.len()]
    }

    /// The arbiter with the fewest connections.
    pub(crate) fn least_loaded(&self) -> usize {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed)).enumerate();
        loads.min_by_key(|(_, load)| *load).map_or(0, |(arbiter, _)| arbiter)
    }

    /// Connections of an arbiter.
    pub(crate) fn load(&self, arbiter: usize) -> &AtomicUsize {
        &self.loads[arbiter % self.loads.len()]
    }

    /// What an arbiter counted last.
    pub(crate) fn counted(&self, arbiter: usize) -> &Counted {
        &self.counted[arbiter % self.counted.len()]
    }

    /// What the sessions with other brokers were when they last told.
    pub(crate) fn peer_report(&self) -> Arc<PeerReport> {
        self.peer_report.load_full()
    }

    /// Renews what is told of the sessions with other brokers.
    pub(crate) fn set_peer_report(&self, report: PeerReport) {
        self.peer_report.store(Arc::new(report));
    }

    /// Whether clients can be served: not before the start is over, not from the stop on, and not while the disk hangs.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.pulse.is_well()
    }

    /// Whether clients are sent away: this broker hangs, and others may serve them.
    pub(crate) fn leaves_clients(&self) -> bool {
        self.pulse.is_silent() && self.members.is_some()
    }

    /// Why this broker hears no majority of the brokers of its cluster, itself included; `None` where it does, or is alone.
    pub(crate) fn without_majority(&self) -> Option<String> {
        let brokers = self.members.as_ref()?.load().brokers.len();
        let up = self.peer_report.load().sessions.iter().filter(|(_, status)| status.session.is_some()).count();
        let (heard, majority) = (up + 1, brokers / 2 + 1);
        (heard < majority).then(|| {
            format!("{heard} of {brokers} brokers are heard, this one included, and {majority} are a majority")
        })
    }

    /// Whether every log that was asked for is open and was left with all its records durable: what a clean marker says.
    pub(crate) fn is_flushed(&self) -> bool {
        self.starting.missing() == 0 && !self.unflushed.load(Ordering::Acquire)
    }

    /// Notes that a log is left with records that are not known to be durable.
    pub(crate) fn set_unflushed(&self) {
        self.unflushed.store(true, Ordering::Release);
    }

    /// Says whether clients can be served.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}
