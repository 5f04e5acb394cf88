//! How a cluster begins: its brokers and topics are in every metadata journal before the first start.
//!
//! The brokers do not agree on metadata yet, so none of it changes while a cluster runs.

use bytes::Bytes;
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::{
    Change, Command, CreateTopics, Entry, Image, Local, NewTopic, TopicIds, apply, entry_record, plan,
};
use millrace_raft::ReplicaKey;
use millrace_types::{BrokerId, DirectoryId};
use uuid::Uuid;

use crate::broker::{self, Cluster};
use crate::dice::Dice;
use crate::options::Options;
use crate::workload::configs;

/// The cluster of a run.
pub(super) fn found(options: &Options, dice: &mut Dice) -> Cluster {
    let sessions = options.cluster.sessions.clone();
    if !options.is_cluster() {
        return Cluster { founders: Vec::new(), record: None, sessions };
    }
    let key = |id: usize| ReplicaKey {
        broker: BrokerId(i32::try_from(id).unwrap_or(0)),
        directory: DirectoryId(Uuid::from_u64_pair(dice.number(), dice.number())),
    };
    let founders: Vec<ReplicaKey> = (1..=options.cluster.brokers).map(key).collect();
    let seed = u128::from(dice.number());
    let record = record(options, &founders, seed);
    let record = record.unwrap_or_else(|error| panic!("the simulator's own cluster is wrong: {error}"));
    Cluster { founders, record: Some(record), sessions }
}

fn record(options: &Options, founders: &[ReplicaKey], seed: u128) -> Result<Bytes, String> {
    let genesis = Change::Genesis { cluster_id: "simulated".to_owned(), acceptors: Vec::new() };
    let brokers = founders.iter().map(|key| Change::RegisterBroker(broker::registration(*key, 0)));
    let mut changes: Vec<Change> = std::iter::once(genesis).chain(brokers).collect();
    let local = || Local { broker: None, config: BrokerConfig::default() };
    let mut image = Image::new(local());
    apply(&mut image, &Entry::new(changes.clone())).map_err(|error| error.to_string())?;
    let topic = |topic: &crate::options::TopicOptions| NewTopic {
        partitions: topic.partitions,
        replication_factor: i16::try_from(topic.replicas).unwrap_or(1),
        configs: configs(topic).into_iter().map(|(key, value)| (key.to_owned(), Some(value))).collect(),
        ..NewTopic::with_defaults(topic.name)
    };
    let topics = options.topics.iter().map(topic).collect();
    let create = Command::CreateTopics(CreateTopics { topics, validate_only: false });
    let planned = plan(&image, &mut TopicIds::new(seed), create);
    changes.extend(planned.entry.ok_or_else(|| format!("{:?}", planned.result))?.changes);
    let entry = Entry::new(changes);
    let mut after = Image::new(local());
    apply(&mut after, &entry).map_err(|error| error.to_string())?;
    entry_record(&entry, &after).map(Bytes::from).map_err(|error| error.to_string())
}
