//! One life of the broker's process: its cores, their timers, and what its storage threads are doing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_node::group::GroupCoordinator;
use millrace_node::leaders::Leaders;
use millrace_node::metadata_store::{MetadataEvent, MetadataStore, Orphans};
use millrace_node::peers::{Peers, PeersEvent};
use millrace_node::replica::{Promises, Replica, Room};
use millrace_node::witness::Witness;
use millrace_node::{ConnectionId, PartitionView, Shared};
use millrace_raft::{Peer, Raft, ReplicaKey, Settings, Voter};
use millrace_storage::{DataDir, Disk, Journal, Known, OpenSegments, QState, Upkeep};
use millrace_types::{BrokerId, Instant, TopicPartition};

use super::Sent;
use super::connections::Conn;
use super::disk_work::Threads;
use super::port::{Event, Port, Who};

/// What the write-ahead store knows of a replica.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    pub(super) known: Known,
    pub(super) promises: Promises,
}

impl Default for Remembered {
    /// Of a replica that the store has never heard of.
    fn default() -> Self {
        Self { known: Known { clean: true, ..Known::default() }, promises: Promises::default() }
    }
}

/// What was opened before the cores run.
pub(super) struct Stores {
    pub(super) data_dir: DataDir,
    pub(super) qstate: QState,
    pub(super) journal: Journal,
    pub(super) store: MetadataStore,
    pub(super) remembered: BTreeMap<TopicPartition, Remembered>,
    pub(super) orphans: Orphans,
    pub(super) peers: Peers,
    pub(super) me: Peer,
}

/// A replica and what its host remembers of it.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) core: Replica,
    pub(super) view: Arc<PartitionView>,
    /// Whether the metadata store knows that it has a leader epoch.
    pub(super) led: bool,
    /// Whether the coordinator that has its groups here was started, or there is none.
    pub(super) coordinates: bool,
}

/// How far an orderly end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It serves.
    Serving,
    /// No new connection; the coordinators stop.
    Groups,
    /// The replicas stop.
    Replicas,
    /// All has stopped.
    Stopped,
}

/// One life of the broker's process.
pub struct Process {
    /// Its number, from 1.
    pub(super) number: u64,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shared: Arc<Shared>,
    pub(super) data_dir: DataDir,
    pub(super) store: MetadataStore,
    /// Who speaks for the replicas here.
    pub(super) me: Peer,
    /// The first voters of partitions whose logs are being opened.
    pub(super) voters: BTreeMap<TopicPartition, Vec<Voter>>,
    /// The sessions with all other brokers.
    pub(super) peers: Peers,
    /// What is queued for the other brokers.
    pub(super) room: Arc<Room>,
    /// Who leads which partition, as brokers tell each other.
    pub(super) leaders: Leaders,
    /// The brokers that are heard.
    pub(super) heard: BTreeMap<BrokerId, Peer>,
    /// What has yet to leave for the network.
    pub(super) sent: Vec<Sent>,
    pub(super) remembered: BTreeMap<TopicPartition, Remembered>,
    /// What the start has found beside what the metadata name.
    pub(super) orphans: Orphans,
    pub(super) replicas: BTreeMap<TopicPartition, Hosted>,
    pub(super) witnesses: BTreeMap<TopicPartition, Witness>,
    /// Replicas whose logs are being opened.
    pub(super) opening: BTreeSet<TopicPartition>,
    /// Replicas that go with their data when they have stopped.
    pub(super) deleting: BTreeSet<TopicPartition>,
    pub(super) groups: BTreeMap<i32, GroupCoordinator>,
    pub(super) connections: BTreeMap<ConnectionId, Conn>,
    pub(super) timers: BTreeMap<Who, Instant>,
    pub(super) threads: Threads,
    pub(super) open_segments: OpenSegments,
    pub(super) upkeep: Upkeep,
    pub(super) segment_divisor: u64,
    /// The timers of the consensus.
    pub(super) timing: Settings,
    pub(super) registered: bool,
    /// A log could not be opened.
    pub(super) offline: bool,
    pub(super) end: End,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("number", &self.number).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Process {
    pub(super) fn new(
        number: u64,
        shared: Arc<Shared>,
        stores: Stores,
        (sync_all_above, segment_divisor, room_bytes, timing, patience): (usize, u64, usize, Settings, Duration),
    ) -> Self {
        let Stores { data_dir, qstate, journal, store, remembered, orphans, peers, me } = stores;
        let leaders = Leaders::new(me.key.broker, Arc::clone(&shared.directory), Some(patience));
        let upkeep = Upkeep::new(shared.settings.scrub_bytes_per_second);
        let room = Arc::new(Room::new(peers.status().map(|(broker, _)| broker), room_bytes));
        Self {
            number,
            room,
            leaders,
            disk: Arc::clone(data_dir.disk()),
            shared,
            data_dir,
            store,
            me,
            voters: BTreeMap::new(),
            peers,
            heard: BTreeMap::new(),
            sent: Vec::new(),
            remembered,
            orphans,
            replicas: BTreeMap::new(),
            witnesses: BTreeMap::new(),
            opening: BTreeSet::new(),
            deleting: BTreeSet::new(),
            groups: BTreeMap::new(),
            connections: BTreeMap::new(),
            timers: BTreeMap::new(),
            threads: Threads::new(qstate, journal, sync_all_above),
            open_segments: OpenSegments::default(),
            upkeep,
            segment_divisor: segment_divisor.max(1),
            timing,
            registered: false,
            offline: false,
            end: End::Serving,
        }
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Number of this start of the data directory.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.me.incarnation
    }

    /// What its replicas are called.
    #[must_use]
    pub const fn key(&self) -> ReplicaKey {
        self.me.key
    }

    /// Its broker.
    #[must_use]
    pub const fn broker(&self) -> BrokerId {
        self.me.key.broker
    }

    /// What has to leave for the network.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// Lets the cores begin.
    pub fn begin(&mut self, port: &mut Port<'_>) {
        self.threads.ask_for_space(&self.disk, &self.shared);
        self.clear_orphans(port);
        port.mail(Who::Metadata, Who::Metadata, Event::Metadata(MetadataEvent::Start));
        if !self.peers.is_alone() {
            self.peers(port, vec![PeersEvent::Start]);
        }
    }

    /// Whether clients can be served: the broker is registered, and every replica has led or knows who does.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.registered
            && self.end == End::Serving
            && self.opening.is_empty()
            && self.replicas.values().all(|hosted| hosted.led || hosted.view.leader().is_some())
    }

    /// The cluster's metadata as everybody in the broker sees it.
    #[must_use]
    pub fn image(&self) -> Arc<millrace_metadata::Image> {
        self.shared.directory.image()
    }

    /// The published sides of the replicas, in order.
    pub fn views(&self) -> impl Iterator<Item = &Arc<PartitionView>> {
        self.replicas.values().map(|hosted| &hosted.view)
    }

    /// The consensus of one replica or witness.
    #[must_use]
    pub fn consensus(&self, partition: TopicPartition) -> Option<&Raft> {
        let witness = || self.witnesses.get(&partition).map(Witness::consensus);
        self.replicas.get(&partition).map(|hosted| hosted.core.consensus()).or_else(witness)
    }

    /// The partitions of which a replica runs or is about to, and those of which a witness does.
    pub fn hosted(&self) -> (impl Iterator<Item = TopicPartition> + '_, impl Iterator<Item = TopicPartition> + '_) {
        (self.replicas.keys().chain(&self.opening).copied(), self.witnesses.keys().copied())
    }

    /// The published side of one replica.
    #[must_use]
    pub fn view(&self, partition: TopicPartition) -> Option<&Arc<PartitionView>> {
        self.replicas.get(&partition).map(|hosted| &hosted.view)
    }

    /// Whether something in it waits for a restart: a store that is closed, a replica that has failed.
    #[must_use]
    pub fn is_hurt(&self) -> bool {
        let failed = |hosted: &Hosted| hosted.view.readable_end() != i64::MAX;
        self.is_closed() || self.replicas.values().any(failed)
    }

    /// Whether a store of the broker itself takes no more records, or a log could not be opened.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.offline || self.store.is_poisoned() || self.threads.is_hurt()
    }

    /// Begins an orderly end, first of the connections.
    pub fn stop(&mut self, port: &mut Port<'_>) {
        if self.end != End::Serving {
            return;
        }
        self.end = End::Groups;
        self.hang_up_all(port);
        let groups: Vec<i32> = self.groups.keys().copied().collect();
        for group in groups {
            let stop = Event::Group(group, millrace_node::group::GroupEvent::Stop);
            port.mail(Who::Metadata, Who::Group(group), stop);
        }
        self.go_on_stopping(port);
    }

    /// Takes the next step of an orderly end when the one before is done.
    pub(super) fn go_on_stopping(&mut self, port: &mut Port<'_>) {
        if self.end == End::Groups && self.groups.is_empty() {
            self.end = End::Replicas;
            let replicas: Vec<TopicPartition> = self.replicas.keys().chain(self.witnesses.keys()).copied().collect();
            for partition in replicas {
                let stop = Event::Replica(partition, millrace_node::replica::ReplicaEvent::Stop);
                port.mail(Who::Metadata, Who::Replica(partition), stop);
            }
        }
        let idle =
            self.replicas.is_empty() && self.witnesses.is_empty() && self.opening.is_empty() && self.threads.are_idle();
        if self.end == End::Replicas && idle {
            self.end = End::Stopped;
            let clean = self.threads.close().is_ok() && self.data_dir.mark_clean().is_ok();
            port.note(format_args!("stopped clean={clean}"));
            port.notices.push(super::Notice::StoppedCleanly);
        }
    }
}
