//! Who is a member of the partitions, and what of those who are none.

use millrace_metadata::Topic;
use millrace_node::metadata_store;
use millrace_types::TopicPartition;

use super::World;
use crate::broker::Process;
use crate::invariant::{deleted, target};

impl World {
    /// The data of a replica is deleted.
    pub(super) fn removed(&mut self, at: usize, partition: TopicPartition) {
        let machine = &self.brokers[at];
        let image = machine.process.as_ref().map(Process::image);
        let is_there = image.is_some_and(|image| image.topic_by_id(partition.topic).is_some());
        if let (true, Some(key)) = (is_there, machine.key) {
            let result = deleted::check(self.ghosts.entry(partition).or_default(), key);
            self.judge("deleted", partition, result);
        }
    }

    /// A replica whose members are not who the metadata say that they shall be, on the directories that the machines have.
    pub(super) fn unmoved(&self) -> Option<String> {
        let mut processes = self.brokers.iter().filter_map(|machine| machine.process.as_ref());
        processes.find_map(|process| {
            let (key, image) = (process.key(), process.image());
            if image.broker(key.broker).is_none_or(|registered| registered.directory != key.directory) {
                return Some(format!("the directory of {key} is not registered"));
            }
            image.topics().find_map(|topic| unmoved(process, topic))
        })
    }
}

/// A replica of the topic in this process whose members are not who they shall be.
fn unmoved(process: &Process, topic: &Topic) -> Option<String> {
    let image = process.image();
    topic.partitions_on(process.broker()).find_map(|partition: TopicPartition| {
        let target = metadata_store::target(topic, partition.partition, &image);
        let result = match process.consensus(partition) {
            Some(raft) => target::check(raft.configuration(), &target),
            None => Err("there is no replica".to_owned()),
        };
        result.err().map(|why| format!("{} {}-{}: {why}", process.broker(), topic.name, partition.partition))
    })
}
