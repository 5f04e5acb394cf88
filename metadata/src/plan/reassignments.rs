//! Where replicas shall be (KIP-455), and that they are there.

use std::collections::BTreeMap;

use millrace_types::{BrokerId, DirectoryId, ErrorCode, TopicId};

use super::manual::check_replicas;
use super::{MAX_PARTITIONS_PER_COMMAND, Planned};
use crate::command::{AlterReassignments, FinishReassignment, ReassignPartition};
use crate::entry::Change;
use crate::image::Image;
use crate::mutation::{Mutation, broken};
use crate::outcome::{CommandResult, ItemError, Outcome};
use crate::placement::Witnesses;
use crate::reassignment::{PartitionTarget, TargetReached, TopicTargets};
use crate::topic::{Assignment, Topic};

pub(super) fn alter(image: &Image, request: &AlterReassignments) -> Planned {
    if request.partitions.len() > MAX_PARTITIONS_PER_COMMAND {
        let text = "Excessively large number of partitions per request.";
        return Planned::refused(ErrorCode::PolicyViolation, text);
    }
    let witnesses = Witnesses::of(image);
    let mut targets: BTreeMap<TopicId, BTreeMap<i32, PartitionTarget>> = BTreeMap::new();
    let mut results = Vec::with_capacity(request.partitions.len());
    for wanted in &request.partitions {
        let outcome = target(image, &witnesses, wanted, request.allow_factor_change);
        results.push(outcome.map(|(topic, target)| {
            // Of two wishes for one partition the later one holds.
            targets.entry(topic).or_default().insert(wanted.partition, target);
        }));
    }
    let is_news = |id: &TopicId, target: &PartitionTarget| {
        let known = image.topic_by_id(*id).and_then(|topic| topic.assignment(target.partition));
        known.is_none_or(|known| known.target_replicas() != target.replicas || known.target_witness() != target.witness)
    };
    let changes = targets.into_iter().filter_map(|(id, targets)| {
        let targets: Vec<_> = targets.into_values().filter(|target| is_news(&id, target)).collect();
        (!targets.is_empty()).then_some(Change::SetTarget(TopicTargets { id, targets }))
    });
    Planned::new(changes.collect(), CommandResult::AlteredReassignments(results))
}

fn target(
    image: &Image,
    witnesses: &Witnesses<'_>,
    wanted: &ReassignPartition,
    allow_factor_change: bool,
) -> Outcome<(TopicId, PartitionTarget)> {
    let (topic, known) = find(image, wanted)?;
    let replicas = match &wanted.replicas {
        None if known.reassignment.is_none() => {
            let code = ErrorCode::NoReassignmentInProgress;
            return Err(ItemError::new(code, code.message()));
        }
        None => known.replicas.clone(),
        Some(replicas) => {
            check_replicas(image, replicas, None)?;
            let present = known.target_replicas().len();
            if !allow_factor_change && present != replicas.len() {
                let text = format!("The replication factor is changed from {present} to {}", replicas.len());
                return Err(ItemError::new(ErrorCode::InvalidReplicationFactor, text));
            }
            replicas.clone()
        }
    };
    let witness = witness(witnesses, known, &replicas, wanted.partition);
    Ok((topic.id, PartitionTarget { partition: wanted.partition, replicas, witness }))
}

fn find<'a>(image: &'a Image, wanted: &ReassignPartition) -> Outcome<(&'a Topic, &'a Assignment)> {
    let unknown = |text: String| ItemError::new(ErrorCode::UnknownTopicOrPartition, text);
    let ReassignPartition { topic: name, partition, .. } = wanted;
    let topic = image.topic(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let known = topic.assignment(*partition);
    let known = known.ok_or_else(|| unknown(format!("Unable to find partition {name}:{partition}.")))?;
    Ok((topic, known))
}

/// The witness beside the replicas: the one there is, where it may stay. A broker that may hold records of the partition is
/// none: it would have to forget first what it has promised with them.
fn witness(witnesses: &Witnesses<'_>, known: &Assignment, replicas: &[BrokerId], partition: i32) -> Option<BrokerId> {
    let mut taken = replicas.to_vec();
    taken.extend(known.concerned().filter(|id| known.has_replica(*id)));
    let present = [known.witness, known.target_witness()].into_iter().flatten();
    let stays = present.filter(|id| !taken.contains(id)).find(|_| replicas.len().is_multiple_of(2));
    stays.or_else(|| witnesses.choose(replicas, &taken, usize::try_from(partition).unwrap_or(0)))
}

/// The target becomes the assignment, if it is still the one that was reached, by the directories that are registered. A
/// late word of an earlier target changes nothing.
pub(super) fn finish(image: &Image, request: &FinishReassignment) -> Planned {
    let FinishReassignment { topic, partition, epoch, voters } = request;
    let known = image.topic_by_id(*topic).and_then(|topic| topic.assignment(*partition));
    let under_way = known.and_then(|known| known.reassignment.as_ref().map(|one| (known, one.epoch)));
    let Some((known, set)) = under_way.filter(|(_, set)| set == epoch || broken(Mutation::BelieveLateTarget)) else {
        let code = ErrorCode::NoReassignmentInProgress;
        return Planned::refused(code, code.message());
    };
    let voters: BTreeMap<BrokerId, DirectoryId> = voters.iter().copied().collect();
    let registered = known.target_hosts().map(|id| image.broker(id).map(|broker| broker.directory));
    let Some(directories) = registered.collect::<Option<Vec<_>>>() else {
        return Planned::refused(ErrorCode::InvalidRequest, "A broker of the target is not registered.");
    };
    let is_reached = known.target_hosts().zip(&directories).all(|(id, directory)| voters.get(&id) == Some(directory))
        && voters.len() == directories.len();
    if !is_reached && !broken(Mutation::BelieveLateTarget) {
        return Planned::refused(ErrorCode::InvalidRequest, "Others vote than the target names.");
    }
    let reached = TargetReached { id: *topic, partition: *partition, epoch: set, directories };
    Planned::new(vec![Change::TargetDone(reached)], CommandResult::FinishedReassignment)
}
