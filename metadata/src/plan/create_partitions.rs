//! `CreatePartitions`: more partitions for topics that exist (KIP-195).

use std::collections::BTreeSet;

use millrace_types::ErrorCode;

use super::manual::{check_replicas, too_few_brokers};
use super::{MAX_PARTITIONS_PER_COMMAND, Planned, duplicates};
use crate::command::{CreatePartitions, NewPartitions};
use crate::entry::{Change, NewAssignments};
use crate::image::Image;
use crate::named::Named;
use crate::outcome::{CommandResult, ItemError};
use crate::placement::{Placement, Witnesses, place};
use crate::topic::{Assignment, Topic};

pub(super) fn plan(image: &Image, request: CreatePartitions) -> Planned {
    let twice = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut answered: BTreeSet<&str> = BTreeSet::new();
    let mut changes = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    let mut total = 0;
    for topic in &request.topics {
        if !answered.insert(&topic.name) {
            continue;
        }
        let added = if twice.contains(topic.name.as_str()) {
            Err(ItemError::new(ErrorCode::InvalidRequest, "Duplicate topic in request."))
        } else {
            add(image, topic, &mut total)
        };
        let outcome = added.map(|added| changes.push(Change::CreatePartitions(added)));
        results.push((topic.name.clone(), outcome));
    }
    if request.validate_only {
        changes.clear();
    }
    Planned::new(changes, CommandResult::CreatedPartitions(results))
}

fn add(image: &Image, request: &NewPartitions, total: &mut usize) -> Result<NewAssignments, ItemError> {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let topic = image.topic(&request.name).ok_or_else(|| ItemError::new(unknown, unknown.message()))?;
    if topic.internal {
        // A group's coordinator is found by hashing its name over the number of partitions.
        let text = format!("The number of partitions of the internal topic '{}' cannot be changed.", topic.name);
        return Err(ItemError::new(ErrorCode::InvalidTopicException, text));
    }
    if topic.is_reassigned() {
        let text = format!("A partition reassignment is in progress for the topic '{}'.", topic.name);
        return Err(ItemError::new(ErrorCode::ReassignmentInProgress, text));
    }
    let additional = additional(topic, request.count)?;
    if total.saturating_add(additional) > MAX_PARTITIONS_PER_COMMAND {
        let text = "Excessively large number of partitions per request.";
        return Err(ItemError::new(ErrorCode::PolicyViolation, text));
    }
    let partitions = match &request.assignments {
        Some(assignments) => manual(image, topic, additional, assignments)?,
        None => placed(image, topic, additional)?,
    };
    *total += additional;
    Ok(NewAssignments { id: topic.id, partitions })
}

fn additional(topic: &Topic, count: i32) -> Result<usize, ItemError> {
    let present = topic.partition_count();
    let text = if count == present {
        format!("Topic already has {present} partition(s).")
    } else if count < present {
        format!("The topic {} currently has {present} partition(s); {count} would not be an increase.", topic.name)
    } else {
        return Ok(usize::try_from(count - present).unwrap_or(usize::MAX));
    };
    Err(ItemError::new(ErrorCode::InvalidPartitions, text))
}

fn manual(
    image: &Image,
    topic: &Topic,
    additional: usize,
    assignments: &[Vec<millrace_types::BrokerId>],
) -> Result<Vec<Assignment>, ItemError> {
    if assignments.len() != additional {
        let text = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return Err(ItemError::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    let factor = topic.partitions.first().map(|first| first.replicas.len());
    let (witnesses, turn) = (Witnesses::of(image), topic.partitions.len());
    let checked = |(turn, replicas): (usize, &Vec<millrace_types::BrokerId>)| {
        check_replicas(image, replicas, factor)?;
        Ok(witnesses.beside(replicas.clone(), turn))
    };
    (turn..).zip(assignments).map(checked).collect()
}

fn placed(image: &Image, topic: &Topic, additional: usize) -> Result<Vec<Assignment>, ItemError> {
    let (factor, brokers) = (topic.replication_factor(), image.data_brokers().count());
    if usize::try_from(factor).unwrap_or(usize::MAX) > brokers {
        return Err(too_few_brokers(factor, image));
    }
    let placement = Placement {
        first: topic.partition_count(),
        partitions: i32::try_from(additional).unwrap_or(i32::MAX),
        replication_factor: factor,
        seed: Named::hash(&topic.name),
    };
    Ok(place(image, placement))
}
