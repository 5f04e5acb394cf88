//! `CreateTopics`: names, placement and configuration of topics that shall be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_types::{BrokerId, ErrorCode, TopicId};

use super::manual::{check_replicas, too_few_brokers};
use super::{MAX_PARTITIONS_PER_COMMAND, Planned, duplicates, internal_topic, topic_config};
use crate::command::{CreateTopics, NewTopic};
use crate::entry::{Change, TopicRecord};
use crate::image::Image;
use crate::name::{check_topic_name, is_internal, is_reserved};
use crate::named::{Colliding, Named};
use crate::outcome::{CommandResult, CreatedTopic, ItemError, Outcome};
use crate::placement::{Placement, Witnesses, place};
use crate::topic::Assignment;
use crate::topic_ids::TopicIds;

pub(super) fn plan(image: &Image, ids: &mut TopicIds, request: CreateTopics) -> Planned {
    let CreateTopics { topics, validate_only } = request;
    let names = topics.iter().map(|topic| topic.name.as_str());
    let mut twice: BTreeMap<String, bool> =
        duplicates(names).into_iter().map(|name| (name.to_owned(), false)).collect();
    let mut draft = Draft { image, changes: Vec::new(), names: BTreeSet::new(), partitions: 0 };
    let mut results = Vec::with_capacity(topics.len());
    for topic in topics {
        let name = topic.name.clone();
        if let Some(answered) = twice.get_mut(&name) {
            if !std::mem::replace(answered, true) {
                let error = ItemError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
                results.push((name, Err(error)));
            }
            continue;
        }
        let outcome = draft.create(ids, topic);
        results.push((name, outcome));
    }
    if validate_only {
        draft.changes.clear();
        for (_, outcome) in &mut results {
            if let Ok(topic) = outcome {
                topic.id = TopicId(uuid::Uuid::nil());
            }
        }
    }
    Planned::new(draft.changes, CommandResult::CreatedTopics(results))
}

/// The topics accepted so far.
struct Draft<'a> {
    image: &'a Image,
    changes: Vec<Change>,
    /// Names accepted in this command that could collide with another one.
    names: BTreeSet<Colliding>,
    partitions: usize,
}

impl Draft<'_> {
    fn create(&mut self, ids: &mut TopicIds, topic: NewTopic) -> Outcome<CreatedTopic> {
        self.check_name(&topic.name)?;
        let overrides = configs(&topic)?;
        let partitions = if topic.assignments.is_empty() {
            self.placed(&topic)?
        } else {
            self.check_size(topic.assignments.len())?;
            manual(self.image, &topic)?
        };
        self.partitions += partitions.len();
        if Colliding::is_possible(&topic.name) {
            self.names.insert(Colliding(Arc::from(topic.name.as_str())));
        }
        let id = fresh_id(self.image, ids);
        let factor = partitions.first().map_or(0, |first| first.replicas.len());
        let created = CreatedTopic {
            id,
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(factor).unwrap_or(i16::MAX),
            overrides: overrides.clone(),
        };
        self.changes.push(Change::CreateTopic(TopicRecord { id, name: topic.name, partitions, overrides }));
        Ok(created)
    }

    fn check_name(&self, name: &str) -> Result<(), ItemError> {
        check_topic_name(name).map_err(|text| ItemError::new(ErrorCode::InvalidTopicException, text))?;
        if is_reserved(name) {
            let text = format!("Creation of internal topic {name} is prohibited.");
            return Err(ItemError::new(ErrorCode::InvalidRequest, text));
        }
        if self.image.topic(name).is_some() {
            let text = format!("Topic '{name}' already exists.");
            return Err(ItemError::new(ErrorCode::TopicAlreadyExists, text));
        }
        let here = || self.names.get(&Colliding(Arc::from(name))).map(|colliding| &colliding.0);
        let other = self.image.colliding(name).or_else(here);
        match other {
            None => Ok(()),
            Some(other) => {
                let text = format!("Topic '{name}' collides with existing topic: {other}");
                Err(ItemError::new(ErrorCode::InvalidTopicException, text))
            }
        }
    }

    fn check_size(&self, partitions: usize) -> Result<(), ItemError> {
        if self.partitions.saturating_add(partitions) > MAX_PARTITIONS_PER_COMMAND {
            let text = "Excessively large number of partitions per request.";
            return Err(ItemError::new(ErrorCode::PolicyViolation, text));
        }
        Ok(())
    }

    /// The replicas the cluster chooses.
    fn placed(&self, topic: &NewTopic) -> Result<Vec<Assignment>, ItemError> {
        let defaults = self.image.defaults();
        let factor = match topic.replication_factor {
            -1 => defaults.replication_factor,
            factor if factor < 1 => {
                let text = "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err(ItemError::new(ErrorCode::InvalidReplicationFactor, text));
            }
            factor => factor,
        };
        let partitions = match topic.partitions {
            -1 => defaults.num_partitions,
            count if count < 1 => {
                let text = "Number of partitions was set to an invalid non-positive value.";
                return Err(ItemError::new(ErrorCode::InvalidPartitions, text));
            }
            count => count,
        };
        self.check_size(usize::try_from(partitions).unwrap_or(usize::MAX))?;
        let brokers = self.image.data_brokers().count();
        if usize::try_from(factor).unwrap_or(usize::MAX) > brokers {
            return Err(too_few_brokers(factor, self.image));
        }
        let seed = Named::hash(&topic.name);
        Ok(place(self.image, Placement { first: 0, partitions, replication_factor: factor, seed }))
    }
}

/// The configuration the topic shall have; an internal one has its own below what is asked for.
fn configs(topic: &NewTopic) -> Result<BTreeMap<String, String>, ItemError> {
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.as_str()).collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(ItemError::new(ErrorCode::InvalidConfig, text));
    }
    let mut overrides = if is_internal(&topic.name) { internal_topic::configs(None) } else { BTreeMap::new() };
    for (key, value) in &topic.configs {
        overrides.insert(key.clone(), value.clone().unwrap_or_default());
    }
    topic_config::check(&topic.name, overrides)
}

/// The replicas the client chose, in order of the partitions.
fn manual(image: &Image, topic: &NewTopic) -> Result<Vec<Assignment>, ItemError> {
    let request = |text: &str| Err(ItemError::new(ErrorCode::InvalidRequest, text));
    if topic.replication_factor != -1 {
        return request("A manual partition assignment was specified, but replication factor was not set to -1.");
    }
    if topic.partitions != -1 {
        return request("A manual partition assignment was specified, but numPartitions was not set to -1.");
    }
    let mut chosen: BTreeMap<i32, &Vec<BrokerId>> = BTreeMap::new();
    let mut factor = None;
    for (number, replicas) in &topic.assignments {
        if chosen.contains_key(number) {
            let text = format!("Found multiple manual partition assignments for partition {number}");
            return Err(ItemError::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        check_replicas(image, replicas, factor)?;
        factor = Some(replicas.len());
        chosen.insert(*number, replicas);
    }
    if chosen.keys().zip(0..).any(|(number, expected)| *number != expected) {
        let text = "partitions should be a consecutive 0-based integer sequence";
        return Err(ItemError::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    let witnesses = Witnesses::of(image);
    Ok(chosen.into_values().enumerate().map(|(turn, replicas)| witnesses.beside(replicas.clone(), turn)).collect())
}

/// An identity that no topic of the image has.
pub(super) fn fresh_id(image: &Image, ids: &mut TopicIds) -> TopicId {
    loop {
        let id = ids.draw();
        if image.topic_by_id(id).is_none() {
            return id;
        }
    }
}
