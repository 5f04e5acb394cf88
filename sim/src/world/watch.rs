//! White-box checks after each step of a replica.

use std::sync::Arc;

use millrace_metadata::CONSUMER_OFFSETS;
use millrace_node::PartitionView;
use millrace_raft::{Raft, ReplicaKey, RoleKind};
use millrace_types::{LeaderEpoch, Offset, TopicPartition};

use super::machine::Machine;
use super::{Phase, World};
use crate::broker::Process;
use crate::ghost::Mirror;
use crate::history::{Part, Violation};
use crate::invariant::copies::{self, Copies};
use crate::invariant::{calm, completeness, election, forgiven, kept, markers, matching, recovering, told};
use crate::workload::group_partition;

/// A partition with a live majority has a leader so soon after the faults, or after it had one.
const LEADER_WITHIN: u64 = 5_000_000;

impl World {
    pub(super) fn judge(&mut self, invariant: &'static str, partition: TopicPartition, result: Result<(), String>) {
        let violated = |text: String| Violation { invariant, text: format!("{partition}: {text}") };
        self.history.check(result.map_err(violated));
    }

    /// Looks at the replica of `partition` on the machine at `at`.
    pub(super) fn watch(&mut self, at: usize, partition: TopicPartition) {
        self.watch_view(at, partition);
        if self.options.copies() > 1 {
            self.watch_replica(at, partition);
            self.watch_witness(partition);
        }
    }

    /// Takes in the epoch in which the machine at `at` coordinates the group.
    fn watch_coordinator(&mut self, at: usize, partition: TopicPartition, epoch: LeaderEpoch) {
        let now = self.now.instant;
        let machine = &mut self.brokers[at];
        let Some(process) = &machine.process else { return };
        let is_known = machine.coordinated.last().is_some_and(|(_, known)| *known == epoch);
        if is_known || partition.partition != group_partition(self.options.offsets_partitions) {
            return;
        }
        if process.image().topic(CONSUMER_OFFSETS).is_some_and(|topic| topic.id == partition.topic) {
            machine.coordinated.push((now, epoch));
        }
    }

    /// What everybody is shown.
    fn watch_view(&mut self, at: usize, partition: TopicPartition) {
        let Some(process) = &self.brokers[at].process else { return };
        let (number, broker) = (process.number(), process.broker());
        let Some(view) = process.view(partition).cloned() else { return };
        let votes_alone = process.consensus(partition).is_some_and(|raft| raft.configuration().voters.len() == 1);
        let follows = self.options.copies() > 1 && view.leader_epoch().is_none();
        // A follower takes back what it cuts.
        if !follows {
            let result = self.brokers[at].watermarks.check(partition, view.log.high_watermark());
            self.history.check(result);
        }
        let (intact, epoch) = (view.readable_end() == i64::MAX, view.leader_epoch());
        if let Some(epoch) = epoch {
            self.watch_coordinator(at, partition, epoch);
        }
        let name = self.names.get(&partition);
        let alone = votes_alone || name.is_some_and(|part| self.options.is_alone(&part.topic));
        let part = name.and_then(|part| self.history.parts.get_mut(part));
        let damaged = part.is_some_and(|part| {
            part.limited |= !intact && alone;
            part.damaged
        });
        // A damaged log is read in the epoch of the start before: it has no leader.
        if let Some(epoch) = epoch.filter(|_| !damaged) {
            let result = self.epochs.check(partition, epoch, broker, number);
            self.history.check(result);
        }
    }

    /// What the replica holds, and what it knows of the others.
    fn watch_replica(&mut self, at: usize, partition: TopicPartition) {
        let durable = self.is_durable(partition);
        let machine = &mut self.brokers[at];
        let Some(process) = &machine.process else { return };
        let (Some(view), Some(raft)) = (process.view(partition).cloned(), process.consensus(partition)) else { return };
        let mut reopened = machine.reopened.remove(&partition);
        let has_started = reopened.is_some();
        let mirror = machine.mirrors.entry(partition).or_default();
        let is_rotten = machine.rotten.contains(&partition);
        if is_rotten {
            // What is in it now may be spoilt, and may be repaired at the next step.
            reopened = Some(true);
        }
        let before = reopened.map(|lossy| (lossy, mirror.reopen()));
        let ghost = self.ghosts.entry(partition).or_default();
        let added = mirror.follow(&view);
        let kept = match &before {
            Some((lossy, before)) if (durable || !lossy) && !is_rotten => kept::check(before, mirror),
            _ => Ok(()),
        };
        let status = raft.status();
        ghost.heard(process.key(), mirror, &status);
        let is_known = !is_rotten || matching::knows(ghost, mirror);
        let followed = added.and_then(|added| matching::check(ghost, mirror, &added));
        let begins = matching::check_epochs(ghost, raft);
        let marked = if has_started { markers::check(raft, view.log.log_end()) } else { Ok(()) };
        let state = raft.check().map_err(|broken| format!("{} does not hold: {status:?}", broken.0));
        // What a failed disk cannot give any more was in the log all the same.
        let spoilt = is_rotten && (followed.is_err() || !is_known);
        let intact = view.readable_end() == Offset::MAX && !spoilt;
        if intact {
            self.judge("matching", partition, followed);
            self.judge("kept", partition, kept);
        }
        self.judge("matching", partition, begins);
        self.judge("markers", partition, marked);
        self.judge("state", partition, state);
        if status.role == RoleKind::Leader && intact {
            self.watch_leader(at, partition, &view);
        }
    }

    /// Whether acknowledged means flushed.
    pub(super) fn is_durable(&self, partition: TopicPartition) -> bool {
        let part = self.names.get(&partition);
        part.and_then(|part| self.history.parts.get(part)).is_none_or(|known| known.durable)
    }

    fn watch_leader(&mut self, at: usize, partition: TopicPartition, view: &Arc<PartitionView>) {
        let part = self.names.get(&partition).cloned();
        let machine = &self.brokers[at];
        let Some(raft) = machine.process.as_deref().and_then(|process| process.consensus(partition)) else { return };
        let (status, latest, voters) = (raft.status(), raft.latest(), raft.configuration().data_voters());
        let Some(mirror) = machine.mirrors.get(&partition) else { return };
        let ghost = self.ghosts.entry(partition).or_default();
        let elected = election::check(ghost, status.epoch, machine.number());
        let is_new = elected.as_ref().is_ok_and(|is_new| *is_new);
        let durable = self.is_durable(partition);
        let ghost = self.ghosts.entry(partition).or_default();
        let mut found = vec![("election", elected.map(drop))];
        if is_new && status.unanimous && !durable {
            // Every voter has elected it, as too few had kept all: what they all have lost is lost.
            let end = status.epoch_start.unwrap_or(mirror.end);
            let kept = |key: &ReplicaKey| !self.gone.contains(key);
            let log = |key| log_of(&self.brokers, key, partition);
            let voters: Vec<_> = raft.configuration().data_voters().filter(kept).filter_map(log).collect();
            found.push(("forgiven", forgiven::check(ghost, end, &voters)));
            ghost.lose(end);
            if let Some(part) = &part {
                self.history.lost(part, end);
            }
        }
        if is_new {
            found.push(("completeness", completeness::check_leader(ghost, mirror, status.epoch)));
        }
        found.push(("completeness", completeness::check_commit(ghost, mirror, &status)));
        found.push(("recovering", recovering::check(&status)));
        let log = |key: ReplicaKey| {
            let machine = self.brokers.iter().find(|other| other.key == Some(key));
            let is_rotten = machine.is_some_and(|machine| machine.rotten.contains(&partition));
            let mirror = machine.and_then(|machine| machine.mirrors.get(&partition));
            (key, mirror, is_rotten || self.gone.contains(&key))
        };
        let logs: Vec<_> = voters.map(log).collect();
        let needed = self.min_in_sync(part.as_ref()).min(logs.len());
        let copies = Copies { logs: &logs, durable, needed };
        let ghost = self.ghosts.entry(partition).or_default();
        found.push(("copies", copies::check(ghost, mirror, &status, &copies)));
        if let Some(known) = part.as_ref().and_then(|part| self.history.parts.get_mut(part)) {
            known.told.clone_from(&ghost.high_watermarks);
        }
        if let Some(latest) = latest.filter(|_| view.tells_latest()) {
            found.push(("told", told::check(ghost, status.epoch, latest)));
        }
        if self.options.leaders_stay() {
            found.push(("calm", calm::check(ghost)));
        }
        for (invariant, result) in found {
            self.judge(invariant, partition, result);
        }
    }

    fn min_in_sync(&self, part: Option<&Part>) -> usize {
        let topic = part.and_then(|part| self.options.topics.iter().find(|topic| topic.name == part.topic));
        topic.map_or(1, |topic| usize::try_from(topic.min_in_sync).unwrap_or(1))
    }

    /// After the faults every partition soon has a leader, and is not without one for long when it is handed over.
    pub(super) fn check_leaders(&mut self) {
        if !self.options.is_cluster() || self.phase != Phase::Healing {
            return;
        }
        let (leaders, now) = (self.leaders(), self.micros());
        self.leaderless.retain(|part, _| !leaders.contains_key(part));
        let whole = self.history.parts.iter().filter(|(_, known)| !known.damaged).map(|(part, _)| part);
        for part in whole.filter(|part| !leaders.contains_key(*part)) {
            self.leaderless.entry(part.clone()).or_insert(now);
        }
        let missing = self.leaderless.iter().find(|(_, since)| now >= **since + LEADER_WITHIN);
        if let Some(part) = missing.map(|(part, _)| part.clone()) {
            let states = self.replicas_of(&part);
            self.history.violated("leader", format!("{part} has none so long after the faults: {states}"));
        }
    }

    /// The replicas of a partition that do not hold what its leader holds; a dump of them for people.
    pub(super) fn apart(&self) -> Option<String> {
        let leaders = self.leaders();
        let whole = |part: &Part| self.history.parts.get(part).is_some_and(|known| !known.damaged);
        let behind = |part: &Part, leader: &PartitionView| {
            let processes = self.brokers.iter().filter_map(|machine| machine.process.as_deref());
            let views = processes.filter_map(|process| process.view(leader.partition));
            let same = |view: &Arc<PartitionView>| {
                (view.log.log_end(), view.log.high_watermark()) == (leader.log.log_end(), leader.log.log_end())
            };
            let mut views = views.filter(|view| !same(view));
            views.next().map(|_| format!("replicas of {part} are apart: {}", self.replicas_of(part)))
        };
        leaders.iter().filter(|(part, _)| whole(part)).find_map(|(part, leader)| behind(part, leader))
    }

    /// The state of the replicas of a partition, for people.
    pub(super) fn replicas_of(&self, part: &Part) -> String {
        let name = self.names.iter().find(|(_, name)| *name == part).map(|(partition, _)| *partition);
        let Some(partition) = name else { return "not known".to_owned() };
        let status = |process: &Process| process.consensus(partition).map(Raft::status);
        let one = |machine: &Machine| format!("{}: {:?}", machine.broker, machine.process.as_deref().and_then(status));
        self.brokers.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// What a replica holds that runs and whose disk has not rotted.
fn log_of(machines: &[Machine], key: ReplicaKey, partition: TopicPartition) -> Option<(ReplicaKey, &Mirror)> {
    let machine = machines.iter().find(|machine| machine.key == Some(key))?;
    let is_well = machine.process.as_deref()?.consensus(partition).is_some() && !machine.rotten.contains(&partition);
    machine.mirrors.get(&partition).filter(|_| is_well).map(|mirror| (key, mirror))
}
