//! Who is a member of the partitions, and what of those who are none.

use std::path::Path;

use millrace_metadata::Topic;
use millrace_node::metadata_store::{self, Part};
use millrace_raft::{Raft, ReplicaKey, RoleKind, VoterRole};
use millrace_storage::{Disk, TOPICS_DIR, parse_partition_dir};
use millrace_types::TopicPartition;

use super::World;
use super::machine::Machine;
use crate::broker::Process;
use crate::invariant::reassigned::{self, Held};
use crate::invariant::{configurations, deleted, target, witness};

impl World {
    /// Looks at what a replica or a witness knows of its members.
    pub(super) fn watch_members(&mut self, at: usize, partition: TopicPartition) {
        let Some(process) = &self.brokers[at].process else { return };
        let (key, Some(raft)) = (process.key(), process.consensus(partition)) else { return };
        let ghost = self.ghosts.entry(partition).or_default();
        // What was on a disk that was set back is gone, and nobody hears who speaks for it.
        if !self.gone.contains(&key) && ghost.holds(key, raft.configuration()) {
            let meet = configurations::check(ghost, &self.gone);
            self.judge("configurations", partition, meet);
        }
    }

    /// Looks at the witness of a partition and at those that are in sync, where it has one.
    pub(super) fn watch_witness(&mut self, partition: TopicPartition) {
        if self.options.cluster.witnesses.is_empty() && !self.options.cluster.witness_any {
            return;
        }
        let Some(ghost) = self.ghosts.get(&partition) else { return };
        let Some(members) = &ghost.newest else { return };
        let Some(witness) = members.voters.iter().find(|voter| voter.role == VoterRole::Witness) else { return };
        let Some((_, witness)) = self.running(witness.key, partition) else { return };
        let told = witness.status();
        let keys = || members.data_voters().filter_map(|key| self.running(key, partition));
        let leads = |raft: &Raft| raft.role() == RoleKind::Leader && raft.epoch() == told.epoch;
        let leader = keys().map(|(_, raft)| raft).find(|raft| leads(raft));
        let mut found = vec![witness.check().map_err(|broken| format!("{} does not hold: {told:?}", broken.0))];
        if let Some(leader) = leader {
            let running = |key| self.running(key, partition);
            let whole = |(machine, _): &(&Machine, &Raft)| !machine.rotten.contains(&partition);
            // Nor does a disk that was set back hold what was on it, and its votes are refused (hole 8).
            let kept = |key: &ReplicaKey| !self.gone.contains(key);
            let in_sync = leader.in_sync_full().into_iter().filter(kept).filter_map(running).filter(whole);
            let in_sync: Vec<_> = in_sync.map(|(_, raft)| (raft.me().key, raft.status())).collect();
            found.push(witness::check(ghost, &told, (leader.me().key, &leader.status()), &in_sync));
        }
        for result in found {
            self.judge("witness", partition, result);
        }
    }

    /// A replica or a witness that runs.
    fn running(&self, key: ReplicaKey, partition: TopicPartition) -> Option<(&Machine, &Raft)> {
        let machine = self.brokers.iter().find(|machine| machine.key == Some(key))?;
        Some((machine, machine.process.as_deref()?.consensus(partition)?))
    }

    /// The data of a replica goes, since it has `retired` or since its topic is deleted. What it has held, and has said that it
    /// holds, counts no more, should it come back.
    pub(super) fn removed(&mut self, at: usize, partition: TopicPartition, retired: Option<Part>) {
        let machine = &mut self.brokers[at];
        machine.forget(partition);
        let image = machine.process.as_deref().map(Process::image);
        let is_there = retired.is_some() || image.is_some_and(|image| image.topic_by_id(partition.topic).is_some());
        self.retired += u64::from(retired.is_some());
        if let (true, Some(key)) = (is_there, machine.key) {
            let ghost = self.ghosts.entry(partition).or_default();
            ghost.words.retain(|(_, said), _| *said != key);
            let result = deleted::check(ghost, key, retired.unwrap_or(Part::Replica));
            self.judge("deleted", partition, result);
        }
    }

    /// A replica whose members are not who the metadata say that they shall be, on the directories that the machines have; a
    /// reassignment that has not ended, or what it has left behind.
    pub(super) fn unmoved(&self) -> Option<String> {
        self.brokers.iter().find_map(|machine| {
            let process = machine.process.as_deref()?;
            let (key, image) = (process.key(), process.image());
            if image.broker(key.broker).is_none_or(|registered| registered.directory != key.directory) {
                return Some(format!("the directory of {key} is not registered"));
            }
            let unmoved = image.topics().find_map(|topic| unmoved(process, topic));
            unmoved.or_else(|| reassigned::check(&image, key.broker, &held(machine, process)).err())
        })
    }
}

/// A replica of the topic in this process whose members are not who they shall be.
fn unmoved(process: &Process, topic: &Topic) -> Option<String> {
    let image = process.image();
    let broker = process.broker();
    topic.partitions_on(broker).chain(topic.witnessed_on(broker)).find_map(|partition: TopicPartition| {
        let target = metadata_store::target(topic, partition.partition, &image);
        let result = match process.consensus(partition) {
            Some(raft) => target::check(raft.configuration(), &target.voters),
            None => Err("there is no replica".to_owned()),
        };
        result.err().map(|why| format!("{} {}-{}: {why}", broker, topic.name, partition.partition))
    })
}

/// What the machine has of partitions.
fn held(machine: &Machine, process: &Process) -> Held {
    let (replicas, witnesses) = process.hosted();
    let entries = machine.disk.list(Path::new(TOPICS_DIR)).unwrap_or_default();
    let directories = entries.iter().filter_map(|entry| parse_partition_dir(&entry.name)).collect();
    let written = process.views().filter(|view| view.log.log_end() > view.log.log_start()).map(|view| view.partition);
    Held { replicas: replicas.collect(), witnesses: witnesses.collect(), written: written.collect(), directories }
}
