//! The topics in which the cluster keeps its own state.

use std::collections::BTreeMap;

use millrace_types::ErrorCode;

use super::{Planned, create_topics, manual, topic_config};
use crate::config::Defaults;
use crate::entry::{Change, TopicRecord};
use crate::image::Image;
use crate::name::is_internal;
use crate::named::Named;
use crate::outcome::CommandResult;
use crate::placement::{Placement, place};
use crate::topic_ids::TopicIds;

pub(super) fn plan(image: &Image, ids: &mut TopicIds, name: &str) -> Planned {
    if !is_internal(name) {
        return Planned::refused(ErrorCode::InvalidTopicException, "The topic is not an internal one.");
    }
    if let Some(topic) = image.topic(name) {
        let result = CommandResult::InternalTopic { id: topic.id, partitions: topic.partition_count() };
        return Planned::new(Vec::new(), result);
    }
    let defaults = image.defaults();
    let factor = match (image.data_brokers().count(), defaults.offsets_topic_replication_factor) {
        (0, _) => return Planned::refused(ErrorCode::InvalidReplicationFactor, "No broker is registered."),
        // A broker alone keeps groups, too. Of several, none may be the only one to have the offsets of all.
        (1, _) => 1,
        (brokers, factor) if usize::try_from(factor).is_ok_and(|factor| factor > brokers) => {
            return Planned { entry: None, result: CommandResult::Failed(manual::too_few_brokers(factor, image)) };
        }
        (_, factor) => factor,
    };
    let placement = Placement {
        first: 0,
        partitions: defaults.offsets_topic_partitions,
        replication_factor: factor,
        seed: Named::hash(name),
    };
    let overrides = match topic_config::check(name, configs(Some(defaults))) {
        Ok(overrides) => overrides,
        Err(error) => return Planned { entry: None, result: CommandResult::Failed(error) },
    };
    let id = create_topics::fresh_id(image, ids);
    let partitions = place(image, placement);
    let result = CommandResult::InternalTopic { id, partitions: defaults.offsets_topic_partitions };
    let record = TopicRecord { id, name: name.to_owned(), partitions, overrides };
    Planned::new(vec![Change::CreateTopic(record)], result)
}

/// The configuration of `__consumer_offsets`, as Kafka creates it; with the segment size a broker's settings give.
pub(super) fn configs(defaults: Option<&Defaults>) -> BTreeMap<String, String> {
    let mut configs = BTreeMap::from([
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        ("compression.type".to_owned(), "producer".to_owned()),
    ]);
    if let Some(defaults) = defaults {
        configs.insert("segment.bytes".to_owned(), defaults.offsets_topic_segment_bytes.to_string());
    }
    configs
}
