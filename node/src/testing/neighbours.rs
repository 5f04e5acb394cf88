//! Other brokers around a [`World`], as its connections see them: registered, heard, and leading what they are said to.

use std::sync::Arc;

use millrace_metadata::{Broker, BrokerRole, Command, CreateTopics, Endpoint, NewTopic};
use millrace_types::{BrokerId, DirectoryId, ErrorCode, LeaderEpoch, TopicId, TopicPartition};

use super::{BROKER, LISTENER, World};
use crate::call::Answer;
use crate::directory::{Leadership, PartitionView};
use crate::leaders::Hint;

impl World {
    /// Registers another broker, which is heard.
    pub(crate) fn neighbour(&mut self, id: i32, rack: Option<&str>) {
        let endpoint = Endpoint { listener: LISTENER.to_owned(), host: format!("broker-{id}.test"), port: 9092 };
        let broker = Broker {
            id: BrokerId(id),
            rack: rack.map(str::to_owned),
            endpoints: vec![endpoint],
            directory: DirectoryId::from_u128(0xd0 + u128::from(id.unsigned_abs())),
            incarnation: 1,
            role: BrokerRole::Data,
        };
        self.change(Command::RegisterBroker(broker));
        self.hear(id, true);
    }

    /// Whether another broker is heard.
    pub(crate) fn hear(&self, id: i32, is_heard: bool) {
        self.shared.directory.hints().set_heard(BrokerId(id), is_heard);
    }

    /// Creates a topic whose partitions are on these brokers. Replicas on this broker start as if they were alone.
    pub(crate) fn placed(&mut self, name: &str, partitions: &[&[i32]]) -> TopicId {
        let brokers = |replicas: &&[i32]| replicas.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let mut topic = NewTopic::with_defaults(name);
        topic.assignments = (0..).zip(partitions.iter().map(brokers)).collect();
        self.change(Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false }));
        let image = self.shared.directory.image();
        let topic = image.topic(name).expect("the topic is created");
        for partition in topic.partitions_on(BROKER) {
            self.start_replica(partition);
        }
        self.run();
        topic.id
    }

    pub(crate) fn view(&self, partition: TopicPartition) -> Arc<PartitionView> {
        self.shared.directory.partition(&partition).expect("it is hosted")
    }

    /// The replica here follows this leader; `None` for an election under way. Events to its core undo it.
    pub(crate) fn follow(&self, partition: TopicPartition, epoch: LeaderEpoch, leader: Option<i32>) {
        let leader = leader.map(BrokerId);
        self.view(partition).set_leadership(Leadership { epoch, leader, is_own: false });
    }

    /// The replica here leads, with these in sync.
    pub(crate) fn lead(&self, partition: TopicPartition, epoch: LeaderEpoch, in_sync: &[i32]) {
        let view = self.view(partition);
        view.set_leadership(Leadership { epoch, leader: Some(BROKER), is_own: true });
        view.set_in_sync(in_sync.iter().copied().map(BrokerId).collect());
    }

    /// Another broker has told that it leads.
    pub(crate) fn hint(&self, partition: TopicPartition, epoch: LeaderEpoch, leader: i32, in_sync: &[i32]) {
        let in_sync = in_sync.iter().copied().map(BrokerId).collect();
        let hint = Hint { leader: BrokerId(leader), epoch, in_sync };
        self.shared.directory.hints().put(partition, Some(hint));
    }

    /// Answers the oldest election that was asked for, and says which it was.
    pub(crate) fn elected(&mut self, error: ErrorCode) -> (TopicPartition, BrokerId) {
        let (from, partition, to) = self.elections.pop_front().expect("an election was asked for");
        self.answer(from, Answer::Elected(error));
        self.run();
        (partition, to)
    }
}
