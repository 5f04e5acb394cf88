//! Tables of several brokers: sessions that come and go, elections by any broker, and that all agree in the end.

mod fleet;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::{
    Assignment, Broker, BrokerRole, Change, Command, Entry as Record, Image, Local, TopicIds, TopicRecord, apply, plan,
};
use millrace_raft::{Peer, ReplicaKey};
use millrace_storage::{Disk, FaultPlan, Known, Log, LogConfig, LogView, SimDisk};
use millrace_types::{BrokerId, DirectoryId, ErrorCode, Instant, LeaderEpoch, TopicId, TopicPartition};
use uuid::Uuid;

use super::{Leaders, LeadersEffect, LeadersEvent, LeadersMessage, MAX_ENTRIES};
use crate::call::{Caller, ConnectionId, ReplyTo};
use crate::core::Core;
use crate::directory::{Directory, Leadership, PartitionView};
use crate::testing::{Dice, at_ms};

const BROKERS: i32 = 4;
/// For how long a preferred leader is in sync before it asks.
const PATIENCE: Duration = Duration::from_secs(6);

fn tp(number: i32) -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(7)), number)
}

fn peer(broker: i32) -> Peer {
    let directory = DirectoryId::from_u128(0xd0 + u128::from(broker.unsigned_abs()));
    Peer { key: ReplicaKey { broker: BrokerId(broker), directory }, incarnation: 1 }
}

fn log_view() -> LogView {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1, FaultPlan::default()));
    let known = Known { clean: true, ..Known::default() };
    let (log, _) = Log::open(&disk, Path::new("log"), tp(0), LogConfig::default(), &known, at_ms(0)).expect("opens");
    log.view()
}

fn image(broker: i32) -> Image {
    let mut image = Image::new(Local { broker: Some(BrokerId(broker)), config: BrokerConfig::default() });
    apply(&mut image, &Record::new(vec![Change::Genesis { cluster_id: "test".to_owned(), acceptors: Vec::new() }]))
        .expect("applies");
    for id in 1..=BROKERS {
        let directory = peer(id).key.directory;
        let broker = Broker {
            id: BrokerId(id),
            rack: None,
            endpoints: Vec::new(),
            directory,
            incarnation: 1,
            role: BrokerRole::Data,
        };
        let planned = plan(&image, &mut TopicIds::new(1), Command::RegisterBroker(broker));
        apply(&mut image, &planned.entry.expect("an entry")).expect("applies");
    }
    // Broker 2 is meant to lead 40 partitions, broker 3 another.
    let assigned = |first: i32| Assignment::new([first, 1].map(BrokerId).to_vec());
    let partitions = (0..=40).map(|number| assigned(if number == 40 { 3 } else { 2 })).collect();
    let topic = TopicRecord { id: tp(0).topic, name: "topic".to_owned(), partitions, overrides: BTreeMap::new() };
    apply(&mut image, &Record::new(vec![Change::CreateTopic(topic)])).expect("applies");
    image
}

/// A broker's table, and what it asked of its replicas and callers.
struct Side {
    core: Leaders,
    directory: Arc<Directory>,
    transfers: Vec<(TopicPartition, ReplicaKey)>,
    told: Vec<(TopicPartition, ReplicaKey, LeaderEpoch)>,
    elected: Vec<(u64, ErrorCode)>,
    timer: Instant,
}

/// Brokers, and what is on its way between those that hear each other.
struct Net {
    sides: BTreeMap<i32, Side>,
    links: BTreeMap<(i32, i32), VecDeque<Bytes>>,
    log: LogView,
}

impl Net {
    fn new() -> Self {
        let side = |broker: i32| {
            let directory = Arc::new(Directory::new(image(broker)));
            let core = Leaders::new(BrokerId(broker), Arc::clone(&directory), Some(PATIENCE));
            let (transfers, told, elected) = Default::default();
            (broker, Side { core, directory, transfers, told, elected, timer: Instant::NEVER })
        };
        Self { sides: (1..=BROKERS).map(side).collect(), links: BTreeMap::new(), log: log_view() }
    }

    fn joined() -> Self {
        let mut net = Self::new();
        for a in 1..=BROKERS {
            for b in a + 1..=BROKERS {
                net.join(a, b);
            }
        }
        net.settle();
        net
    }

    fn step_at(&mut self, ms: u64, at: i32, event: LeadersEvent) {
        let side = self.sides.get_mut(&at).expect("a broker");
        let mut out = Vec::new();
        side.core.step(at_ms(ms), event, &mut out);
        for effect in out {
            match effect {
                LeadersEffect::Send { to, message } => {
                    if let Some(link) = self.links.get_mut(&(at, to.0)) {
                        link.push_back(message.body);
                    }
                }
                LeadersEffect::Hint { partition, leader, epoch } => side.told.push((partition, leader, epoch)),
                LeadersEffect::Transfer { partition, to } => side.transfers.push((partition, to)),
                LeadersEffect::Elected { to, error } => side.elected.push((to.token, error)),
                LeadersEffect::Timer(due) => side.timer = due,
            }
        }
    }

    fn step(&mut self, at: i32, event: LeadersEvent) {
        self.step_at(0, at, event);
    }

    fn join(&mut self, a: i32, b: i32) {
        for (by, of) in [(a, b), (b, a)] {
            self.links.insert((by, of), VecDeque::new());
        }
        for (by, of) in [(a, b), (b, a)] {
            self.step(by, LeadersEvent::Heard(peer(of)));
        }
    }

    /// The session ends, with what is on its way.
    fn part(&mut self, a: i32, b: i32) {
        for (by, of) in [(a, b), (b, a)] {
            if self.links.remove(&(by, of)).is_some() {
                self.step(by, LeadersEvent::Silent(BrokerId(of)));
            }
        }
    }

    fn deliver(&mut self, from: i32, to: i32) -> bool {
        let Some(body) = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return false };
        self.step(to, LeadersEvent::Plane { from: peer(from), body });
        true
    }

    fn settle(&mut self) {
        let mut ways: Vec<(i32, i32)> = self.links.keys().copied().collect();
        while !ways.is_empty() {
            ways = self.links.keys().copied().collect();
            ways.retain(|(from, to)| self.deliver(*from, *to));
        }
    }

    fn view(&mut self, at: i32, number: i32, leadership: (LeaderEpoch, Option<i32>), in_sync: &[i32]) {
        self.view_of(at, tp(number), leadership, in_sync);
    }

    /// What the replica on `at` says of the leader.
    fn view_of(&mut self, at: i32, partition: TopicPartition, leadership: (LeaderEpoch, Option<i32>), in_sync: &[i32]) {
        let directory = Arc::clone(&self.sides[&at].directory);
        let view = directory.partition(&partition).unwrap_or_else(|| {
            let view = Arc::new(PartitionView::new(partition, self.log.clone()));
            directory.publish(Arc::clone(&view));
            view
        });
        let before = view.changes();
        let (epoch, leader) = (leadership.0, leadership.1.map(BrokerId));
        view.set_leadership(Leadership { epoch, leader, is_own: leadership.1 == Some(at) });
        view.set_in_sync(in_sync.iter().copied().map(BrokerId).collect());
        if view.changes() != before {
            self.step(at, LeadersEvent::View(partition));
        }
    }

    fn leader(&self, at: i32, number: i32) -> Option<(i32, LeaderEpoch, Vec<i32>)> {
        let leader = self.sides[&at].directory.leader(&tp(number))?;
        Some((leader.broker.0, leader.epoch, leader.in_sync.iter().map(|broker| broker.0).collect()))
    }
}

fn asks(number: u64) -> ReplyTo {
    ReplyTo { caller: Caller::Connection(ConnectionId(3)), token: number }
}

#[test]
fn what_a_broker_leads_is_known_to_all_who_hear_it() {
    let mut net = Net::new();
    net.view(1, 0, (5, Some(1)), &[1, 2]);
    net.join(1, 2);
    net.join(1, 3);
    net.settle();
    for at in 1..=3 {
        assert_eq!(net.leader(at, 0), Some((1, 5, vec![1, 2])), "at {at}");
    }
    assert_eq!(net.leader(4, 0), None, "it hears nobody");
    net.view(1, 0, (5, Some(1)), &[1, 2, 3]);
    net.settle();
    assert_eq!(net.leader(3, 0), Some((1, 5, vec![1, 2, 3])), "changes follow");
    net.part(1, 3);
    assert_eq!(net.leader(3, 0), None, "a leader that is not heard is none");
    assert_eq!(net.leader(2, 0), Some((1, 5, vec![1, 2, 3])));
}

#[test]
fn the_greater_epoch_wins_whatever_comes_first() {
    let mut net = Net::joined();
    net.view(1, 0, (5, Some(1)), &[1]);
    net.settle();
    net.view(2, 0, (6, Some(2)), &[2]);
    net.settle();
    assert_eq!(net.leader(3, 0), Some((2, 6, vec![2])));
    // Who was paused says late what it led; nobody goes back.
    net.view(1, 0, (5, Some(1)), &[1, 4]);
    net.settle();
    assert_eq!(net.leader(3, 0), Some((2, 6, vec![2])));
    net.part(2, 3);
    assert_eq!(net.leader(3, 0), None, "an older epoch is no answer while the newer leader is not heard");
}

/// Pitfall 23: the epochs of a topic that was made again under the same name begin anew, so a hint of its namesake, which is late
/// and has the greater epoch, must not win over it.
#[test]
fn hole_23_hints_of_a_topic_say_nothing_of_its_namesake() {
    let mut net = Net::joined();
    let again = TopicPartition::new(TopicId(Uuid::from_u128(8)), 0);
    net.view_of(3, again, (1, Some(3)), &[3, 4]);
    net.settle();
    // The replica of the deleted topic has not heard yet that it is deleted.
    net.view(2, 0, (9, Some(2)), &[2]);
    net.settle();
    for at in 1..=BROKERS {
        let leader = net.sides[&at].directory.leader(&again).expect("a leader");
        assert_eq!((leader.broker.0, leader.epoch), (3, 1), "as broker {at} knows");
    }
    net.view_of(3, again, (1, None), &[]);
    net.settle();
    assert!((1..=BROKERS).all(|at| net.sides[&at].directory.leader(&again).is_none()), "nor does it stand in for it");
}

#[test]
fn a_replica_is_told_of_a_leader_it_does_not_know() {
    let mut net = Net::joined();
    net.view(2, 0, (4, None), &[]);
    net.view(1, 0, (5, Some(1)), &[1]);
    net.settle();
    assert_eq!(net.sides[&2].told, [(tp(0), peer(1).key, 5)]);
    assert!(net.sides[&3].told.is_empty(), "nothing is hosted there");
    assert_eq!(net.leader(2, 0), Some((1, 5, vec![1])));
    net.view(2, 0, (7, None), &[]);
    assert_eq!(net.leader(2, 0), None, "the replica knows that the epoch is over");
}

#[test]
fn who_leads_no_longer_is_named_no_longer() {
    let mut net = Net::joined();
    net.view(1, 0, (5, Some(1)), &[1]);
    net.settle();
    net.view(1, 0, (6, None), &[]);
    net.settle();
    assert_eq!(net.leader(3, 0), None);
    assert!(net.sides[&3].directory.hints().is_empty());
}

#[test]
fn what_is_led_no_longer_is_forgotten_when_all_know() {
    let mut net = Net::joined();
    for number in 0..3_000 {
        net.view(1, number, (1, Some(1)), &[1]);
    }
    net.settle();
    for number in 0..3_000 {
        net.view(1, number, (2, None), &[]);
    }
    assert_eq!(net.sides[&1].core.owned(), 3_000, "others do not know yet");
    net.settle();
    assert_eq!(net.sides[&1].core.owned(), 0);
    assert!((2..=4).all(|at| net.sides[&at].directory.hints().is_empty()));
    // Nobody listens: nothing is kept.
    let mut alone = Net::new();
    alone.view(1, 0, (1, Some(1)), &[1]);
    alone.view(1, 0, (2, None), &[]);
    assert_eq!(alone.sides[&1].core.owned(), 0);
}

#[test]
fn what_was_over_while_nobody_listened_is_swept() {
    let mut net = Net::joined();
    net.view(1, 0, (5, Some(1)), &[1]);
    net.settle();
    net.part(1, 3);
    // Broker 1 starts again and leads nothing.
    let directory = Arc::new(Directory::new(image(1)));
    let side = net.sides.get_mut(&1).expect("broker 1");
    (side.core, side.directory) = (Leaders::new(BrokerId(1), Arc::clone(&directory), Some(PATIENCE)), directory);
    net.join(1, 3);
    net.settle();
    assert_eq!(net.leader(3, 0), None);
    assert!(net.sides[&3].directory.hints().is_empty());
    net.step(3, LeadersEvent::Removed(BrokerId(1)));
    assert!(!net.sides[&3].directory.is_heard(BrokerId(1)));
}

#[test]
fn many_entries_go_a_few_messages_at_a_time() {
    let mut net = Net::new();
    let count = 6 * i32::try_from(MAX_ENTRIES).expect("small");
    for number in 0..count {
        net.view(1, number, (1, Some(1)), &[1]);
    }
    net.join(1, 2);
    let on_the_way = &net.links[&(1, 2)];
    assert_eq!(on_the_way.len(), 4, "the window");
    assert!(on_the_way.iter().all(|body| body.len() < 64 << 10));
    net.settle();
    assert_eq!(net.sides[&2].directory.hints().len(), usize::try_from(count).expect("small"));
}

#[test]
fn an_election_is_carried_to_the_leader_and_answered_when_it_is_done() {
    let mut net = Net::joined();
    net.view(1, 0, (5, Some(1)), &[1, 2]);
    net.settle();
    let deadline = at_ms(500).instant;
    for (at, number) in [(1, 10), (4, 40)] {
        net.step(at, LeadersEvent::Elect { from: asks(number), partition: tp(0), to: BrokerId(2), deadline });
    }
    net.settle();
    assert_eq!(net.sides[&1].transfers, [(tp(0), peer(2).key); 2], "asked here, and asked elsewhere");
    assert!(net.sides[&4].elected.is_empty());
    net.view(2, 0, (6, Some(2)), &[2, 1]);
    net.view(1, 0, (6, Some(2)), &[]);
    net.settle();
    assert_eq!(net.sides[&1].elected, [(10, ErrorCode::None)]);
    assert_eq!(net.sides[&4].elected, [(40, ErrorCode::None)]);
}

#[test]
fn an_election_that_does_not_come_times_out() {
    let mut net = Net::joined();
    net.view(1, 0, (5, Some(1)), &[1]);
    net.settle();
    let deadline = at_ms(500).instant;
    net.step(4, LeadersEvent::Elect { from: asks(1), partition: tp(0), to: BrokerId(2), deadline });
    net.step(4, LeadersEvent::Elect { from: asks(2), partition: tp(9), to: BrokerId(2), deadline });
    net.step(4, LeadersEvent::Elect { from: asks(3), partition: tp(0), to: BrokerId(1), deadline });
    net.settle();
    assert!(net.sides[&1].transfers.is_empty(), "broker 2 is not in sync");
    assert_eq!(net.sides[&4].elected, [(2, ErrorCode::LeaderNotAvailable), (3, ErrorCode::None)]);
    assert_eq!(net.sides[&4].timer, deadline);
    net.step_at(500, 4, LeadersEvent::Timer);
    assert_eq!(net.sides[&4].elected.last(), Some(&(1, ErrorCode::RequestTimedOut)));
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let mut net = Net::joined();
    net.step(1, LeadersEvent::Plane { from: peer(2), body: Bytes::from_static(&[9, 9]) });
    let stale = LeadersMessage::Taken { stream: 77, number: 3 };
    net.step(1, LeadersEvent::Plane { from: peer(2), body: stale.encode().body });
    net.view(1, 0, (1, Some(1)), &[1]);
    net.settle();
    assert_eq!(net.leader(2, 0), Some((1, 1, vec![1])));
}

/// Leaders move, sessions break with what is on their way; when all hear each other again, all know the same.
#[test]
fn tables_agree_when_sessions_hold() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut net = Net::joined();
        // The truth: epoch and leader of each partition.
        let mut truth: BTreeMap<i32, (LeaderEpoch, i32)> = BTreeMap::new();
        let broker = |dice: &mut Dice| 1 + i32::try_from(dice.roll(4)).expect("small");
        for _ in 0..300 {
            let (a, b) = (broker(&mut dice), broker(&mut dice));
            let number = i32::try_from(dice.roll(6)).expect("small");
            match dice.roll(10) {
                0..=2 => {
                    let (epoch, leader) = truth.get(&number).copied().unwrap_or((0, 0));
                    if leader != a {
                        truth.insert(number, (epoch + 1, a));
                        net.view(a, number, (epoch + 1, Some(a)), &[a]);
                    }
                }
                3 => {
                    // A replica learns who leads, which ends its own leadership.
                    if let Some((epoch, leader)) = truth.get(&number).copied().filter(|(_, leader)| *leader != a) {
                        net.view(a, number, (epoch, Some(leader)), &[]);
                    }
                }
                4 if a != b => net.part(a, b),
                5 if a != b => {
                    net.part(a, b);
                    net.join(a, b);
                }
                _ => drop(net.deliver(a, b)),
            }
        }
        for a in 1..=BROKERS {
            for b in a + 1..=BROKERS {
                if !net.links.contains_key(&(a, b)) {
                    net.join(a, b);
                }
            }
        }
        net.settle();
        for (number, (epoch, leader)) in &truth {
            for at in 1..=BROKERS {
                assert_eq!(net.leader(at, *number), Some((*leader, *epoch, vec![*leader])), "at {at}, seed {seed}");
            }
        }
    }
}

/// Has broker `at` look at its partitions at these moments, in milliseconds, and delivers what it says.
fn look(net: &mut Net, at: i32, moments: impl IntoIterator<Item = u64>) {
    for ms in moments {
        net.step_at(ms, at, LeadersEvent::Timer);
        net.settle();
    }
}

#[test]
fn a_preferred_leader_asks_once_it_has_been_in_sync_for_a_while() {
    let mut net = Net::joined();
    net.view(1, 0, (5, Some(1)), &[1]);
    net.settle();
    look(&mut net, 2, (1..=10).map(|seconds| seconds * 1_000));
    assert!(net.sides[&1].transfers.is_empty(), "broker 2 has not caught up");
    net.view(1, 0, (5, Some(1)), &[1, 2]);
    net.settle();
    look(&mut net, 2, (11..=16).map(|seconds| seconds * 1_000));
    assert!(net.sides[&1].transfers.is_empty(), "in sync for five seconds");
    look(&mut net, 2, [17_000]);
    assert_eq!(net.sides[&1].transfers, [(tp(0), peer(2).key)]);
    net.view(2, 0, (6, Some(2)), &[1, 2]);
    net.view(1, 0, (6, Some(2)), &[]);
    net.settle();
    look(&mut net, 2, (18..=30).map(|seconds| seconds * 1_000));
    assert_eq!(net.sides[&1].transfers.len(), 1, "it leads");
}

#[test]
fn the_while_begins_again_when_the_preferred_leader_falls_behind() {
    let mut net = Net::joined();
    net.view(1, 0, (5, Some(1)), &[1, 2]);
    net.settle();
    look(&mut net, 2, (1..=5).map(|seconds| seconds * 1_000));
    net.view(1, 0, (5, Some(1)), &[1]);
    net.settle();
    look(&mut net, 2, [6_000]);
    net.view(1, 0, (5, Some(1)), &[1, 2]);
    net.settle();
    look(&mut net, 2, (7..=12).map(|seconds| seconds * 1_000));
    assert!(net.sides[&1].transfers.is_empty());
    look(&mut net, 2, [13_000]);
    assert_eq!(net.sides[&1].transfers.len(), 1);
}

#[test]
fn a_few_partitions_are_asked_for_at_once_and_none_while_others_catch_up() {
    let mut net = Net::joined();
    for number in 0..40 {
        net.view(1, number, (5, Some(1)), if number == 39 { &[1] } else { &[1, 2] });
    }
    net.settle();
    look(&mut net, 2, (1..=20).map(|seconds| seconds * 1_000));
    assert!(net.sides[&1].transfers.is_empty(), "one of the forty catches up");
    net.view(1, 39, (5, Some(1)), &[1, 2]);
    net.settle();
    look(&mut net, 2, [21_000]);
    assert_eq!(net.sides[&1].transfers.len(), 16);
    assert!(net.sides[&3].transfers.is_empty() && net.sides[&4].transfers.is_empty());
}

#[test]
fn nobody_else_asks() {
    let mut net = Net::joined();
    net.view(4, 40, (5, Some(4)), &[1, 2, 4]);
    net.settle();
    for at in 1..=4 {
        look(&mut net, at, (1..=20).map(|seconds| seconds * 1_000));
    }
    assert!(net.sides[&4].transfers.is_empty(), "broker 1 has a replica too, and broker 3 is not in sync");
}
