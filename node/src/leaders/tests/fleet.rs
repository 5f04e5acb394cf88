//! The table of each broker beside real replicas of one partition: elections, deaths, and what everybody is told.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::{Broker, BrokerRole, Change, Command, Entry as Record, Image, Local, TopicIds, apply, plan};
use millrace_raft::{Peer, ReplicaKey};
use millrace_storage::{CrashKind, LogConfig};
use millrace_types::{BrokerId, DirectoryId, ErrorCode, Instant, TopicPartition};

use super::super::{Leaders, LeadersEffect, LeadersEvent};
use super::asks;
use crate::call::{Acks, PartitionAnswer};
use crate::core::Core;
use crate::directory::Directory;
use crate::replica::ReplicaEvent;
use crate::testing::{Cluster, batch};

fn id(at: usize) -> BrokerId {
    BrokerId(i32::try_from(at).expect("small"))
}

fn peer(at: usize) -> Peer {
    let directory = DirectoryId::from_u128(0xd0 + at as u128);
    Peer { key: ReplicaKey { broker: id(at), directory }, incarnation: 1 }
}

fn image(at: usize) -> Image {
    let mut image = Image::new(Local { broker: Some(id(at)), config: BrokerConfig::default() });
    apply(&mut image, &Record::new(vec![Change::Genesis { cluster_id: "test".to_owned(), acceptors: Vec::new() }]))
        .expect("applies");
    for of in 0..3 {
        let key = peer(of).key;
        let broker = Broker {
            id: key.broker,
            rack: None,
            endpoints: Vec::new(),
            directory: key.directory,
            incarnation: 1,
            role: BrokerRole::Data,
        };
        let planned = plan(&image, &mut TopicIds::new(1), Command::RegisterBroker(broker));
        apply(&mut image, &planned.entry.expect("an entry")).expect("applies");
    }
    image
}

struct Side {
    core: Leaders,
    directory: Arc<Directory>,
    seen: u64,
    timer: Instant,
    runs: bool,
}

struct Fleet {
    cluster: Cluster,
    sides: Vec<Side>,
    /// Messages on their way, each to arrive a millisecond later: sender, receiver, body.
    mail: VecDeque<(usize, usize, Bytes)>,
    elected: Vec<(u64, ErrorCode)>,
    partition: TopicPartition,
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let cluster = Cluster::led(seed, 3, LogConfig::default(), 2);
        let partition = cluster.view(0).partition;
        let side = |at: usize| {
            let directory = Arc::new(Directory::new(image(at)));
            directory.publish(cluster.view(at));
            let core = Leaders::new(id(at), Arc::clone(&directory), None);
            Side { core, directory, seen: u64::MAX, timer: Instant::NEVER, runs: true }
        };
        let sides = (0..3).map(side).collect();
        let mut fleet = Self { cluster, sides, mail: VecDeque::new(), elected: Vec::new(), partition };
        for at in 0..3 {
            for of in (0..3).filter(|of| *of != at) {
                fleet.step(at, LeadersEvent::Heard(peer(of)));
            }
        }
        fleet.run(500);
        fleet
    }

    fn step(&mut self, at: usize, event: LeadersEvent) {
        let mut out = Vec::new();
        self.sides[at].core.step(self.cluster.now, event, &mut out);
        for effect in out {
            match effect {
                LeadersEffect::Send { to, message } => {
                    let to = usize::try_from(to.0).expect("an index");
                    self.mail.push_back((at, to, message.body));
                }
                LeadersEffect::Hint { leader, epoch, .. } => {
                    self.cluster.step(at, ReplicaEvent::Hint { leader, epoch });
                }
                LeadersEffect::Transfer { to, .. } => self.cluster.step(at, ReplicaEvent::Transfer { to }),
                LeadersEffect::Elected { to, error } => self.elected.push((to.token, error)),
                LeadersEffect::Timer(due) => self.sides[at].timer = due,
            }
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.cluster.run(1);
            for (from, to, body) in std::mem::take(&mut self.mail) {
                if self.sides[from].runs && self.sides[to].runs {
                    self.step(to, LeadersEvent::Plane { from: peer(from), body });
                }
            }
            for at in 0..3 {
                if !self.sides[at].runs {
                    continue;
                }
                let changes = self.cluster.view(at).changes();
                if std::mem::replace(&mut self.sides[at].seen, changes) != changes {
                    self.step(at, LeadersEvent::View(self.partition));
                }
                if self.sides[at].timer <= self.cluster.now.instant {
                    self.sides[at].timer = Instant::NEVER;
                    self.step(at, LeadersEvent::Timer);
                }
            }
        }
    }

    fn crash(&mut self, at: usize) {
        self.cluster.crash(at, CrashKind::Process);
        self.sides[at].runs = false;
        for by in (0..3).filter(|by| *by != at) {
            self.step(by, LeadersEvent::Silent(id(at)));
        }
    }

    /// The leader that all brokers which run agree on, with the number of its in-sync replicas.
    fn agreed(&self) -> Option<(usize, usize)> {
        let told: Vec<_> = self.sides.iter().filter(|side| side.runs).collect();
        let told: Option<Vec<_>> = told.iter().map(|side| side.directory.leader(&self.partition)).collect();
        let (first, rest) = told.as_deref()?.split_first()?;
        let same = rest.iter().all(|other| (other.broker, other.epoch) == (first.broker, first.epoch));
        same.then(|| (usize::try_from(first.broker.0).expect("an index"), first.in_sync.len()))
    }

    /// Runs until all agree on another leader than `old`; returns it and how long that took.
    fn next_leader(&mut self, old: usize) -> (usize, u64) {
        for ms in 0..5_000 {
            if let Some((leader, _)) = self.agreed().filter(|(leader, _)| *leader != old) {
                return (leader, ms);
            }
            self.run(1);
        }
        panic!("no agreement");
    }
}

#[test]
fn everybody_is_told_of_the_next_leader_within_an_election() {
    for seed in 0..10 {
        let mut fleet = Fleet::new(seed);
        let (old, in_sync) = fleet.agreed().expect("all know the leader");
        assert_eq!(in_sync, 3, "seed {seed}");
        fleet.crash(old);
        let (new, took) = fleet.next_leader(old);
        assert!(took < 1_000, "{took} ms, seed {seed}");
        fleet.run(1_000);
        assert_eq!(fleet.agreed(), Some((new, 2)), "in-sync replicas follow, seed {seed}");
    }
}

#[test]
fn any_broker_moves_leadership_to_any_replica_in_sync() {
    for seed in 0..10 {
        let mut fleet = Fleet::new(seed);
        let (old, _) = fleet.agreed().expect("all know the leader");
        let token = fleet.cluster.produce(old, batch(&["a"]), Acks::All, Instant::NEVER);
        fleet.run(50);
        let answer = fleet.cluster.answers.remove(&token);
        assert!(matches!(answer, Some(PartitionAnswer::Produced { base_offset: 0, .. })), "{answer:?}");
        for asked in 0..3 {
            let (leader, _) = fleet.agreed().expect("all know the leader");
            let to = (leader + 1) % 3;
            let deadline = fleet.cluster.now.instant.after(std::time::Duration::from_secs(3));
            let from = asks(asked as u64);
            fleet.step(asked, LeadersEvent::Elect { from, partition: fleet.partition, to: id(to), deadline });
            let (next, took) = fleet.next_leader(leader);
            assert_eq!(next, to, "asked at {asked}, seed {seed}");
            assert!(took < 500, "{took} ms: nobody is missed");
            fleet.run(300);
            assert_eq!(fleet.elected.pop(), Some((asked as u64, ErrorCode::None)), "seed {seed}");
        }
        assert!((0..3).all(|at| fleet.cluster.view(at).log.log_end() == 1), "nothing is lost, seed {seed}");
    }
}
