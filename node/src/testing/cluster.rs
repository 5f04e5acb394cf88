//! Several brokers with a replica each of one partition: simulated disks, links in memory, one clock.
//!
//! Links delay; they lose what is sent while they are cut, and as much else as a test asks for. A crash drops the process; a
//! power loss also what its disk does not keep.

mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{Configuration, Envelope, Message, Peer, ReplicaKey, Voter, VoterRole};
use millrace_storage::{BatchHeader, BatchLimits, CrashKind, LogConfig, RecordIter, SimDisk, ValidBatches};
use millrace_types::{BrokerId, DirectoryId, Instant, Now, Offset, TopicId, TopicPartition};
use uuid::Uuid;

use super::cold::Memory;
use super::storage::{Done, Membership, Storage, Work};
use super::{Dice, START_WALL, at_ms};
use crate::call::{Acks, Caller, PartitionAnswer, PartitionOp, ReplyTo};
use crate::core::Core;
use crate::directory::PartitionView;
use crate::replica::{ForceRefusal, Forced, Replica, ReplicaEffect, ReplicaEvent, Room, TargetVoters};
use crate::settings::Replication;
use crate::witness::Witness;

/// Silence after which a session is down.
const SESSION_TIMEOUT: Duration = Duration::from_millis(400);

enum Happening {
    Frame {
        to: usize,
        envelope: Box<Envelope>,
        records: Bytes,
    },
    /// `by` has not heard `of` for the session timeout, if it still does not.
    Silence {
        by: usize,
        of: usize,
        heard: Instant,
    },
    Refetch(usize),
    Work {
        at: usize,
        incarnation: u64,
    },
}

/// One broker.
pub(crate) struct Node {
    pub(crate) storage: Storage,
    /// Its replica while the process runs, unless it is a witness.
    pub(crate) replica: Option<Replica>,
    /// Its witness while the process runs, if it is one.
    pub(crate) witness: Option<Witness>,
    /// While set, storage work waits.
    pub(crate) hold: bool,
    pub(crate) stopped: bool,
    timer: Instant,
    /// Brokers it hears.
    hears: BTreeSet<usize>,
    /// Whether its replica has retired, and nothing is here any more.
    pub(crate) retired: bool,
}

impl Node {
    pub(super) fn hears_nobody(&mut self) {
        self.hears.clear();
        self.timer = Instant::NEVER;
    }
}

/// Brokers with a replica each of one partition.
pub(crate) struct Cluster {
    pub(crate) now: Now,
    pub(crate) nodes: Vec<Node>,
    pub(crate) answers: BTreeMap<u64, PartitionAnswer>,
    /// Of a hundred frames, how many are lost.
    pub(crate) loss: u64,
    /// Milliseconds that a frame or a piece of storage work takes at most.
    pub(crate) delay: u64,
    pub(crate) dice: Dice,
    /// Kinds of messages that are lost on a way: sender, receiver, start of the kind's name.
    pub(crate) lost: Vec<(usize, usize, &'static str)>,
    /// Records on their way to this broker are damaged, so many times.
    pub(crate) damage: Option<(usize, u64)>,
    pub(crate) partition: TopicPartition,
    /// Who shall vote, once a test has said so.
    pub(super) target: Option<TargetVoters>,
    /// The brokers that shall have no replica.
    pub(super) gone: BTreeSet<usize>,
    /// The targets that were said to be reached, in order.
    pub(crate) reached: Vec<u64>,
    /// What became of forced configurations, in order.
    pub(crate) forced: Vec<Result<Forced, ForceRefusal>>,
    config: LogConfig,
    membership: Membership,
    /// Ways that are cut, each in one direction.
    cut: BTreeSet<(usize, usize)>,
    queue: BTreeMap<(Instant, u64), Happening>,
    happenings: u64,
    next_token: u64,
}

pub(super) fn key(at: usize) -> ReplicaKey {
    let id = i32::try_from(at).expect("small");
    ReplicaKey { broker: BrokerId(id), directory: DirectoryId::from_u128(0xd0 + at as u128) }
}

impl Cluster {
    pub(crate) fn new(seed: u64, brokers: usize, config: LogConfig, min_in_sync: usize) -> Self {
        Self::with_witness(seed, brokers, None, config, min_in_sync)
    }

    /// The same; this one of the brokers, if any, is the witness.
    pub(crate) fn with_witness(
        seed: u64,
        brokers: usize,
        witness: Option<usize>,
        config: LogConfig,
        min_in_sync: usize,
    ) -> Self {
        Self::with_spares(seed, (brokers, 0), witness, config, min_in_sync)
    }

    /// The same with further brokers that have nothing of the partition, and do not run yet.
    pub(crate) fn with_spares(
        seed: u64,
        (brokers, spares): (usize, usize),
        witness: Option<usize>,
        config: LogConfig,
        min_in_sync: usize,
    ) -> Self {
        let role = |at| if witness == Some(at) { VoterRole::Witness } else { VoterRole::Data };
        let voters = (0..brokers).map(|at| Voter { key: key(at), role: role(at) });
        let replication = Replication { min_in_sync, ..Replication::default() };
        let membership = Membership { first: Configuration::first(voters.collect()), replication };
        let node = |at: usize| Node {
            storage: Storage::of(key(at), seed.wrapping_mul(31).wrapping_add(at as u64)),
            replica: None,
            witness: None,
            hold: false,
            stopped: false,
            timer: Instant::NEVER,
            hears: BTreeSet::new(),
            retired: false,
        };
        let mut cluster = Self {
            now: at_ms(0),
            nodes: (0..brokers + spares).map(node).collect(),
            answers: BTreeMap::new(),
            loss: 0,
            delay: 1,
            dice: Dice::new(seed),
            lost: Vec::new(),
            damage: None,
            partition: TopicPartition::new(TopicId(Uuid::from_u128(7)), 0),
            target: None,
            gone: BTreeSet::new(),
            reached: Vec::new(),
            forced: Vec::new(),
            config,
            membership,
            cut: BTreeSet::new(),
            queue: BTreeMap::new(),
            happenings: 0,
            next_token: 0,
        };
        (0..brokers).for_each(|at| cluster.start(at));
        cluster
    }

    /// A cluster that has a leader which tells its latest offset.
    pub(crate) fn led(seed: u64, brokers: usize, config: LogConfig, min_in_sync: usize) -> Self {
        let mut cluster = Self::new(seed, brokers, config, min_in_sync);
        cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|at| cluster.view(at).tells_latest()));
        cluster
    }

    /// Gives every replica, those that start later too, other settings of replication.
    pub(crate) fn configure(&mut self, replication: Replication) {
        self.membership.replication = replication;
        for at in 0..self.nodes.len() {
            let log = Box::new(self.config.clone());
            self.step(at, ReplicaEvent::Configure { log, replication });
        }
    }

    /// Ends a process, and puts an empty disk in the place of its own.
    pub(crate) fn wipe(&mut self, at: usize) {
        self.crash(at, CrashKind::Power);
        let directory = DirectoryId::from_u128(self.nodes[at].storage.me().key.directory.0.as_u128() + 0x100);
        let seed = self.dice.roll(u64::MAX);
        self.nodes[at].storage = Storage::of(ReplicaKey { broker: key(at).broker, directory }, seed);
    }

    /// Tells every replica that the brokers shall vote under the directories that they have now.
    pub(crate) fn retarget(&mut self) {
        let role =
            |at: usize| if self.membership.first.is_witness(key(at)) { VoterRole::Witness } else { VoterRole::Data };
        let voter = |at: usize| Voter { key: self.nodes[at].storage.me().key, role: role(at) };
        let target: Vec<Voter> = (0..self.nodes.len()).map(voter).collect();
        for at in 0..self.nodes.len() {
            self.step(at, ReplicaEvent::Target(target.clone().into()));
        }
    }

    /// Starts the process of a broker.
    pub(crate) fn start(&mut self, at: usize) {
        let (partition, config, now) = (self.partition, self.config.clone(), self.now);
        assert!(!self.runs(at), "it runs");
        let (node, mut membership) = (&mut self.nodes[at], self.membership.clone());
        if membership.first.voters.iter().all(|voter| voter.key.broker != key(at).broker) {
            membership.first = Configuration::first(Vec::new());
        }
        if membership.first.is_witness(key(at)) {
            node.witness = Some(node.storage.witness(partition, membership));
        } else {
            node.replica = Some(node.storage.member(partition, config, membership, now));
        }
        (node.timer, node.stopped, node.retired) = (Instant::NEVER, false, false);
        self.step(at, ReplicaEvent::Start);
        self.hear();
        self.tell_target(at);
    }

    /// Ends the process of a broker.
    pub(crate) fn crash(&mut self, at: usize, kind: CrashKind) {
        self.crash_after(at, kind, |_| {});
    }

    /// The same, after something was done to the disk while no process runs.
    pub(crate) fn crash_after(&mut self, at: usize, kind: CrashKind, damage: impl FnOnce(&SimDisk)) {
        let node = &mut self.nodes[at];
        (node.replica, node.witness) = (None, None);
        node.storage = node.storage.crash(kind, damage);
        node.hears.clear();
        node.hold = false;
        self.hear();
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((self.now.instant.after(delay), self.happenings), happening);
    }

    fn some_delay(&mut self) -> Duration {
        Duration::from_micros(100 + self.dice.roll(self.delay * 1000))
    }

    /// Whether the files of a broker are in memory.
    pub(crate) fn memory(&self, at: usize) -> Arc<Memory> {
        Arc::clone(&self.nodes[at].storage.memory)
    }

    /// What is queued for others than a broker.
    pub(crate) fn room(&self, at: usize) -> Arc<Room> {
        Arc::clone(&self.nodes[at].storage.room)
    }

    pub(crate) fn view(&self, at: usize) -> Arc<PartitionView> {
        self.replica(at).view()
    }

    pub(crate) fn replica(&self, at: usize) -> &Replica {
        self.nodes[at].replica.as_ref().expect("it runs")
    }

    pub(crate) fn runs(&self, at: usize) -> bool {
        self.nodes[at].replica.is_some() || self.nodes[at].witness.is_some()
    }

    /// The broker that leads the greatest epoch.
    pub(crate) fn leader(&self) -> Option<usize> {
        let epoch = |at: &usize| Some((self.nodes[*at].replica.as_ref()?.view().leader_epoch()?, *at));
        (0..self.nodes.len()).filter_map(|at| epoch(&at)).max().map(|(_, at)| at)
    }

    pub(crate) fn produce(&mut self, at: usize, records: Bytes, acks: Acks, deadline: Instant) -> u64 {
        let batches = ValidBatches::check(records, &BatchLimits::default(), START_WALL).expect("valid");
        self.call(at, PartitionOp::Produce { batches, acks, deadline })
    }

    pub(crate) fn call(&mut self, at: usize, op: PartitionOp) -> u64 {
        self.next_token += 1;
        let from = ReplyTo { caller: Caller::Metadata, token: self.next_token };
        self.step(at, ReplicaEvent::Call { from, op });
        self.next_token
    }

    /// Delivers an event.
    pub(crate) fn step(&mut self, at: usize, event: ReplicaEvent) {
        let now = self.now;
        let mut effects = Vec::new();
        let node = &mut self.nodes[at];
        match (&mut node.replica, &mut node.witness) {
            (Some(replica), _) => replica.step(now, event, &mut effects),
            (None, Some(witness)) => witness.step(now, event, &mut effects),
            (None, None) => return,
        }
        let partition = self.partition;
        for effect in effects {
            match effect {
                ReplicaEffect::Put { token, records } => self.ask(at, Work::Put(partition, token, records)),
                ReplicaEffect::Flush(work) => self.ask(at, Work::Flush(partition, work)),
                ReplicaEffect::Prepare(job) => self.ask(at, Work::Prepare(partition, job)),
                ReplicaEffect::Upkeep(job) => self.ask(at, Work::Upkeep(partition, job)),
                ReplicaEffect::Run(job) => self.ask(at, Work::Run(job)),
                ReplicaEffect::Cut(job) => self.ask(at, Work::Cut(partition, job)),
                ReplicaEffect::Warm { token, job } => self.ask(at, Work::WarmReplica(partition, token, job)),
                ReplicaEffect::Answer { to, answer } => {
                    assert!(self.answers.insert(to.token, answer).is_none(), "a call is answered once");
                }
                ReplicaEffect::Send { to, message, records, .. } => self.send(at, to, message, records),
                ReplicaEffect::TargetReached { epoch, .. } => self.reached.push(epoch),
                ReplicaEffect::Forced { result, .. } => self.forced.push(result),
                ReplicaEffect::Timer(due) => self.nodes[at].timer = due,
                ReplicaEffect::Stopped => self.nodes[at].stopped = true,
            }
        }
        self.remove_retired(at);
    }

    fn ask(&mut self, at: usize, work: Work) {
        self.nodes[at].storage.work.push_back(work);
        let (delay, incarnation) = (self.some_delay(), self.nodes[at].storage.me().incarnation);
        self.after(delay, Happening::Work { at, incarnation });
    }

    fn send(&mut self, at: usize, to: ReplicaKey, message: Message, records: Bytes) {
        let from: Peer = self.nodes[at].storage.me();
        let receiver = usize::try_from(to.broker.0).expect("an index");
        let kind = format!("{message:?}");
        let is_lost = self.lost.iter().any(|(a, b, name)| (*a, *b) == (at, receiver) && kind.starts_with(name));
        let envelope = Box::new(Envelope { from, to, message });
        let records = self.damaged(receiver, records);
        let delay = self.some_delay();
        if is_lost || self.dice.roll(100) < self.loss {
            // Its session finds out, and is renewed.
            self.after(Duration::from_millis(300), Happening::Refetch(at));
            self.after(Duration::from_millis(300), Happening::Refetch(receiver));
            return;
        }
        self.after(delay, Happening::Frame { to: receiver, envelope, records });
    }

    fn damaged(&mut self, receiver: usize, records: Bytes) -> Bytes {
        match &mut self.damage {
            Some((at, left)) if *at == receiver && *left > 0 && !records.is_empty() => {
                *left -= 1;
                let mut bytes = records.to_vec();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                bytes.into()
            }
            _ => records,
        }
    }

    /// Does one piece of storage work.
    pub(crate) fn work_once(&mut self, at: usize) -> bool {
        let Some(work) = self.nodes[at].storage.work.pop_front() else { return false };
        if let Done::Replica(_, event) = self.nodes[at].storage.finish(work) {
            self.step(at, event);
        }
        true
    }

    /// Does all storage work of a broker.
    pub(crate) fn work(&mut self, at: usize) {
        while self.work_once(at) {}
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Frame { to, envelope, records } => {
                let from = usize::try_from(envelope.from.key.broker.0).expect("an index");
                if !self.cut.contains(&(from, to)) {
                    self.step(to, ReplicaEvent::Peer { envelope, records });
                }
            }
            Happening::Silence { by, of, heard } if !self.nodes[by].hears.contains(&of) => {
                let broker = key(of).broker;
                self.step(by, ReplicaEvent::SessionDown { broker, heard });
            }
            Happening::Silence { .. } => {}
            Happening::Refetch(at) => self.step(at, ReplicaEvent::Refetch),
            Happening::Work { at, incarnation } => {
                let node = &self.nodes[at];
                if !node.hold && self.runs(at) && node.storage.me().incarnation == incarnation {
                    self.work_once(at);
                }
            }
        }
    }

    /// Lets the next thing happen, if it is due by `end`.
    fn next(&mut self, end: Instant) -> bool {
        let timers = self.nodes.iter().enumerate().filter(|(at, _)| self.runs(*at));
        let timer = timers.map(|(at, node)| (node.timer, at)).min().filter(|(due, _)| *due <= end);
        let queued = self.queue.first_key_value().map(|(due, _)| due.0).filter(|due| *due <= end);
        let is_timer = timer.is_some_and(|(due, _)| queued.is_none_or(|queued| due < queued));
        let Some(due) = (if is_timer { timer.map(|(due, _)| due) } else { queued }) else { return false };
        self.pass_to(due.max(self.now.instant));
        if let Some((_, at)) = timer.filter(|_| is_timer) {
            self.nodes[at].timer = Instant::NEVER;
            self.step(at, ReplicaEvent::Timer);
        } else if let Some((_, happening)) = self.queue.pop_first() {
            self.happen(happening);
        }
        true
    }

    fn pass_to(&mut self, instant: Instant) {
        let since_start = instant.since(at_ms(0).instant);
        self.now = Now { instant, wall: START_WALL + i64::try_from(since_start.as_millis()).expect("small") };
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now.instant.after(Duration::from_millis(ms));
        while self.next(end) {}
        self.pass_to(end);
    }

    /// Runs until `reached` holds, which it must within 20 s; returns how many milliseconds that took.
    pub(crate) fn run_until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) -> u64 {
        let begun = self.now.instant;
        let end = begun.after(Duration::from_secs(20));
        while !reached(self) {
            assert!(self.next(end), "never comes: {what}: {}", self.describe());
        }
        u64::try_from(self.now.instant.since(begun).as_millis()).expect("small")
    }

    fn describe(&self) -> String {
        let one = |at: usize| {
            let replica = self.nodes[at].replica.as_ref().map(|replica| replica.consensus().status());
            format!("{at}: {replica:?}, {} pieces of work wait\n", self.nodes[at].storage.work.len())
        };
        (0..self.nodes.len()).map(one).collect()
    }

    /// All logs that run have the same end, last epoch and high watermark. Their starts may differ: a leader may not have heard what an
    /// earlier one has deleted.
    pub(crate) fn agree(&self) -> bool {
        let ends: BTreeSet<_> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].replica.is_some())
            .map(|at| self.view(at).log.clone())
            .map(|log| (log.log_end(), log.high_watermark(), log.epochs().latest()))
            .collect();
        ends.len() == 1 && ends.iter().all(|(end, high_watermark, _)| end == high_watermark)
    }
}

/// The values of all records of a log below `upto`, by offset.
pub(crate) fn records(view: &PartitionView, upto: Offset) -> BTreeMap<Offset, String> {
    let mut at = view.log.log_start();
    let start = at;
    let mut records = BTreeMap::new();
    while at < upto {
        let slice = view.log.read(at, upto, 1 << 20, true).expect("readable");
        if let Some(job) = slice.cold {
            job.run();
            continue;
        }
        assert!(slice.next > at, "progress at {at} of {upto}");
        at = slice.next;
        let mut rest = slice.bytes;
        while !rest.is_empty() {
            let header = BatchHeader::parse(&rest).expect("a batch");
            let bytes = rest.split_to(header.size());
            for record in RecordIter::new(&bytes).expect("records") {
                let record = record.expect("a record");
                let value = String::from_utf8(record.value.expect("a value").to_vec()).expect("text");
                if record.offset >= start {
                    assert_eq!(records.insert(record.offset, value), None, "offset {} twice", record.offset);
                }
            }
        }
    }
    records
}
