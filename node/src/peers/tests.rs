//! Two brokers whose sessions are joined by a perfect network, and what replicas are told.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::{Image, Local};
use millrace_raft::{Acknowledged, BeginEpoch, ConfigurationId, FetchRequest, Message, Position, ReplicaKey};
use millrace_storage::{Disk, FaultPlan, Known, Log, LogConfig, LogView, SimDisk};
use millrace_types::{BrokerId, DirectoryId, Instant, Now, TopicId, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::core::Core;
use crate::directory::{Directory, Leadership, PartitionView};
use crate::peer::{
    LENGTH_LEN, LocalBroker, PeerEvent, PeerFrame, PeerSettings, Plane, PlaneMessage, Refusal, SLICE, SLICES_IN_FLIGHT,
    Start, decode, hello_frame, keepalive_frame,
};
use crate::testing::at_ms;

const CLUSTER: &str = "millrace";

fn tp(number: usize) -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(7)), i32::try_from(number).expect("small"))
}

fn directory_of(broker: i32) -> DirectoryId {
    DirectoryId::from_u128(0xd0 + u128::try_from(broker).expect("positive"))
}

fn key(broker: i32) -> ReplicaKey {
    ReplicaKey { broker: BrokerId(broker), directory: directory_of(broker) }
}

fn log_view() -> LogView {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1, FaultPlan::default()));
    let known = Known { clean: true, ..Known::default() };
    let config = LogConfig::default();
    let (log, _) = Log::open(&disk, Path::new("log"), tp(0), config, &known, at_ms(0)).expect("opens");
    log.view()
}

/// A broker and what its replicas were told.
struct Side {
    core: Peers,
    directory: Arc<Directory>,
    told: Vec<(Vec<TopicPartition>, News)>,
    delivered: Vec<(TopicPartition, ReplicaEventName)>,
    planes: Vec<PlaneMessage>,
}

type ReplicaEventName = String;

impl Side {
    fn new(broker: i32, incarnation: u64) -> Self {
        let local = LocalBroker {
            cluster_id: CLUSTER.to_owned(),
            broker: BrokerId(broker),
            directory: directory_of(broker),
            starts: (1..=incarnation).map(|number| Start { incarnation: number, nonce: number }).collect(),
            generation: 0,
        };
        let image = Image::new(Local { broker: Some(BrokerId(broker)), config: BrokerConfig::default() });
        let directory = Arc::new(Directory::new(image));
        let brokers = [1, 2].map(BrokerId);
        let core = Peers::new(&local, brokers, &[], &PeerSettings::default(), Arc::clone(&directory), 7);
        Self { core, directory, told: Vec::new(), delivered: Vec::new(), planes: Vec::new() }
    }

    fn lead(&self, partition: TopicPartition, leader: Option<i32>, epoch: i32, log: &LogView) {
        let view = Arc::new(PartitionView::new(partition, log.clone()));
        view.set_leadership(Leadership { epoch, leader: leader.map(BrokerId), is_own: false });
        self.directory.publish(view);
    }
}

/// Both sides, and what is on its way: to which side, and what.
struct Pair {
    now: Now,
    sides: BTreeMap<i32, Side>,
    mail: VecDeque<(i32, PeersEvent)>,
    timers: BTreeMap<i32, Instant>,
    /// By number: an even connection belongs to broker 1, the odd one after it to broker 2.
    links: u64,
    refused: Vec<Refusal>,
}

impl Pair {
    fn new() -> Self {
        let sides = BTreeMap::from([(1, Side::new(1, 1)), (2, Side::new(2, 1))]);
        let mut pair = Self {
            now: at_ms(0),
            sides,
            mail: VecDeque::new(),
            timers: BTreeMap::new(),
            links: 0,
            refused: Vec::new(),
        };
        for side in [1, 2] {
            pair.step(side, PeersEvent::Start);
        }
        pair.settle();
        pair
    }

    fn step(&mut self, side: i32, event: PeersEvent) {
        let Some(at) = self.sides.get_mut(&side) else { return };
        let mut out = Vec::new();
        at.core.step(self.now, event, &mut out);
        let other = 3 - side;
        for effect in out {
            let at = self.sides.get_mut(&side).expect("it stepped");
            match effect {
                PeersEffect::Dial { broker, shard, attempt } => {
                    assert_eq!((side, broker), (1, BrokerId(2)), "the smaller id dials");
                    let event = if self.sides.contains_key(&other) {
                        self.links += 2;
                        PeerEvent::Connected { shard, attempt, connection: self.links }
                    } else {
                        PeerEvent::DialFailed { shard, attempt, refused: true }
                    };
                    self.mail.push_back((side, PeersEvent::Peer { broker, event }));
                }
                PeersEffect::Write { connection, frame } => {
                    let there = if side == 1 { connection + 1 } else { connection - 1 };
                    let bytes = frame.len();
                    let written = PeerEvent::Written { connection, bytes };
                    self.mail.push_back((side, PeersEvent::Peer { broker: BrokerId(other), event: written }));
                    let frame = frame.to_bytes().slice(LENGTH_LEN..);
                    let greets = side == 1 && matches!(decode(frame.clone()), Ok(PeerFrame::Hello(_)));
                    let event = PeerEvent::Frame { connection: there, frame: frame.clone() };
                    let event = if greets {
                        PeersEvent::Accepted { connection: there, frame }
                    } else {
                        PeersEvent::Peer { broker: BrokerId(side), event }
                    };
                    self.mail.push_back((other, event));
                }
                PeersEffect::Remember { token, seen } => {
                    let event = PeerEvent::Remembered { token };
                    self.mail.push_back((side, PeersEvent::Peer { broker: seen.broker, event }));
                }
                PeersEffect::Tell { partitions, news } => at.told.push((partitions, news)),
                PeersEffect::Deliver { from, messages } => {
                    for message in messages {
                        let (partition, event) = replica_event(from, BrokerId(side), message);
                        at.delivered.push((partition, format!("{event:?}")));
                    }
                }
                PeersEffect::Plane { message, .. } => at.planes.push(message),
                PeersEffect::Refused { reason, .. } => self.refused.push(reason),
                PeersEffect::Timer(when) => drop(self.timers.insert(side, when)),
                PeersEffect::Keepalives { connection, .. } => {
                    let there = if side == 1 { connection + 1 } else { connection - 1 };
                    let frame = keepalive_frame(1).slice(LENGTH_LEN..);
                    let event = PeerEvent::Frame { connection: there, frame };
                    self.mail.push_back((other, PeersEvent::Peer { broker: BrokerId(side), event }));
                }
                PeersEffect::Close { .. }
                | PeersEffect::Heard(_)
                | PeersEffect::Silent(_)
                | PeersEffect::Ahead { .. } => {}
            }
        }
    }

    fn settle(&mut self) {
        while let Some((side, event)) = self.mail.pop_front() {
            self.step(side, event);
        }
    }

    /// Lets time pass: less than what makes a session silent, since nobody says that he lives but once.
    fn pass(&mut self, time: Duration) {
        let until = self.now.instant.after(time);
        while let Some((&side, &at)) = self.timers.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| **at <= until) {
            self.timers.remove(&side);
            self.now.instant = self.now.instant.max(at);
            self.step(side, PeersEvent::Timer);
            self.settle();
        }
        self.now.instant = until;
    }

    /// Broker 2 is gone, and its connections are reset.
    fn crash(&mut self) {
        self.sides.remove(&2);
        for link in (2..=self.links).step_by(2) {
            let event = PeerEvent::Closed { connection: link };
            self.step(1, PeersEvent::Peer { broker: BrokerId(2), event });
        }
        self.settle();
    }

    fn told(&mut self) -> Vec<(Vec<TopicPartition>, News)> {
        std::mem::take(&mut self.sides.get_mut(&1).expect("broker 1 stays").told)
    }
}

fn is_down(news: News) -> bool {
    matches!(news, News::Down { broker: BrokerId(2), .. })
}

#[test]
fn a_replica_that_is_made_later_is_told_who_is_heard() {
    let mut pair = Pair::new();
    assert_eq!(pair.told(), [], "nobody is hosted");
    pair.step(1, PeersEvent::Hosted(tp(0)));
    let told = pair.told();
    assert!(matches!(told.as_slice(), [(to, News::Up(peer))] if *to == [tp(0)] && peer.key == key(2)), "{told:?}");
    pair.step(1, PeersEvent::Unhosted(tp(0)));
    pair.crash();
    assert_eq!(pair.told(), [], "nobody is left to be told");
}

#[test]
fn messages_reach_the_replica_they_are_for_in_their_order() {
    let mut pair = Pair::new();
    for epoch in 1..=3 {
        let message = Message::BeginEpoch(BeginEpoch { epoch });
        let (to, records) = (key(1), Bytes::new());
        pair.step(2, PeersEvent::Send { partition: tp(4), to, message, records, catch_up: false });
    }
    pair.settle();
    assert!(pair.sides[&1].delivered.is_empty(), "nothing leaves before the turn ends");
    let message = PlaneMessage { plane: Plane::Metadata, body: Bytes::from_static(b"chosen") };
    pair.step(2, PeersEvent::SendPlane { to: BrokerId(1), message: message.clone() });
    pair.step(2, PeersEvent::Flush);
    pair.settle();
    let delivered = &pair.sides[&1].delivered;
    assert_eq!(delivered.len(), 3);
    for (epoch, (partition, event)) in (1..).zip(delivered) {
        assert_eq!(*partition, tp(4));
        assert!(event.contains(&format!("epoch: {epoch}")), "{event}");
    }
    assert_eq!(pair.sides[&1].planes, [message]);
}

#[test]
fn who_asks_a_replica_that_is_not_there_is_told_so() {
    let mut pair = Pair::new();
    let epoch = 3;
    let request = FetchRequest {
        epoch,
        position: Position { epoch, offset: 7 },
        acknowledged: Acknowledged { epoch, offset: 7 },
        recovering: false,
        unfit: false,
        configuration: ConfigurationId { generation: 0, epoch: 0, version: 1 },
        high_watermark: 7,
        log_start: 0,
    };
    let ask = |pair: &mut Pair, to: ReplicaKey| {
        let (message, records) = (Message::Fetch(request), Bytes::new());
        pair.step(2, PeersEvent::Send { partition: tp(4), to, message, records, catch_up: false });
        pair.step(2, PeersEvent::Flush);
        pair.settle();
        std::mem::take(&mut pair.sides.get_mut(&2).expect("lives").delivered)
    };
    let answers = ask(&mut pair, key(1));
    assert!(matches!(&answers[..], [(at, text)] if *at == tp(4) && text.contains("NotLeader")), "{answers:?}");
    let wiped = ReplicaKey { broker: BrokerId(1), directory: directory_of(9) };
    assert_eq!(ask(&mut pair, wiped), [], "it is another replica");
    pair.step(1, PeersEvent::Hosted(tp(4)));
    assert_eq!(ask(&mut pair, key(1)), [], "the replica answers for itself");
}

#[test]
fn replicas_hear_of_a_lost_leader_slice_by_slice() {
    const LED: usize = 3_000;
    let (mut pair, log) = (Pair::new(), log_view());
    for number in 0..LED + 10 {
        let leader = if number < LED { 2 } else { 1 };
        pair.sides[&1].lead(tp(number), Some(leader), 1, &log);
        pair.step(1, PeersEvent::Hosted(tp(number)));
    }
    pair.told();
    pair.crash();
    let told = pair.told();
    let (others, slices) = told.split_first().expect("all is told");
    assert!(
        others.0 == (LED..LED + 10).map(tp).collect::<Vec<_>>() && is_down(others.1),
        "who is not led by it, at once"
    );
    assert_eq!(slices.iter().map(|(to, _)| to.len()).collect::<Vec<_>>(), [SLICE; SLICES_IN_FLIGHT]);
    assert!(slices.iter().all(|(_, news)| is_down(*news)));
    // One that waits hears of a leader from somebody else: it is told of the silence all the same.
    pair.sides[&1].lead(tp(LED - 1), Some(1), 2, &log);
    pair.step(1, PeersEvent::Leader(tp(LED - 1)));
    assert!(matches!(pair.told().as_slice(), [(to, news)] if *to == [tp(LED - 1)] && is_down(*news)));
    // A slice is decided: the next follows.
    for number in 0..SLICE {
        pair.sides[&1].lead(tp(number), None, 1, &log);
        pair.step(1, PeersEvent::Leader(tp(number)));
        assert_eq!(pair.told(), [], "that the old leader is none is no decision");
        pair.sides[&1].lead(tp(number), Some(1), 2, &log);
        pair.step(1, PeersEvent::Leader(tp(number)));
    }
    let told = pair.told();
    assert!(matches!(told.as_slice(), [(to, news)] if to.len() == SLICE && is_down(*news)), "{}", told.len());
    assert_eq!(pair.sides[&1].core.waiting(), LED - 5 * SLICE - 1);
    // The others are not decided in time: they make room.
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.told().iter().map(|(to, _)| to.len()).sum::<usize>(), LED - 5 * SLICE - 1);
    assert_eq!(pair.sides[&1].core.waiting(), 0);
}

#[test]
fn who_waits_is_told_of_the_silence_before_the_return() {
    const LED: usize = SLICE * SLICES_IN_FLIGHT + 100;
    let (mut pair, log) = (Pair::new(), log_view());
    for number in 0..LED {
        pair.sides[&1].lead(tp(number), Some(2), 1, &log);
        pair.step(1, PeersEvent::Hosted(tp(number)));
    }
    pair.crash();
    pair.told();
    pair.sides.insert(2, Side::new(2, 2));
    pair.step(2, PeersEvent::Start);
    pair.pass(Duration::from_millis(300));
    let told = pair.told();
    let [(late, down), (all, News::Up(peer)), ..] = told.as_slice() else { panic!("{}", told.len()) };
    assert!(is_down(*down));
    assert_eq!((late.len(), all.len(), peer.incarnation), (100, LED, 2));
    assert_eq!(pair.sides[&1].core.waiting(), 0);
}

#[test]
fn a_stranger_is_refused() {
    let mut pair = Pair::new();
    let hello = crate::peer::Hello {
        cluster_id: CLUSTER.to_owned(),
        protocol: 1,
        broker: BrokerId(9),
        to: BrokerId(2),
        directory: directory_of(9),
        starts: vec![Start { incarnation: 1, nonce: 1 }],
        metadata_epoch: 0,
        generation: 0,
        shard: 0,
        shards: 2,
        attempt: 1,
    };
    let mut out = Vec::new();
    let side = pair.sides.get_mut(&2).expect("lives");
    let frame = hello_frame(&hello).slice(LENGTH_LEN..);
    side.core.step(at_ms(1), PeersEvent::Accepted { connection: 99, frame }, &mut out);
    let [PeersEffect::Write { connection: 99, frame }, PeersEffect::Close { connection: 99, .. }] = out.as_slice()
    else {
        panic!("{out:?}")
    };
    let answer = decode(frame.to_bytes().slice(LENGTH_LEN..)).expect("a frame");
    assert!(matches!(answer, PeerFrame::HelloRefused(Refusal::Broker)), "{answer:?}");
    out.clear();
    for garbage in [&b""[..], b"garbage", &[0; 64]] {
        let frame = Bytes::copy_from_slice(garbage);
        side.core.step(at_ms(1), PeersEvent::Accepted { connection: 99, frame }, &mut out);
        assert!(matches!(out.pop(), Some(PeersEffect::Close { connection: 99, .. })) && out.is_empty());
    }
}
