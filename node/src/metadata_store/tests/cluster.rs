//! Three stores that hear each other: what is decided on one is done on all.

mod hole_23_same_name;
mod moving;

use std::collections::{BTreeMap, VecDeque};

use millrace_metadata::Proposer;
use millrace_metadata::log::Member;
use millrace_raft::{ReplicaKey, Voter, VoterRole};

use super::*;
use crate::metadata_store::SPREAD_WAIT;

struct Node {
    process: Proposer,
    store: MetadataStore,
    journal: Vec<Bytes>,
    replicas: BTreeMap<TopicPartition, Vec<Voter>>,
    witnesses: BTreeMap<TopicPartition, Vec<Voter>>,
    answers: Vec<(u64, CommandResult)>,
    timer: Instant,
    published: usize,
    /// The numbers of this start that were told.
    registered: Vec<u64>,
    retargeted: Vec<TopicPartition>,
    /// What was told to go, or to stay after all.
    retiring: Vec<(TopicPartition, bool)>,
    /// How often that was told again.
    reminded: usize,
}

/// Brokers 1 to 3, with time and messages in the test's hand.
struct Cluster {
    nodes: BTreeMap<i32, Node>,
    mail: VecDeque<(i32, MetadataEvent)>,
    /// Brokers whose messages are lost, in both directions.
    silent: BTreeSet<i32>,
    /// What the next broker that starts finds beside what its journal names.
    left: Vec<(TopicPartition, crate::metadata_store::Part)>,
    /// The broker that holds no data, if there is one.
    witness: Option<i32>,
    now: Now,
    token: u64,
}

fn directory(id: i32) -> DirectoryId {
    DirectoryId::from_u128(u128::try_from(id).unwrap() + 100)
}

fn store(process: Proposer, role: BrokerRole, journal: &[Bytes]) -> MetadataStore {
    let (id, incarnation) = (process.broker.0, process.incarnation);
    let member = Member { host: "h".to_owned(), port: 1 };
    let mut options = options(u128::try_from(id).unwrap() << 64 | u128::from(incarnation), incarnation);
    options.broker.id = BrokerId(id);
    options.broker.directory = process.directory;
    options.broker.role = role;
    options.members = Members::new((1..=3).map(|id| (BrokerId(id), member.clone())).collect());
    MetadataStore::new(options, journal).unwrap()
}

impl Cluster {
    /// All have started and hear each other; nothing is founded yet.
    fn new(witness: Option<i32>) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            mail: VecDeque::new(),
            silent: BTreeSet::new(),
            left: Vec::new(),
            witness,
            now: Now::default(),
            token: 0,
        };
        (1..=3).for_each(|id| cluster.start(id, 1, Vec::new()));
        cluster
    }

    fn founded() -> Self {
        Self::founded_with(None)
    }

    fn founded_with(witness: Option<i32>) -> Self {
        let mut cluster = Self::new(witness);
        cluster.pass(2_000);
        assert_eq!(cluster.nodes[&3].store.image().brokers().len(), 3);
        cluster
    }

    fn start(&mut self, id: i32, incarnation: u64, journal: Vec<Bytes>) {
        self.start_in(directory(id), id, incarnation, journal);
    }

    fn start_in(&mut self, directory: DirectoryId, id: i32, incarnation: u64, journal: Vec<Bytes>) {
        let role = if self.witness == Some(id) { BrokerRole::Witness } else { BrokerRole::Data };
        let process = Proposer { broker: BrokerId(id), directory, incarnation };
        let node = Node {
            process,
            store: store(process, role, &journal).with_left_behind(std::mem::take(&mut self.left)),
            journal,
            replicas: BTreeMap::new(),
            witnesses: BTreeMap::new(),
            answers: Vec::new(),
            timer: Instant::NEVER,
            published: 0,
            registered: Vec::new(),
            retargeted: Vec::new(),
            retiring: Vec::new(),
            reminded: 0,
        };
        self.nodes.insert(id, node);
        self.step(id, MetadataEvent::Start);
        let others: Vec<i32> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            let there = self.nodes[&other].process;
            self.step(id, MetadataEvent::BrokerUp(there));
            self.step(other, MetadataEvent::BrokerUp(process));
        }
    }

    fn step(&mut self, id: i32, event: MetadataEvent) {
        let mut out = Vec::new();
        let node = self.nodes.get_mut(&id).unwrap();
        node.store.step(self.now, event, &mut out);
        for effect in out {
            match effect {
                MetadataEffect::Persist { token, records, snapshot } => {
                    node.journal.extend(records);
                    if let Some(snapshot) = snapshot {
                        node.journal = snapshot;
                    }
                    self.mail.push_back((id, MetadataEvent::Persisted { token, result: Ok(()) }));
                }
                MetadataEffect::Replace { token, snapshot } => {
                    node.journal = snapshot;
                    self.mail.push_back((id, MetadataEvent::Persisted { token, result: Ok(()) }));
                }
                MetadataEffect::SendPeer { to, bytes } => {
                    if !self.silent.contains(&id) && !self.silent.contains(&to.0) {
                        let from = node.process;
                        self.mail.push_back((to.0, MetadataEvent::PeerMessage { from, bytes }));
                    }
                }
                MetadataEffect::Registered { start } => node.registered.push(start),
                MetadataEffect::Publish(_) => node.published += 1,
                MetadataEffect::CreateReplica { partition, voters, .. } => {
                    assert!(node.replicas.insert(partition, voters).is_none(), "created twice");
                }
                MetadataEffect::DeleteReplica { partition } => {
                    let gone = node.replicas.remove(&partition).or_else(|| node.witnesses.remove(&partition));
                    assert!(gone.is_some(), "deleted what is not there");
                }
                MetadataEffect::CreateWitness { partition, voters } => {
                    assert!(node.witnesses.insert(partition, voters).is_none(), "created twice");
                }
                MetadataEffect::RetargetReplica { partition } => node.retargeted.push(partition),
                MetadataEffect::RetireReplica { partition, retire: true }
                    if node.retiring.last() == Some(&(partition, true)) =>
                {
                    node.reminded += 1;
                }
                MetadataEffect::RetireReplica { partition, retire } => node.retiring.push((partition, retire)),
                MetadataEffect::ConfigureReplica { .. } => {}
                MetadataEffect::Answer { to, result } => node.answers.push((to.token, result)),
                MetadataEffect::Timer(at) => node.timer = at,
            }
        }
    }

    fn settle(&mut self) {
        while let Some((id, event)) = self.mail.pop_front() {
            self.step(id, event);
        }
    }

    /// Lets milliseconds pass, with every timer that is due.
    fn pass(&mut self, millis: u64) {
        let end = self.now.instant.after(std::time::Duration::from_millis(millis));
        self.settle();
        while let Some((id, at)) = self.nodes.iter().map(|(id, node)| (*id, node.timer)).min_by_key(|(_, at)| *at)
            && at <= end
        {
            self.now.instant = self.now.instant.max(at);
            self.nodes.get_mut(&id).unwrap().timer = Instant::NEVER;
            self.step(id, MetadataEvent::Timer);
            self.settle();
        }
        self.now.instant = end;
    }

    fn send(&mut self, id: i32, command: Command) -> u64 {
        self.token += 1;
        let from = ReplyTo { caller: Caller::Metadata, token: self.token };
        self.step(id, MetadataEvent::Command { from, command });
        self.token
    }

    fn create(&mut self, id: i32, topic: NewTopic) -> u64 {
        self.send(id, Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false }))
    }

    fn lead(&mut self) {
        for id in 1..=3 {
            let led: Vec<TopicPartition> = self.nodes[&id].replicas.keys().copied().collect();
            led.into_iter().for_each(|partition| self.step(id, MetadataEvent::ReplicaLed { partition }));
        }
    }

    fn answer(&self, id: i32, token: u64) -> Option<&CommandResult> {
        self.nodes[&id].answers.iter().find(|(answered, _)| *answered == token).map(|(_, result)| result)
    }
}

fn voter(id: i32, role: VoterRole) -> Voter {
    Voter { key: ReplicaKey { broker: BrokerId(id), directory: directory(id) }, role }
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { partitions, replication_factor, ..NewTopic::with_defaults(name) }
}

#[test]
fn a_topic_that_one_broker_creates_is_on_all() {
    let mut cluster = Cluster::founded();
    let token = cluster.create(2, topic("t", 3, 2));
    cluster.pass(100);
    assert!(cluster.answer(2, token).is_none(), "no partition has a leader");
    cluster.lead();
    assert!(is_ok(cluster.answer(2, token)));
    let mut held = 0;
    for (id, node) in &cluster.nodes {
        let image = node.store.image();
        let known = image.topic("t").expect("every broker knows it");
        for partition in known.partitions_on(BrokerId(*id)) {
            let assigned = &known.assignment(partition.partition).unwrap().replicas;
            let voters: Vec<Voter> = assigned.iter().map(|id| voter(id.0, VoterRole::Data)).collect();
            assert_eq!(node.replicas.get(&partition), Some(&voters));
            held += 1;
        }
        assert_eq!(node.replicas.len(), known.partitions_on(BrokerId(*id)).count(), "and nothing else");
    }
    assert_eq!(held, 6);
}

#[test]
fn a_witness_is_hosted_where_it_is_placed_until_its_topic_goes() {
    let mut cluster = Cluster::founded_with(Some(3));
    let token = cluster.create(3, topic("t", 2, 2));
    cluster.pass(100);
    assert!(is_ok(cluster.answer(3, token)), "a witness waits for no leader of its own");
    let is_whole = |voters: &Vec<Voter>| {
        let (first, last) = voters.split_at(2);
        let data: BTreeSet<Voter> = first.iter().copied().collect();
        data == [1, 2].map(|id| voter(id, VoterRole::Data)).into() && last == [voter(3, VoterRole::Witness)]
    };
    let hosted = |cluster: &Cluster| {
        let both = |node: &Node| [node.replicas.clone(), node.witnesses.clone()];
        let all: Vec<_> = cluster.nodes.values().flat_map(both).collect();
        assert!(all.iter().flat_map(BTreeMap::values).all(is_whole), "{all:?}");
        all.iter().map(BTreeMap::len).collect::<Vec<_>>()
    };
    assert_eq!(hosted(&cluster), [2, 0, 2, 0, 0, 2]);
    let journal = cluster.nodes[&3].journal.clone();
    cluster.start(3, 2, journal);
    cluster.pass(1_000);
    assert_eq!(hosted(&cluster), [2, 0, 2, 0, 0, 2]);
    assert_eq!(cluster.nodes[&1].store.image().broker(BrokerId(3)).map(Broker::holds_data), Some(false));
    let topics = vec![TopicRef::Name("t".to_owned())];
    cluster.send(1, Command::DeleteTopics(DeleteTopics { topics }));
    cluster.pass(1_500);
    assert_eq!(hosted(&cluster), [0; 6]);
}

#[test]
fn replicas_beside_a_wiped_broker_learn_its_directory() {
    let mut cluster = Cluster::founded();
    cluster.create(1, topic("t", 2, 3));
    cluster.pass(100);
    let wiped = DirectoryId::from_u128(0x99);
    cluster.start_in(wiped, 3, 1, Vec::new());
    cluster.pass(5_000);
    let image = Arc::clone(cluster.nodes[&1].store.image());
    let known = image.topic("t").expect("it is there");
    assert_eq!(image.broker(BrokerId(3)).map(|broker| broker.directory), Some(wiped));
    let partitions: Vec<TopicPartition> = (0..2).map(|number| TopicPartition::new(known.id, number)).collect();
    for id in [1, 2] {
        assert_eq!(cluster.nodes[&id].retargeted, partitions, "of broker {id}");
    }
    let there = &cluster.nodes[&3];
    assert_eq!((there.replicas.keys().copied().collect::<Vec<_>>(), &there.registered[..]), (partitions, &[2][..]));
    let target: BTreeSet<Voter> = crate::metadata_store::target(known, 0, &image).voters.into_iter().collect();
    let new = Voter { key: ReplicaKey { broker: BrokerId(3), directory: wiped }, role: VoterRole::Data };
    assert_eq!(target, BTreeSet::from([voter(1, VoterRole::Data), voter(2, VoterRole::Data), new]));
    let first: BTreeSet<Voter> = there.replicas.values().flatten().copied().collect();
    assert!(!first.contains(&new), "it was none of the first");
}

#[test]
fn a_broken_rule_of_targets_is_noticed() {
    let story = replicas_beside_a_wiped_broker_learn_its_directory;
    assert_noticed(
        "a_broken_rule_of_targets_is_noticed",
        &[(Mutation::RetargetNobody, story), (Mutation::TargetOfFirstDirectories, story)],
    );
}

#[test]
fn replicas_are_spread_or_chosen_or_too_many() {
    let mut cluster = Cluster::founded();
    let wide = cluster.create(1, topic("wide", 1, 4));
    let assignments = vec![(0, vec![BrokerId(3), BrokerId(1)])];
    let chosen = cluster.create(3, NewTopic { assignments, ..NewTopic::with_defaults("chosen") });
    cluster.pass(100);
    cluster.lead();
    let Some(CommandResult::CreatedTopics(results)) = cluster.answer(1, wide) else { panic!("no answer") };
    assert_eq!(results[0].1.as_ref().unwrap_err().code, ErrorCode::InvalidReplicationFactor);
    cluster.pass(3_000);
    assert!(is_ok(cluster.answer(3, chosen)));
    let image = cluster.nodes[&2].store.image();
    assert_eq!(image.topic("chosen").unwrap().partitions[0].replicas, [BrokerId(3), BrokerId(1)]);
}

#[test]
fn an_answer_waits_a_second_for_a_broker_that_is_slow() {
    let mut cluster = Cluster::founded();
    cluster.silent.insert(3);
    let operation = ConfigOperation::Replace(vec![("max.connections".to_owned(), Some("7".to_owned()))]);
    let resources = vec![ResourceChange { resource: ConfigResource::Broker(None), operation }];
    let token = cluster.send(1, Command::SetConfigs(SetConfigs { resources, validate_only: false }));
    cluster.pass(900);
    assert!(cluster.answer(1, token).is_none(), "broker 3 is heard, and has not applied it");
    cluster.pass(u64::try_from(SPREAD_WAIT.as_millis()).unwrap());
    assert!(cluster.answer(1, token).is_some());
    cluster.silent.clear();
    cluster.pass(2_000);
    assert_eq!(cluster.nodes[&3].store.image().hash(), cluster.nodes[&1].store.image().hash());
}

#[test]
fn a_restart_without_a_majority_serves_what_is_there() {
    let mut cluster = Cluster::founded();
    cluster.create(1, topic("t", 3, 3));
    cluster.pass(100);
    let journal = cluster.nodes[&2].journal.clone();
    cluster.silent.insert(2);
    cluster.start(2, 2, journal);
    let node = &cluster.nodes[&2];
    assert_eq!((node.replicas.len(), node.published), (3, 1), "partitions need no registration");
    assert!(node.registered.is_empty(), "producer ids do");
    let token = cluster.create(2, topic("late", 1, 1));
    cluster.pass(9_000);
    assert!(cluster.answer(2, token).is_none());
    cluster.pass(2_000);
    assert!(failed_with(cluster.answer(2, token), ErrorCode::RequestTimedOut));
    cluster.silent.clear();
    cluster.pass(2_000);
    assert_eq!(cluster.nodes[&1].store.image().broker(BrokerId(2)).unwrap().incarnation, 2);
    assert_eq!(cluster.nodes[&2].registered, [2], "once, and not before");
}
