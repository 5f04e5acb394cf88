//! A start of the broker on a disk, in the order of the real one: data directory, write-ahead store, metadata journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millrace_metadata::config::BrokerConfig;
use millrace_metadata::log::Members;
use millrace_metadata::{Broker, Endpoint, Image, Local};
use millrace_node::metadata_store::{MetadataStore, StoreOptions};
use millrace_node::replica::Promises;
use millrace_node::{Directory, Settings, Shared};
use millrace_storage::{
    DataDir, Disk, Journal, JournalOptions, Known, METADATA_DIR, NewBoot, NewIdentity, QSTATE_DIR, QState, SimDisk,
};
use millrace_types::{BrokerId, DirectoryId};
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
    let qstate = qstate.map_err(|error| error.to_string())?;
    let remembered = remembered(&data_dir, &qstate);
    let (store, journal) = metadata(&start, &data_dir, &qstate, options)?;
    let incarnation = qstate.boot().current.incarnation;
    let settings = Arc::new(Settings::new(start.config, incarnation, "/data".to_owned()));
    let local = Local { broker: Some(settings.broker_id), config: start.config.clone() };
    let directory = Arc::new(Directory::new(Image::new(local)));
    let shared = Arc::new(Shared::new(directory, settings, start.dice.number()));
    let stores = Stores { data_dir, qstate, journal, store, remembered };
    Ok(Process::new(start.number, shared, stores, (start.sync_all_above, start.segment_divisor)))
}

fn remembered(data_dir: &DataDir, qstate: &QState) -> BTreeMap<millrace_types::TopicPartition, Remembered> {
    let clean = data_dir.was_clean() || qstate.boot().same_boot();
    let known = |state: &millrace_storage::PartitionState| Known::from_state(state, clean);
    let remembered = |state| Remembered { known: known(state), promises: Promises::from(state) };
    qstate.partitions().map(|(tp, state)| (tp, remembered(state))).collect()
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
    let endpoint = Endpoint { listener: LISTENER.to_owned(), host: "b1".to_owned(), port: 9092 };
    let broker = Broker {
        id: BrokerId(1),
        rack: None,
        endpoints: vec![endpoint],
        directory: data_dir.identity().directory_id,
        incarnation: qstate.boot().current.incarnation,
    };
    let mut dice = start.dice.clone();
    let options = StoreOptions {
        cluster_id: data_dir.identity().cluster_id.clone(),
        members: Members::alone(broker.id),
        broker,
        config: start.config.clone(),
        seed: u128::from(dice.number()) << 64 | u128::from(dice.number()),
    };
    let store = MetadataStore::new(options, &records).map_err(|error| error.to_string())?;
    Ok((store, journal))
}
