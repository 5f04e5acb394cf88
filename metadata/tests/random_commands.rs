//! Random commands: the invariants of the image hold after each, and the journal replays to the same image.

use millrace_metadata::{
    AlterReassignments, Broker, BrokerRole, Command, CommandResult, ConfigOperation, ConfigOperationKind,
    ConfigResource, CreatePartitions, CreateTopics, DeleteTopics, Endpoint, Entry, FinishReassignment, Image, Local,
    NewPartitions, NewTopic, ReassignPartition, Replay, ResourceChange, SetConfigs, TopicIds, TopicRef, apply,
    entry_record, plan, snapshot_records,
};
use millrace_metadata::{CONSUMER_OFFSETS, Change};
use millrace_types::{BrokerId, DirectoryId};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

fn name() -> impl Strategy<Value = String> {
    let names = ["a", "b", "a.b", "a_b", "x.y.z", "x_y.z", "", "..", "sp ace", CONSUMER_OFFSETS];
    proptest::sample::select(names.to_vec()).prop_map(str::to_owned)
}

fn replicas() -> impl Strategy<Value = Vec<BrokerId>> {
    vec((0..5_i32).prop_map(BrokerId), 0..4)
}

fn config() -> impl Strategy<Value = (String, Option<String>)> {
    let keys = [
        "retention.ms",
        "cleanup.policy",
        "segment.bytes",
        "log.retention.ms",
        "node.id",
        "metrics",
        "interval.ms",
        "nonsense",
    ];
    let values = ["-1", "5", "100000", "delete", "compact", "delete,compact", "", "x"];
    let value = proptest::option::weighted(0.9, proptest::sample::select(values.to_vec()));
    (proptest::sample::select(keys.to_vec()), value).prop_map(|(key, value)| (key.to_owned(), value.map(str::to_owned)))
}

fn new_topic() -> impl Strategy<Value = NewTopic> {
    let manual = prop_oneof![3 => Just(Vec::new()), 1 => vec((-1..4_i32, replicas()), 1..4)];
    (name(), -2..6_i32, -2..4_i16, manual, vec(config(), 0..3)).prop_map(
        |(name, partitions, replication_factor, assignments, configs)| {
            let (partitions, replication_factor) =
                if assignments.is_empty() { (partitions, replication_factor) } else { (-1, -1) };
            NewTopic { name, partitions, replication_factor, assignments, configs }
        },
    )
}

fn change() -> impl Strategy<Value = ResourceChange> {
    let resource = prop_oneof![
        3 => name().prop_map(ConfigResource::Topic),
        1 => proptest::option::of(0..4_i32).prop_map(|id| ConfigResource::Broker(id.map(BrokerId))),
        1 => name().prop_map(ConfigResource::ClientMetrics),
    ];
    let kinds = [
        ConfigOperationKind::Set,
        ConfigOperationKind::Delete,
        ConfigOperationKind::Append,
        ConfigOperationKind::Subtract,
    ];
    let one = (config(), proptest::sample::select(kinds.to_vec())).prop_map(|((key, value), kind)| (key, kind, value));
    let operation = prop_oneof![
        vec(config(), 0..3).prop_map(ConfigOperation::Replace),
        vec(one, 0..3).prop_map(ConfigOperation::Incremental),
    ];
    (resource, operation).prop_map(|(resource, operation)| ResourceChange { resource, operation })
}

fn broker(id: i32, incarnation: u64) -> Broker {
    Broker {
        id: BrokerId(id),
        rack: (id % 2 == 0).then(|| "even".to_owned()),
        endpoints: vec![Endpoint { listener: "PLAINTEXT".to_owned(), host: "h".to_owned(), port: 9092 }],
        directory: DirectoryId(Uuid::from_u128(1)),
        incarnation,
        role: if id == 3 { BrokerRole::Witness } else { BrokerRole::Data },
    }
}

fn command() -> impl Strategy<Value = Command> {
    let validate = proptest::bool::weighted(0.1);
    let grow = (name(), -1..9_i32, proptest::option::weighted(0.3, vec(replicas(), 0..3)))
        .prop_map(|(name, count, assignments)| NewPartitions { name, count, assignments });
    let replicas = proptest::option::weighted(0.8, vec((1..4_i32).prop_map(BrokerId), 1..3));
    let reassign = (name(), 0..2_i32, replicas).prop_map(|(topic, partition, replicas)| ReassignPartition {
        topic,
        partition,
        replicas,
    });
    prop_oneof![
        4 => (vec(new_topic(), 0..4), validate)
            .prop_map(|(topics, validate_only)| Command::CreateTopics(CreateTopics { topics, validate_only })),
        2 => vec(name().prop_map(TopicRef::Name), 0..3)
            .prop_map(|topics| Command::DeleteTopics(DeleteTopics { topics })),
        2 => vec(grow, 0..3).prop_map(|topics| {
            Command::CreatePartitions(CreatePartitions { topics, validate_only: false })
        }),
        2 => vec(change(), 0..3).prop_map(|resources| {
            Command::SetConfigs(SetConfigs { resources, validate_only: false })
        }),
        1 => (1..4_i32, 1..3_u64).prop_map(|(id, incarnation)| Command::RegisterBroker(broker(id, incarnation))),
        1 => name().prop_map(|name| Command::EnsureInternalTopic { name }),
        3 => (vec(reassign, 0..3), any::<bool>()).prop_map(|(partitions, allow_factor_change)| {
            Command::AlterReassignments(AlterReassignments { partitions, allow_factor_change })
        }),
    ]
}

fn local() -> Local {
    Local { broker: Some(BrokerId(1)), ..Local::default() }
}

/// What the leader of some partition that has reached its target says.
fn reached(image: &Image) -> Option<Command> {
    let topic = image.topics().find(|topic| topic.is_reassigned())?;
    let (partition, known) = (0..).zip(&topic.partitions).find(|(_, known)| known.reassignment.is_some())?;
    let epoch = known.reassignment.as_ref()?.epoch;
    let voters = known.target_hosts().map(|id| Some((id, image.broker(id)?.directory))).collect::<Option<_>>()?;
    Some(Command::FinishReassignment(FinishReassignment { topic: topic.id, partition, epoch, voters }))
}

/// The number of items a command was given and the number of results must fit: every distinct item is answered.
fn answered(result: &CommandResult, items: usize) -> bool {
    let results = match result {
        CommandResult::CreatedTopics(results) => results.len(),
        CommandResult::DeletedTopics(results) => results.len(),
        CommandResult::CreatedPartitions(results) => results.len(),
        CommandResult::SetConfigs(results) => return results.len() == items,
        CommandResult::AlteredReassignments(results) => return results.len() == items,
        CommandResult::Registered
        | CommandResult::FinishedReassignment
        | CommandResult::AcceptorsSet
        | CommandResult::InternalTopic { .. }
        | CommandResult::Failed(_) => return true,
    };
    results <= items && (items == 0) == (results == 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_image_keeps_its_invariants_and_replays(
        commands in vec(command(), 1..40),
        snapshot_at in 0..40_usize,
        seed in any::<u128>(),
    ) {
        let mut image = Image::new(local());
        let mut ids = TopicIds::new(seed);
        let genesis = Entry::new(vec![Change::Genesis { cluster_id: "c".to_owned(), acceptors: Vec::new() }]);
        apply(&mut image, &genesis).unwrap();
        let mut journal = vec![entry_record(&genesis, &image).unwrap()];
        for (number, command) in commands.into_iter().enumerate() {
            let items = match &command {
                Command::CreateTopics(request) => request.topics.len(),
                Command::DeleteTopics(request) => request.topics.len(),
                Command::CreatePartitions(request) => request.topics.len(),
                Command::SetConfigs(request) => request.resources.len(),
                Command::AlterReassignments(request) => request.partitions.len(),
                Command::RegisterBroker(_)
                | Command::EnsureInternalTopic { .. }
                | Command::FinishReassignment(_)
                | Command::SetAcceptors { .. } => 1,
            };
            // Every second reassignment is done at once.
            let command = reached(&image).filter(|_| number % 2 == 1).unwrap_or(command);
            let items = if matches!(command, Command::FinishReassignment(_)) { 1 } else { items };
            let planned = plan(&image, &mut ids, command.clone());
            prop_assert!(answered(&planned.result, items), "{command:?}: {:?}", planned.result);
            if let Some(entry) = planned.entry {
                prop_assert!(apply(&mut image, &entry).is_ok(), "what is planned applies: {command:?}");
                journal.push(entry_record(&entry, &image).unwrap());
            }
            prop_assert_eq!(image.check(), Ok(()));
            for topic in image.topics() {
                prop_assert!(!topic.settings.compact || topic.internal, "{}", topic.name);
            }
            if number == snapshot_at {
                journal = snapshot_records(&image).unwrap();
            }
        }
        let mut replay = Replay::new(local());
        for record in &journal {
            replay.feed(record).unwrap();
        }
        let replayed = replay.finish().unwrap();
        prop_assert_eq!(replayed.hash(), image.hash());
        prop_assert_eq!(format!("{replayed:?}"), format!("{image:?}"));
    }

    #[test]
    fn no_bytes_panic_the_replay(bytes in vec(any::<u8>(), 0..200)) {
        let mut replay = Replay::new(local());
        prop_assert!(replay.feed(&bytes).is_err());
    }
}
