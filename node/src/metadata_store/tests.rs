//! The store against a host that keeps the journal in memory and can hold back or fail its writes.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::log::Members;
use millrace_metadata::{
    Broker, BrokerRole, Command, CommandResult, ConfigOperation, ConfigResource, CreatePartitions, CreateTopics,
    DeleteTopics, Endpoint, Image, ItemError, NewPartitions, NewTopic, ResourceChange, SetConfigs, TopicRef,
};
use millrace_storage::{DiskError, JournalOptions};
use millrace_types::{BrokerId, DirectoryId, ErrorCode, Instant, Now, TopicId, TopicPartition};
use uuid::Uuid;

use super::store::{MAX_QUEUED, SNAPSHOT_ENTRIES};
use super::{LEADER_WAIT, MetadataEffect, MetadataEvent, MetadataStore, StoreOptions};
use crate::call::{Caller, ReplyTo};
use crate::core::Core;
use crate::replica::mutation::{Mutation, assert_noticed, with_broken};

mod cluster;
mod journal;

/// What a store asked for, carried out as far as the test wants it.
struct Host {
    store: MetadataStore,
    now: Now,
    journal: Vec<Bytes>,
    /// `Persist` effects that are not completed: token, records, snapshot.
    pending: Vec<(u64, Vec<Bytes>, Option<Vec<Bytes>>)>,
    published: Vec<Arc<Image>>,
    replicas: BTreeSet<TopicPartition>,
    /// Replicas that were created and have not said that they lead.
    starting: BTreeSet<TopicPartition>,
    configured: Vec<(TopicPartition, i64)>,
    answers: Vec<(u64, CommandResult)>,
    /// The numbers of this start that were told.
    registered: Vec<u64>,
    timer: Instant,
    next: u64,
    /// The order in which effects came, by their kinds.
    order: Vec<&'static str>,
}

fn options(seed: u128, incarnation: u64) -> StoreOptions {
    StoreOptions {
        cluster_id: "cluster".to_owned(),
        broker: Broker {
            id: BrokerId(1),
            rack: None,
            endpoints: vec![Endpoint { listener: "PLAINTEXT".to_owned(), host: "h".to_owned(), port: 9092 }],
            directory: DirectoryId(Uuid::from_u128(5)),
            incarnation,
            role: BrokerRole::Data,
        },
        members: Members::alone(BrokerId(1)),
        config: BrokerConfig::default(),
        seed,
    }
}

impl Host {
    /// A host whose journal holds `journal`, before the store has been started.
    fn open(journal: Vec<Bytes>, incarnation: u64) -> Self {
        let store = MetadataStore::new(options(u128::from(incarnation), incarnation), &journal).unwrap();
        Self {
            store,
            now: Now::default(),
            journal,
            pending: Vec::new(),
            published: Vec::new(),
            replicas: BTreeSet::new(),
            starting: BTreeSet::new(),
            configured: Vec::new(),
            answers: Vec::new(),
            registered: Vec::new(),
            timer: Instant::NEVER,
            next: 0,
            order: Vec::new(),
        }
    }

    /// A host whose store serves.
    fn started() -> Self {
        let mut host = Self::open(Vec::new(), 1);
        host.step(MetadataEvent::Start);
        host.write();
        host.order.clear();
        host
    }

    fn step(&mut self, event: MetadataEvent) {
        let mut out = Vec::new();
        self.store.step(self.now, event, &mut out);
        for effect in out {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: MetadataEffect) {
        match effect {
            MetadataEffect::Persist { token, records, snapshot } => {
                self.order.push("persist");
                assert!(self.pending.is_empty(), "one write at a time");
                self.pending.push((token, records, snapshot));
            }
            MetadataEffect::Publish(image) => {
                self.order.push("publish");
                image.check().unwrap();
                self.published.push(image);
            }
            MetadataEffect::CreateReplica { partition, config, voters } => {
                assert_eq!(voters.len(), 1);
                assert!(config.max_producers > 0 && config.segment_bytes > 0);
                assert!(self.replicas.insert(partition), "created twice");
                self.starting.insert(partition);
            }
            MetadataEffect::DeleteReplica { partition } => {
                assert!(self.replicas.remove(&partition), "deleted what is not there");
                self.starting.remove(&partition);
            }
            MetadataEffect::ConfigureReplica { partition, config } => {
                assert!(self.replicas.contains(&partition), "configured what is not there");
                self.configured.push((partition, config.retention_ms));
            }
            MetadataEffect::Registered { start } => self.registered.push(start),
            MetadataEffect::RetargetReplica { .. } => panic!("no directory changes"),
            MetadataEffect::RetireReplica { .. } => panic!("nothing moves"),
            MetadataEffect::CreateWitness { .. } => panic!("a single replica has no witness"),
            MetadataEffect::Answer { to, result } => {
                self.order.push("answer");
                self.answers.push((to.token, result));
            }
            MetadataEffect::Timer(at) => self.timer = at,
            MetadataEffect::Replace { .. } | MetadataEffect::SendPeer { .. } => panic!("there is no other broker"),
        }
    }

    /// Sends a command; returns its token.
    fn send(&mut self, command: Command) -> u64 {
        self.next += 1;
        let from = ReplyTo { caller: Caller::Metadata, token: self.next };
        self.step(MetadataEvent::Command { from, command });
        self.next
    }

    /// Completes the write that is under way.
    fn write(&mut self) {
        let (token, records, snapshot) = self.pending.remove(0);
        match snapshot {
            Some(snapshot) => self.journal = snapshot,
            None => self.journal.extend(records),
        }
        self.step(MetadataEvent::Persisted { token, result: Ok(()) });
    }

    fn fail_write(&mut self, error: DiskError) {
        let (token, ..) = self.pending.remove(0);
        self.step(MetadataEvent::Persisted { token, result: Err(error) });
    }

    /// Every replica that starts says that it leads.
    fn lead(&mut self) {
        for partition in std::mem::take(&mut self.starting) {
            self.step(MetadataEvent::ReplicaLed { partition });
        }
    }

    fn create(&mut self, name: &str, partitions: i32) -> u64 {
        let topics = vec![NewTopic { partitions, ..NewTopic::with_defaults(name) }];
        self.send(Command::CreateTopics(CreateTopics { topics, validate_only: false }))
    }

    fn delete(&mut self, name: &str) -> u64 {
        let topics = vec![TopicRef::Name(name.to_owned())];
        self.send(Command::DeleteTopics(DeleteTopics { topics }))
    }

    fn answer(&self, token: u64) -> Option<&CommandResult> {
        self.answers.iter().find(|(answered, _)| *answered == token).map(|(_, result)| result)
    }

    fn image(&self) -> &Image {
        self.published.last().unwrap()
    }
}

fn full() -> DiskError {
    DiskError::Full { path: PathBuf::from("metadata") }
}

fn broken() -> DiskError {
    DiskError::Io { path: PathBuf::from("metadata"), operation: "flush", source: Arc::new(io::Error::other("broken")) }
}

fn is_ok(result: Option<&CommandResult>) -> bool {
    matches!(result, Some(CommandResult::CreatedTopics(results)) if results.iter().all(|(_, outcome)| outcome.is_ok()))
}

fn failed_with(result: Option<&CommandResult>, code: ErrorCode) -> bool {
    matches!(result, Some(CommandResult::Failed(ItemError { code: found, .. })) if *found == code)
}

#[test]
fn the_first_start_founds_the_cluster() {
    let mut host = Host::open(Vec::new(), 1);
    host.step(MetadataEvent::Start);
    assert!(host.published.is_empty(), "nothing is published before it is durable");
    host.write();
    assert_eq!(host.image().cluster_id(), "cluster");
    assert!(host.image().broker(BrokerId(1)).is_some());
    assert_eq!(host.image().epoch(), 1);
}

#[test]
fn a_command_before_the_start_waits_for_it() {
    let mut host = Host::open(Vec::new(), 1);
    let token = host.create("a", 1);
    assert!(host.pending.is_empty() && host.answer(token).is_none());
    host.step(MetadataEvent::Start);
    host.write();
    host.write();
    host.lead();
    assert!(is_ok(host.answer(token)));
}

#[test]
fn an_answer_waits_for_the_disk_and_for_the_leaders() {
    let mut host = Host::started();
    let token = host.create("a", 3);
    assert!(host.answer(token).is_none());
    assert!(host.image().topic("a").is_none(), "an image that is not durable is seen by nobody");
    host.write();
    assert!(host.image().topic("a").is_some());
    assert_eq!(host.replicas.len(), 3);
    assert!(host.answer(token).is_none(), "no partition has a leader");
    host.lead();
    assert!(is_ok(host.answer(token)));
    assert_eq!(host.order, ["persist", "publish", "answer"]);
}

/// Whether what was published and answered is there after a crash in the middle of the write.
fn answers_are_durable() -> bool {
    let mut host = Host::started();
    let token = host.create("t", 1);
    host.lead();
    let told = host.answer(token).is_some() || host.image().topic("t").is_some();
    let next = Host::open(host.journal.clone(), 2);
    !told || next.store.image().topic("t").is_some()
}

#[test]
fn an_answer_before_its_entry_is_durable_is_caught() {
    assert!(answers_are_durable());
    let durable = with_broken(Some(Mutation::AnswerMetadataBeforeDurable), answers_are_durable);
    assert!(!durable, "nobody would notice");
    println!("noticed AnswerMetadataBeforeDurable: an_answer_before_its_entry_is_durable_is_caught");
}

#[test]
fn a_leader_that_does_not_come_is_not_waited_for_longer() {
    let mut host = Host::started();
    let first = host.create("a", 2);
    host.write();
    assert_eq!(host.timer, Instant::ZERO.after(LEADER_WAIT));
    host.now.instant = Instant::from_micros(1_000_000);
    let second = host.create("b", 1);
    host.write();
    host.step(MetadataEvent::Timer);
    assert!(host.answer(first).is_none(), "an early timer does nothing");
    host.now.instant = Instant::ZERO.after(LEADER_WAIT);
    host.step(MetadataEvent::Timer);
    assert!(is_ok(host.answer(first)));
    assert!(host.answer(second).is_none());
    assert_eq!(host.timer, Instant::from_micros(1_000_000).after(LEADER_WAIT));
    host.lead();
    assert!(is_ok(host.answer(second)), "a late leader of the first topic is ignored");
    assert_eq!(host.answers.len(), 2);
}

#[test]
fn a_topic_deleted_while_its_leader_is_awaited_holds_nobody_up() {
    let mut host = Host::started();
    let created = host.create("a", 1);
    host.write();
    host.delete("a");
    host.write();
    assert!(is_ok(host.answer(created)));
    assert!(host.replicas.is_empty());
}

#[test]
fn created_and_deleted_in_one_write_leaves_no_replica() {
    let mut host = Host::started();
    let other = host.create("other", 1);
    let created = host.create("a", 1);
    let deleted = host.delete("a");
    host.write();
    host.write();
    assert!(is_ok(host.answer(created)) && host.answer(deleted).is_some());
    assert_eq!(host.replicas.len(), 1);
    host.lead();
    assert!(is_ok(host.answer(other)));
}

#[test]
fn commands_that_come_during_a_write_share_the_next() {
    let mut host = Host::started();
    let tokens: Vec<u64> = (0..10).map(|number| host.create(&format!("t{number}"), 1)).collect();
    let again = host.create("t5", 1);
    assert_eq!(host.pending.len(), 1);
    host.write();
    let (_, records, _) = &host.pending[0];
    assert_eq!(records.len(), 9, "one entry per command that changes something");
    host.write();
    assert!(host.pending.is_empty());
    host.lead();
    assert!(tokens.iter().all(|token| is_ok(host.answer(*token))));
    let Some(CommandResult::CreatedTopics(results)) = host.answer(again) else { panic!("no answer") };
    assert_eq!(results[0].1.as_ref().unwrap_err().code, ErrorCode::TopicAlreadyExists);
}

#[test]
fn a_refusal_does_not_wait_for_the_disk() {
    let mut host = Host::started();
    let token = host.create("bad name", 1);
    assert!(host.pending.is_empty());
    assert!(host.answer(token).is_some());
}

#[test]
fn a_full_disk_refuses_and_lets_the_next_through() {
    let mut host = Host::started();
    let epoch = host.image().epoch();
    let first = host.create("a", 1);
    let second = host.create("b", 1);
    host.fail_write(full());
    assert!(failed_with(host.answer(first), ErrorCode::KafkaStorageError));
    assert!(host.answer(second).is_none());
    assert!(!host.store.is_poisoned());
    host.write();
    host.lead();
    assert!(is_ok(host.answer(second)));
    assert!(host.image().topic("a").is_none(), "what was refused left no trace");
    assert_eq!(host.image().epoch(), epoch + 1);
    let again = Host::open(host.journal.clone(), 2);
    assert_eq!(again.store.image().hash(), host.image().hash());
}

#[test]
fn a_failed_flush_ends_all_changes() {
    let mut host = Host::started();
    let epoch = host.image().epoch();
    let first = host.create("a", 1);
    let second = host.create("b", 1);
    host.fail_write(broken());
    let third = host.create("c", 1);
    for token in [first, second, third] {
        assert!(failed_with(host.answer(token), ErrorCode::KafkaStorageError), "{token}");
    }
    assert!(host.store.is_poisoned() && host.pending.is_empty());
    assert_eq!(host.image().epoch(), epoch, "the state is the last durable one");
}

#[test]
fn a_completion_of_another_write_is_ignored() {
    let mut host = Host::started();
    let token = host.create("a", 1);
    host.step(MetadataEvent::Persisted { token: 999, result: Ok(()) });
    host.lead();
    assert!(host.answer(token).is_none());
}

#[test]
fn the_queue_is_bounded() {
    let mut host = Host::started();
    host.create("first", 1);
    for number in 0..MAX_QUEUED {
        host.create(&format!("t{number}"), 1);
    }
    assert!(host.answers.is_empty());
    assert_eq!(host.store.queued(), MAX_QUEUED);
    let late = host.create("late", 1);
    assert!(failed_with(host.answer(late), ErrorCode::RequestTimedOut));
    while !host.pending.is_empty() {
        host.write();
    }
    assert_eq!(host.image().topic_count(), MAX_QUEUED + 1);
    assert_eq!(host.store.queued(), 0);
}

#[test]
fn an_entry_that_the_journal_cannot_take_is_refused_alone() {
    let mut host = Host::started();
    let configs: Vec<(String, Option<String>)> = [
        ("cleanup.policy", "delete"),
        ("compression.type", "producer"),
        ("file.delete.delay.ms", "1000000000"),
        ("flush.messages", "1000000000"),
        ("flush.ms", "1000000000"),
        ("index.interval.bytes", "1000000000"),
        ("max.message.bytes", "1000000000"),
        ("message.timestamp.type", "LogAppendTime"),
        ("min.insync.replicas", "1"),
        ("retention.bytes", "1000000000"),
        ("retention.ms", "1000000000"),
        ("segment.bytes", "1000000000"),
        ("segment.jitter.ms", "1000000000"),
        ("segment.ms", "1000000000"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
    .collect();
    let wide = |number: usize| NewTopic {
        partitions: 1,
        configs: configs.clone(),
        ..NewTopic::with_defaults(format!("{number:0249}"))
    };
    let topics: Vec<NewTopic> = (0..10_000).map(wide).collect();
    let large = host.send(Command::CreateTopics(CreateTopics { topics: topics.clone(), validate_only: false }));
    assert!(host.pending.is_empty(), "nothing was written");
    assert!(failed_with(host.answer(large), ErrorCode::InvalidRequest));
    assert!(!host.store.is_poisoned());
    let topics = topics[..5_000].to_vec();
    let half = host.send(Command::CreateTopics(CreateTopics { topics, validate_only: false }));
    assert!(host.pending[0].1[0].len() < JournalOptions::default().max_record);
    host.write();
    host.lead();
    assert!(is_ok(host.answer(half)));
}

#[test]
fn settings_reach_the_replicas_they_change() {
    let mut host = Host::started();
    host.create("a", 2);
    host.write();
    host.create("b", 1);
    host.write();
    let mut set = |resource: ConfigResource, key: &str, value: &str| {
        let operation = ConfigOperation::Replace(vec![(key.to_owned(), Some(value.to_owned()))]);
        let resources = vec![ResourceChange { resource, operation }];
        host.send(Command::SetConfigs(SetConfigs { resources, validate_only: false }));
        host.write();
        let configured = std::mem::take(&mut host.configured);
        configured.into_iter().map(|(_, retention_ms)| retention_ms).collect::<Vec<_>>()
    };
    assert_eq!(set(ConfigResource::Topic("a".to_owned()), "retention.ms", "77"), [77, 77]);
    assert_eq!(set(ConfigResource::Broker(None), "log.retention.ms", "88"), [88], "b has no setting of its own");
    assert_eq!(set(ConfigResource::Broker(Some(BrokerId(1))), "max.connections", "5"), [] as [i64; 0]);
}
