//! A start of the broker on a disk, in the order of the real one: data directory, write-ahead store, metadata journal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_metadata::config::BrokerConfig;
use millrace_metadata::log::{Member, Members};
use millrace_metadata::{Broker, BrokerRole, Endpoint, Image, Local};
use millrace_node::metadata_store::{MetadataStore, Orphans, StoreOptions};
use millrace_node::peer::{LocalBroker, PeerSettings, Remembered as SeenPeer, Start as PeerStart};
use millrace_node::peers::Peers;
use millrace_node::replica::Promises;
use millrace_node::{Directory, Settings, Shared};
use millrace_raft::{Peer, ReplicaKey};
use millrace_storage::{
    BootRecord, DataDir, Disk, DiskError, Journal, JournalOptions, Known, METADATA_DIR, NewBoot, NewIdentity,
    QSTATE_DIR, QState, SeenStart, SimDisk, TOPICS_DIR, ToldStart, parse_partition_dir, remove_partition_dir,
};
use millrace_types::{BrokerId, DirectoryId, Incarnation, TopicPartition};
use uuid::Uuid;

use super::process::{Process, Remembered, Stores};
use crate::dice::Dice;

/// The listener that clients come in by.
pub(super) const LISTENER: &str = "PLAINTEXT";

/// What a start is given.
#[derive(Debug)]
pub struct Start<'a> {
    /// Number of the process, from 1.
    pub number: u64,
    /// The cluster it belongs to.
    pub cluster: &'a Cluster,
    /// Its broker.
    pub broker: BrokerId,
    /// The disk.
    pub disk: &'a SimDisk,
    /// Identity of the machine's run.
    pub boot_id: String,
    /// The broker's configuration.
    pub config: &'a BrokerConfig,
    /// Bytes of a journal's room.
    pub journal_room: u64,
    /// By how much segments are smaller than their topics say.
    pub segment_divisor: u64,
    /// Files above which a group is flushed by one `syncfs`.
    pub sync_all_above: usize,
    /// Chance.
    pub dice: Dice,
}

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The brokers; empty where there is one.
    pub brokers: Vec<BrokerId>,
    /// Those of them that hold witnesses alone.
    pub witnesses: BTreeSet<BrokerId>,
    /// What the sessions between brokers are tuned by.
    pub sessions: PeerSettings,
    /// Bytes queued for a broker above which its followers that are far behind wait.
    pub room: usize,
    /// The timers of the consensus.
    pub timing: millrace_raft::Settings,
    /// For how long a preferred leader is in sync before it asks to lead.
    pub patience: Duration,
}

/// Address of a broker.
#[must_use]
pub fn host(broker: BrokerId) -> String {
    format!("b{broker}")
}

/// A broker as it registers itself.
#[must_use]
pub fn registration(key: ReplicaKey, rack: Option<String>, incarnation: Incarnation, role: BrokerRole) -> Broker {
    let endpoint = Endpoint { listener: LISTENER.to_owned(), host: host(key.broker), port: 9092 };
    Broker { id: key.broker, rack, endpoints: vec![endpoint], directory: key.directory, incarnation, role }
}

/// Starts a broker.
///
/// # Errors
/// Why it does not start.
pub fn start(mut start: Start<'_>) -> Result<Process, String> {
    let disk: Arc<dyn Disk> = Arc::new(start.disk.clone());
    let dice = &mut start.dice;
    let uuid = Uuid::from_u64_pair(dice.number(), dice.number());
    let new = NewIdentity { directory_id: DirectoryId(uuid), cluster_id: "simulated".to_owned() };
    let data_dir = DataDir::open_on(disk, new, start.boot_id.clone()).map_err(|error| error.to_string())?;
    let boot = NewBoot {
        directory: data_dir.identity().directory_id,
        boot_id: data_dir.boot_id().to_owned(),
        nonce: dice.number(),
    };
    let options = JournalOptions {
        room: start.journal_room,
        reserve: start.journal_room / 4,
        create: data_dir.is_fresh(),
        ..JournalOptions::default()
    };
    let qstate = QState::open(data_dir.disk(), Path::new(QSTATE_DIR), options.clone(), boot);
    let mut qstate = qstate.map_err(|error| error.to_string())?;
    let mut remembered = remembered(&data_dir, &qstate);
    let (store, journal) = metadata(&start, &data_dir, &qstate, options)?;
    let key = ReplicaKey { broker: start.broker, directory: data_dir.identity().directory_id };
    let orphans = orphans(data_dir.disk(), &store, &mut qstate, &mut remembered, key);
    let orphans = orphans.map_err(|error| error.to_string())?;
    let store = store.with_left_behind(orphans.left_behind());
    let me = Peer { key, incarnation: qstate.boot().current.incarnation };
    let settings = Arc::new(Settings::new(start.config, me.incarnation, "/data".to_owned()));
    let local = Local { broker: Some(settings.broker_id), config: start.config.clone() };
    let directory = Arc::new(Directory::new(Image::new(local)));
    let peers = sessions(&mut start, me, &qstate, &directory);
    let shared = Arc::new(Shared::new(directory, settings, start.dice.number()));
    let stores = Stores { data_dir, qstate, journal, store, remembered, orphans, peers, me };
    Ok(Process::new(
        start.number,
        shared,
        stores,
        (start.sync_all_above, start.segment_divisor, start.cluster.room, start.cluster.timing, start.cluster.patience),
    ))
}

fn told_start(told: ToldStart) -> PeerStart {
    PeerStart { incarnation: told.incarnation, nonce: told.nonce }
}

fn sessions(start: &mut Start<'_>, me: Peer, qstate: &QState, directory: &Arc<Directory>) -> Peers {
    let brokers = start.cluster.brokers.clone();
    let seed = if brokers.is_empty() { 0 } else { start.dice.number() };
    let boot = qstate.boot();
    let starts = boot.earlier.iter().chain([&boot.current]);
    let start_of = |boot: &BootRecord| PeerStart { incarnation: boot.incarnation, nonce: boot.nonce };
    let local = LocalBroker {
        cluster_id: "simulated".to_owned(),
        broker: me.key.broker,
        directory: me.key.directory,
        starts: starts.filter(|boot| boot.directory == me.key.directory).map(start_of).collect(),
        told: qstate.told().map(|told| (told.broker, told_start(told))).collect(),
        generation: 0,
    };
    let seen = |seen: SeenStart| {
        let start = PeerStart { incarnation: seen.incarnation, nonce: seen.nonce };
        SeenPeer { broker: seen.broker, directory: seen.directory, start }
    };
    let seen: Vec<SeenPeer> = qstate.seen().map(seen).collect();
    Peers::new(&local, brokers, &seen, &start.cluster.sessions, Arc::clone(directory), seed)
}

fn remembered(data_dir: &DataDir, qstate: &QState) -> BTreeMap<TopicPartition, Remembered> {
    let clean = data_dir.was_clean() || qstate.boot().same_boot();
    let known = |state: &millrace_storage::PartitionState| Known::from_state(state, clean);
    let remembered = |state| Remembered { known: known(state), promises: Promises::from(state) };
    qstate.partitions().map(|(tp, state)| (tp, remembered(state))).collect()
}

/// Finds what deletions and moves have left on the disk, forgets what may go, and removes what has moved away.
fn orphans(
    disk: &Arc<dyn Disk>,
    store: &MetadataStore,
    qstate: &mut QState,
    remembered: &mut BTreeMap<TopicPartition, Remembered>,
    me: ReplicaKey,
) -> Result<Orphans, DiskError> {
    let entries = match disk.list(Path::new(TOPICS_DIR)) {
        Err(error) if error.is_not_found() => Vec::new(),
        entries => entries?,
    };
    let directories = entries.iter().filter_map(|entry| parse_partition_dir(&entry.name)).collect();
    let promises = remembered.iter().map(|(partition, known)| (*partition, known.promises.clone())).collect();
    let orphans = Orphans::find(store.image(), &promises, &directories, me);
    let records = orphans.records();
    if !records.is_empty() {
        qstate.put(&records)?;
        qstate.flush()?;
    }
    for (partition, promises) in orphans.retired() {
        remove_partition_dir(&**disk, *partition)?;
        remembered.insert(*partition, Remembered { promises: promises.clone(), ..Remembered::default() });
    }
    remembered.retain(|partition, _| qstate.partition(*partition).is_some());
    Ok(orphans)
}

fn metadata(
    start: &Start<'_>,
    data_dir: &DataDir,
    qstate: &QState,
    options: JournalOptions,
) -> Result<(MetadataStore, Journal), String> {
    let disk = data_dir.disk();
    let create = data_dir.is_fresh() || qstate.partitions().next().is_none();
    disk.create_dir(Path::new(METADATA_DIR)).map_err(|error| error.to_string())?;
    disk.sync_dir(Path::new("")).map_err(|error| error.to_string())?;
    let options = JournalOptions { create, ..options };
    let opened = Journal::open(disk, Path::new(METADATA_DIR), "metadata", options);
    let (journal, records, _report) = opened.map_err(|error| error.to_string())?;
    let key = ReplicaKey { broker: start.broker, directory: data_dir.identity().directory_id };
    let is_witness = start.cluster.witnesses.contains(&start.broker);
    let role = if is_witness { BrokerRole::Witness } else { BrokerRole::Data };
    let broker = registration(key, start.config.value("broker.rack"), qstate.boot().current.incarnation, role);
    let mut dice = start.dice.clone();
    let options = StoreOptions {
        cluster_id: data_dir.identity().cluster_id.clone(),
        members: members(start),
        broker,
        config: start.config.clone(),
        seed: u128::from(dice.number()) << 64 | u128::from(dice.number()),
    };
    let store = MetadataStore::new(options, &records).map_err(|error| error.to_string())?;
    Ok((store, journal))
}

fn members(start: &Start<'_>) -> Members {
    let member = |broker: &BrokerId| (*broker, Member { host: host(*broker), port: 9092 });
    match &start.cluster.brokers[..] {
        [] => Members::alone(start.broker),
        brokers => Members::new(brokers.iter().map(member).collect()),
    }
}
