//! A process with its core, its disk, and what the test knows of it.

use std::collections::BTreeMap;

use millrace_raft::{Acknowledged, ConfigurationId, FetchBody, FetchRequest, FetchResponse, Message, Position};
use millrace_types::{BrokerId, DirectoryId, TopicId, TopicPartition};
use uuid::Uuid;

use crate::peer::{LocalBroker, Peer, PeerMessage, PeerSettings, Remembered, Start, shard_of};
use crate::wire::Frame;

/// Partitions of the test.
pub(crate) const PARTITIONS: usize = 6;
/// Votes and fetches, fetch responses, and those by the catch-up shard.
pub(crate) const CLASSES: usize = 3;
pub(crate) const CONTROL: usize = 0;
pub(crate) const CATCH_UP: usize = 2;
pub(crate) const SLOTS: usize = PARTITIONS * CLASSES;

/// The broker of a side: 0 dials, 1 accepts.
pub(crate) fn broker(side: usize) -> BrokerId {
    BrokerId(i32::try_from(side).expect("small") + 1)
}

pub(crate) fn partition(slot: usize) -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(0x70)), i32::try_from(slot / CLASSES).expect("small"))
}

/// The shard that a slot's messages use.
pub(crate) fn shard(slot: usize, shards: u8) -> u8 {
    match slot % CLASSES {
        CONTROL => 0,
        CATCH_UP => shards + 1,
        _ => shard_of(partition(slot), shards),
    }
}

/// Starts that a disk keeps, beside the one that the other broker remembers.
const KEPT: usize = 8;

/// What survives a process.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) directory: DirectoryId,
    /// Every start, the last one at the end.
    pub(crate) starts: Vec<Start>,
    /// The start that the other broker is known to remember.
    pub(crate) told: Option<Start>,
    pub(crate) remembered: BTreeMap<DirectoryId, Start>,
    /// Ghost: the last start with which a session began from this disk.
    pub(crate) accepted: BTreeMap<DirectoryId, Start>,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) side: usize,
    pub(crate) disk: usize,
    pub(crate) core: Peer,
    pub(crate) alive: bool,
    /// All starts of its disk up to its own.
    pub(crate) history: Vec<Start>,
    pub(crate) directory: DirectoryId,
    pub(crate) settings: PeerSettings,
    /// Number of the timer that counts.
    pub(crate) timer: u64,
    pub(crate) up: bool,
    pub(crate) ever_lagged: bool,
    /// When it started, in microseconds.
    pub(crate) born: u64,
    /// When its last put is durable: puts become so in their order.
    pub(crate) put: u64,
    /// Bytes written to the catch-up shard.
    pub(crate) caught_up: usize,
    pub(crate) sessions: u64,
    /// Messages of each slot given to the core while the session was up.
    pub(crate) sent: [i64; SLOTS],
    /// `sent` when the replicas were last told that messages may be lost.
    pub(crate) told: [i64; SLOTS],
    /// Last message of each slot that came, by sender.
    pub(crate) came: BTreeMap<usize, [i64; SLOTS]>,
    /// Whether the replicas were told since.
    pub(crate) excused: [bool; SLOTS],
}

impl Process {
    pub(crate) fn new(side: usize, disk: usize, store: &mut Disk, settings: PeerSettings, nonce: u64) -> Self {
        let incarnation = store.starts.last().map_or(1, |start| start.incarnation + 1);
        store.starts.push(Start { incarnation, nonce });
        let history = store.starts.clone();
        let local = LocalBroker {
            cluster_id: "millrace".to_owned(),
            broker: broker(side),
            directory: store.directory,
            starts: history[history.len().saturating_sub(KEPT)..].to_vec(),
            told: store.told.map(|start| (broker(1 - side), start)).into_iter().collect(),
            generation: 1,
        };
        let other = broker(1 - side);
        let seen = store.remembered.iter().map(|(directory, start)| Remembered {
            broker: other,
            directory: *directory,
            start: *start,
        });
        let core = Peer::new(local, other, seen, settings.clone(), nonce);
        Self {
            side,
            disk,
            core,
            alive: true,
            history,
            directory: store.directory,
            settings,
            timer: 0,
            up: false,
            ever_lagged: false,
            born: 0,
            put: 0,
            caught_up: 0,
            sessions: 0,
            sent: [0; SLOTS],
            told: [0; SLOTS],
            came: BTreeMap::new(),
            excused: [false; SLOTS],
        }
    }

    pub(crate) fn start(&self) -> Start {
        *self.history.last().expect("it has started")
    }

    /// The replicas of a shard, or all, are told to ask again.
    pub(crate) fn tell(&mut self, told: impl Fn(usize) -> bool) {
        for slot in (0..SLOTS).filter(|slot| told(*slot)) {
            self.told[slot] = self.sent[slot];
            self.excused[slot] = true;
        }
    }
}

/// The message `serial` of a slot, by the process `from`.
pub(crate) fn message(slot: usize, from: usize, serial: i64, records: Frame) -> PeerMessage {
    let sender = i64::try_from(from).expect("small");
    let message = if slot % CLASSES == CONTROL {
        Message::Fetch(FetchRequest {
            epoch: 1,
            position: Position::default(),
            acknowledged: Acknowledged::default(),
            recovering: false,
            unfit: false,
            configuration: ConfigurationId::default(),
            high_watermark: serial,
            log_start: sender,
        })
    } else {
        Message::FetchResponse(FetchResponse {
            epoch: i32::try_from(slot % CLASSES).expect("small"),
            leader: None,
            position: Position { epoch: 0, offset: serial },
            incarnation: 1,
            high_watermark: serial,
            log_start: sender,
            commit: None,
            unanimous: false,
            configuration: None,
            body: FetchBody::Records { upto: 0, markers: Vec::new(), spans: Vec::new() },
        })
    };
    PeerMessage { partition: partition(slot), to: DirectoryId::from_u128(1), message, records }
}

/// Slot, sender and serial of a message.
pub(crate) fn read(message: &PeerMessage) -> (usize, usize, i64) {
    let (class, serial, sender) = match &message.message {
        Message::Fetch(fetch) => (CONTROL, fetch.high_watermark, fetch.log_start),
        Message::FetchResponse(response) => {
            (usize::try_from(response.epoch).expect("small"), response.high_watermark, response.log_start)
        }
        _ => panic!("never sent"),
    };
    let number = usize::try_from(message.partition.partition).expect("small");
    (number * CLASSES + class, usize::try_from(sender).expect("small"), serial)
}
