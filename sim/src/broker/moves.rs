//! Partitions that move: what a replica or a witness is told of it, and what is left of one that has retired.

use millrace_metadata::CONSUMER_OFFSETS;
use millrace_node::group::GroupEvent;
use millrace_node::metadata_store::{MetadataEvent, Part, part, target};
use millrace_node::replica::{Promises, ReplicaEvent};
use millrace_raft::ReplicaKey;
use millrace_types::TopicPartition;

use super::Notice;
use super::disk_work::Job;
use super::port::{Event, Port, Who};
use super::process::{Process, Remembered};

impl Process {
    /// Tells a replica which voters the metadata name for its partition.
    pub(super) fn retarget(&self, port: &mut Port<'_>, partition: TopicPartition) {
        let image = self.shared.directory.image();
        if let Some(topic) = image.topic_by_id(partition.topic).filter(|_| self.replicas.contains_key(&partition)) {
            let voters = target(topic, partition.partition, &image);
            let event = Event::Replica(partition, ReplicaEvent::Target(voters));
            port.mail(Who::Metadata, Who::Replica(partition), event);
        }
    }

    /// Tells a replica or a witness whether it goes when it is no member any more. Who leads is told along.
    pub(super) fn retire(&self, port: &mut Port<'_>, partition: TopicPartition, retire: bool) {
        if !self.replicas.contains_key(&partition) && !self.witnesses.contains_key(&partition) {
            return;
        }
        let mut tell = |event| port.mail(Who::Metadata, Who::Replica(partition), Event::Replica(partition, event));
        tell(ReplicaEvent::Retire(retire));
        let leader = self.shared.directory.leader(&partition);
        if let Some(leader) = leader.filter(|leader| retire && leader.broker != self.broker())
            && let Some(registered) = self.shared.directory.image().broker(leader.broker)
        {
            let key = ReplicaKey { broker: leader.broker, directory: registered.directory };
            tell(ReplicaEvent::Hint { leader: key, epoch: leader.epoch });
        }
    }

    /// Has what starts here go again, unless the metadata name it.
    pub(super) fn retire_unless(&self, port: &mut Port<'_>, partition: TopicPartition, is: Part) {
        if part(&self.shared.directory.image(), partition, self.broker()) != Some(is) {
            self.retire(port, partition, true);
        }
    }

    /// Leaves nothing of what has retired but its word in elections, then removes its data.
    pub(super) fn forget_retired(
        &mut self,
        port: &mut Port<'_>,
        partition: TopicPartition,
        part: Part,
        promises: Promises,
    ) {
        port.note(format_args!("{partition} has retired"));
        port.notices.push(Notice::Removed { partition, retired: Some(part) });
        self.threads.retire(partition, promises);
    }

    /// The data of what has retired is gone: what begins here again begins with what stays of its promises.
    pub(super) fn retired(&mut self, port: &mut Port<'_>, partition: TopicPartition, promises: Promises) {
        let event = MetadataEvent::ReplicaRetired { partition, promises: Box::new(promises) };
        port.mail(Who::Metadata, Who::Metadata, Event::Metadata(event));
    }

    /// Takes what the metadata store hears of what has retired.
    pub(super) fn keep_promises(&mut self, event: &MetadataEvent) {
        if let MetadataEvent::ReplicaRetired { partition, promises } = event {
            let known = Remembered { promises: Promises::clone(promises), ..Remembered::default() };
            self.remembered.insert(*partition, known);
        }
    }

    /// What the start has found of partitions that moved away is gone; what was deleted goes now.
    pub(super) fn clear_orphans(&mut self, port: &mut Port<'_>) {
        let orphans = std::mem::take(&mut self.orphans);
        // What it was does not show any more. A witness may go while it learns, a data voter may not.
        for (partition, _) in orphans.retired() {
            port.note(format_args!("{partition} had moved away"));
            port.notices.push(Notice::Removed { partition: *partition, retired: Some(Part::Witness) });
        }
        for partition in orphans.deleted() {
            port.note(format_args!("{partition} was deleted"));
            self.threads.job(Job::RemoveDir(*partition));
        }
    }

    /// Whether a coordinator keeps its groups in the partition.
    pub(super) fn keeps_groups(&self, partition: TopicPartition) -> bool {
        let image = self.shared.directory.image();
        image.topic(CONSUMER_OFFSETS).is_some_and(|topic| topic.id == partition.topic)
    }

    /// Stops the coordinator whose groups are in a partition that goes.
    pub(super) fn stop_coordinator(&self, port: &mut Port<'_>, partition: TopicPartition) {
        let number = partition.partition;
        if self.keeps_groups(partition) && self.groups.contains_key(&number) {
            port.mail(Who::Replica(partition), Who::Group(number), Event::Group(number, GroupEvent::Stop));
        }
    }
}
