//! `DeleteTopics`: by name or by identity (KIP-516).

use std::collections::BTreeSet;

use millrace_types::{ErrorCode, TopicId};

use super::{Planned, duplicates};
use crate::command::{DeleteTopics, TopicRef};
use crate::entry::Change;
use crate::image::Image;
use crate::outcome::{CommandResult, DeletedTopic, ItemError, Outcome};

pub(super) fn plan(image: &Image, request: DeleteTopics) -> Planned {
    if !image.defaults().delete_topic_enable {
        return Planned::refused(ErrorCode::TopicDeletionDisabled, "Topic deletion is disabled.");
    }
    let twice = duplicates(&request.topics);
    let mut answered: BTreeSet<&TopicRef> = BTreeSet::new();
    let mut deleted: BTreeSet<TopicId> = BTreeSet::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        if !answered.insert(topic) {
            continue;
        }
        let outcome = if twice.contains(topic) {
            let text = match topic {
                TopicRef::Name(_) => "Duplicate topic name.",
                TopicRef::Id(_) => "Duplicate topic id.",
            };
            Err(ItemError::new(ErrorCode::InvalidRequest, text))
        } else {
            delete(image, topic, &mut deleted)
        };
        results.push((topic.clone(), outcome));
    }
    let changes = deleted.into_iter().map(|id| Change::DeleteTopic { id }).collect();
    Planned::new(changes, CommandResult::DeletedTopics(results))
}

fn delete(image: &Image, topic: &TopicRef, deleted: &mut BTreeSet<TopicId>) -> Outcome<DeletedTopic> {
    let found = match topic {
        TopicRef::Name(name) => {
            let code = ErrorCode::UnknownTopicOrPartition;
            image.topic(name).ok_or_else(|| ItemError::new(code, code.message()))?
        }
        TopicRef::Id(id) => {
            let code = ErrorCode::UnknownTopicId;
            image.topic_by_id(*id).ok_or_else(|| ItemError::new(code, code.message()))?
        }
    };
    if found.internal {
        let text = format!("Topic '{}' is internal to the cluster and cannot be deleted.", found.name);
        return Err(ItemError::new(ErrorCode::InvalidTopicException, text));
    }
    if !deleted.insert(found.id) {
        let text = "The provided topic name maps to an ID that was already supplied.";
        return Err(ItemError::new(ErrorCode::InvalidRequest, text));
    }
    Ok(DeletedTopic { id: found.id, name: found.name.to_string() })
}
