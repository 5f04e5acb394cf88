//! A broker's life: start in the order that makes every promise hold, serve, stop.
//!
//! ```text
//! lock the data directory -> write-ahead store (this start's Boot record is durable) -> bind listeners
//! -> replay the metadata -> storage threads -> arbiters -> sessions with other brokers
//! -> register, open the logs, elect -> accept connections
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use millrace_metadata::log::Members;
use millrace_metadata::{Broker, BrokerRole, Local};
use millrace_node::metadata_store::{MetadataStore, StoreOptions};
use millrace_node::replica::Promises;
use millrace_node::{Directory, Settings};
use millrace_raft::ReplicaKey;
use millrace_storage::{
    DataDir, Disk, Journal, JournalOptions, Known, METADATA_DIR, NewBoot, NewIdentity, PartitionState, QSTATE_DIR,
    QState, StorageOptions, StorageThreads,
};
use millrace_types::{BrokerId, DirectoryId, TopicPartition};

use crate::actor::journal_thread::JournalThread;
use crate::actor::supervisor::{Remembered, Supervisor};
use crate::actor::threads::{Arbiters, Metadata};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::error::StartError;
use crate::local::LocalClient;
use crate::net::address::ListenerAddress;
use crate::net::listener::Listener;
use crate::orphans::Orphans;
use crate::shared::{Parts, Shared};
use crate::shutdown::{Running, Signals};
use crate::{banner, cluster, descriptors, http, janitor, logging, metrics, random};

/// How long the start waits for the leaders of all replicas before it serves those that have one.
const LEADERS: Duration = Duration::from_secs(30);

/// The same where other brokers may lead: they serve without this one, and it tells clients whom it knows.
const CLUSTER_LEADERS: Duration = Duration::from_secs(5);

/// Runs a broker until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub(crate) fn run(config: Config) -> Result<(), StartError> {
    logging::start(&config.broker)?;
    logging::abort_on_panic();
    descriptors::raise_limit();
    System::new().block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let (running, banner) = tokio::select! {
        started = start(config) => started?,
        signal = signals.wait() => {
            // Nothing was promised to anybody; the next start recovers what this one has begun.
            tracing::info!(signal, "stopped during the start");
            return Ok(());
        }
    };
    // Whoever started the broker may have closed its end already.
    let _unread = writeln!(std::io::stdout(), "{banner}");
    let signal = signals.wait().await;
    tracing::info!(signal, "stopping; a second signal ends at once");
    let clean = tokio::select! {
        clean = running.stop() => clean,
        signal = signals.wait() => {
            tracing::warn!(signal, "ended at once; the next start recovers");
            std::process::exit(1);
        }
    };
    tracing::info!(clean, "stopped");
    Ok(())
}

/// What the write-ahead store said when it was opened.
struct Opened {
    data_dir: DataDir,
    qstate: QState,
    remembered: BTreeMap<TopicPartition, Remembered>,
}

async fn start(config: Config) -> Result<(Running, String), StartError> {
    let clock = Clock::start();
    let recorder = metrics::install()?;
    let Opened { data_dir, mut qstate, mut remembered } = open(&config)?;
    let disk = Arc::clone(data_dir.disk());
    let listeners = config.listeners.iter().cloned().map(Listener::bind).collect::<Result<Vec<_>, _>>()?;
    let admin = config.admin.map(http::bind).transpose()?;
    let peers = config.members.as_ref().map(cluster::bind).transpose()?;
    let bound: Vec<ListenerAddress> = listeners.iter().map(|listener| listener.address.clone()).collect();

    let (store, journal) = metadata(&config, &data_dir, &qstate, &bound)?;
    let me = ReplicaKey { broker: node_id(&config), directory: data_dir.identity().directory_id };
    let orphans = Orphans::find(&*disk, store.image(), &qstate, me)?;
    orphans.forget(&*disk, &mut qstate, &mut remembered)?;
    let store = store.with_left_behind(orphans.left_behind());
    let incarnation = qstate.boot().current.incarnation;
    let log_dir = absolute(&config.data_dir).display().to_string();
    let settings = Arc::new(Settings::new(&config.broker, incarnation, log_dir));
    let local = Local { broker: Some(settings.broker_id), config: config.broker.clone() };
    let directory = Arc::new(Directory::new(millrace_metadata::Image::new(local)));
    let node = millrace_node::Shared::new(directory, settings, random::seed());

    let identity = cluster::Identity::of(&data_dir, &qstate);
    let options = StorageOptions {
        flush_threads: usize::try_from(config.broker.number("storage.flush.threads")).unwrap_or(1).max(1),
        ..StorageOptions::default()
    };
    let storage_bound = options.queue_capacity;
    let storage = StorageThreads::start(options, Arc::clone(&disk), qstate);
    let storage = storage.map_err(StartError::Thread)?;
    let shared = Shared::new(Parts {
        clock,
        arbiters: config.arbiters,
        node: Arc::new(node),
        storage: storage.handle(),
        storage_bound,
        disk,
        directory_id: data_dir.identity().directory_id,
        members: config.members.clone(),
        internal_listener: bound.first().map_or("", |address| &address.name).into(),
    });
    let journal = JournalThread::start(journal, Arc::clone(shared.inbox(shared.placement.metadata())));
    let journal = journal.map_err(StartError::Thread)?;
    let supervisor = Supervisor::new(remembered);
    let sessions = cluster::sessions(&shared, identity);
    let arbiters = Arbiters::start(&shared, Metadata { store, journal, supervisor }, sessions);
    let arbiters = arbiters.map_err(StartError::Thread)?;
    let peers = peers.map(|listener| cluster::start(&shared, listener)).transpose()?.flatten();

    orphans.remove(&shared.disk, &shared.storage);
    janitor::start(&shared, recorder.clone());
    let mut admin_address = None;
    let http = match admin {
        None => None,
        Some((listener, address)) => {
            admin_address = Some(address);
            let client = LocalClient::new(Arc::clone(&shared));
            Some(http::start(listener, http::State { shared: Arc::clone(&shared), client, recorder })?)
        }
    };
    let patience = if shared.members.is_some() { CLUSTER_LEADERS } else { LEADERS };
    if tokio::time::timeout(patience, shared.starting.wait()).await.is_err() {
        let missing = shared.starting.missing();
        tracing::warn!(missing, "some partitions have no leader yet; the others are served");
    }
    let accepting = listeners.into_iter().flat_map(|listener| listener.accept(&shared)).collect();
    shared.set_ready(true);
    let banner = banner::text(&config, data_dir.identity(), &bound, admin_address);
    Ok((Running { shared, accepting, http, arbiters, storage, peers, data_dir }, banner))
}

/// Locks the data directory and makes this start known to its write-ahead store.
fn open(config: &Config) -> Result<Opened, StartError> {
    let path = &config.data_dir;
    let named = config.members.as_ref().map(|members| members.cluster_id.clone());
    let cluster_id = named.clone().unwrap_or_else(|| banner::cluster_id(random::uuid()));
    let identity = NewIdentity { directory_id: DirectoryId(random::uuid()), cluster_id };
    let data_dir =
        DataDir::open(path, identity).map_err(|source| StartError::DataDir { path: absolute(path), source })?;
    let found = &data_dir.identity().cluster_id;
    if let Some(expected) = named.filter(|named| named != found) {
        return Err(StartError::WrongCluster { path: absolute(path), found: found.clone(), expected });
    }
    let boot = NewBoot {
        directory: data_dir.identity().directory_id,
        boot_id: data_dir.boot_id().to_owned(),
        nonce: random::seed(),
    };
    let options = JournalOptions { create: data_dir.is_fresh(), ..JournalOptions::default() };
    let qstate = QState::open(data_dir.disk(), Path::new(QSTATE_DIR), options, boot)?;
    // Within one boot of the machine, the page cache holds what was written, whatever became of the process.
    let clean = data_dir.was_clean() || qstate.boot().same_boot();
    let remembered =
        |state: &PartitionState| Remembered { known: Known::from_state(state, clean), promises: Promises::from(state) };
    let remembered = qstate.partitions().map(|(partition, state)| (partition, remembered(state))).collect();
    Ok(Opened { data_dir, qstate, remembered })
}

/// The metadata store with its journal.
fn metadata(
    config: &Config,
    data_dir: &DataDir,
    qstate: &QState,
    bound: &[ListenerAddress],
) -> Result<(MetadataStore, Journal), StartError> {
    let disk: &Arc<dyn Disk> = data_dir.disk();
    // A start that ended between the two stores has left a write-ahead store that knows no partition.
    let create = data_dir.is_fresh() || qstate.partitions().next().is_none();
    let options = JournalOptions { create, ..JournalOptions::default() };
    disk.create_dir(Path::new(METADATA_DIR))?;
    disk.sync_dir(Path::new(""))?;
    let (journal, records, report) = Journal::open(disk, Path::new(METADATA_DIR), "metadata", options)?;
    tracing::debug!(records = records.len(), ?report, "metadata journal");
    let id = node_id(config);
    let told = config.members.as_ref().and_then(|members| members.brokers.get(&id));
    let role = told.map_or(BrokerRole::Data, |told| told.role.of_log());
    let broker = Broker {
        id,
        rack: config.broker.value("broker.rack").filter(|rack| !rack.is_empty()).or_else(|| told?.rack.clone()),
        endpoints: config.advertised.endpoints(bound, &banner::host_name()),
        directory: data_dir.identity().directory_id,
        incarnation: qstate.boot().current.incarnation,
        role,
    };
    let options = StoreOptions {
        cluster_id: data_dir.identity().cluster_id.clone(),
        members: config.members.as_ref().map_or_else(|| Members::alone(id), config::Members::of_log),
        broker,
        config: config.broker.clone(),
        seed: random::uuid().as_u128(),
    };
    Ok((MetadataStore::new(options, &records)?, journal))
}

fn node_id(config: &Config) -> BrokerId {
    BrokerId(i32::try_from(config.broker.number("node.id")).unwrap_or(i32::MAX))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
