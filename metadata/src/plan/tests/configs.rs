//! `AlterConfigs` and `IncrementalAlterConfigs`.

use super::*;
use crate::command::{ConfigOperation, ConfigOperationKind, ConfigResource, ResourceChange, SetConfigs};
use crate::config::Compression;
use crate::name::CONSUMER_OFFSETS;
use ConfigOperationKind::{Append, Delete, Set, Subtract};

fn on_topic(name: &str) -> ConfigResource {
    ConfigResource::Topic(name.to_owned())
}

fn alter(cluster: &mut Cluster, resources: Vec<ResourceChange>) -> Vec<Result<(), (ErrorCode, String)>> {
    match cluster.run(Command::SetConfigs(SetConfigs { resources, validate_only: false })) {
        CommandResult::SetConfigs(results) => {
            results.into_iter().map(|(_, outcome)| outcome.map_err(|error| (error.code, error.message))).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn change(resource: ConfigResource, operations: &[(&str, ConfigOperationKind, Option<&str>)]) -> ResourceChange {
    let operations =
        operations.iter().map(|(key, kind, value)| ((*key).to_owned(), *kind, value.map(str::to_owned))).collect();
    ResourceChange { resource, operation: ConfigOperation::Incremental(operations) }
}

fn step(
    cluster: &mut Cluster,
    resource: ConfigResource,
    operations: &[(&str, ConfigOperationKind, Option<&str>)],
) -> Result<(), (ErrorCode, String)> {
    alter(cluster, vec![change(resource, operations)]).remove(0)
}

fn with_topic() -> Cluster {
    let mut cluster = Cluster::new(2, &[]);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    cluster
}

#[test]
fn single_keys_are_set_and_deleted() {
    let mut cluster = with_topic();
    let set = [("retention.ms", Set, Some("5")), ("compression.type", Set, Some("zstd"))];
    assert_eq!(step(&mut cluster, on_topic("t"), &set), Ok(()));
    let settings = &cluster.image.topic("t").unwrap().settings;
    assert_eq!((settings.retention_ms, settings.compression), (5, Compression::Zstd));
    assert_eq!(step(&mut cluster, on_topic("t"), &[("retention.ms", Delete, None)]), Ok(()));
    let found = cluster.image.topic("t").unwrap();
    assert_eq!((found.settings.retention_ms, found.settings.compression), (604_800_000, Compression::Zstd));
    assert_eq!(found.overrides.len(), 1);
}

#[test]
fn what_changes_nothing_costs_no_entry() {
    let mut cluster = with_topic();
    let epoch = cluster.image.epoch();
    assert_eq!(step(&mut cluster, on_topic("t"), &[("retention.ms", Delete, None)]), Ok(()));
    assert_eq!(cluster.image.epoch(), epoch);
}

#[test]
fn lists_take_and_lose_elements() {
    let mut cluster = with_topic();
    assert_eq!(step(&mut cluster, on_topic("t"), &[("cleanup.policy", Append, Some("delete"))]), Ok(()));
    assert_eq!(cluster.image.topic("t").unwrap().overrides.get("cleanup.policy").unwrap(), "delete");
    let compact = step(&mut cluster, on_topic("t"), &[("cleanup.policy", Append, Some("compact"))]);
    assert_eq!(compact.unwrap_err().0, ErrorCode::InvalidConfig);
    let empty = step(&mut cluster, on_topic("t"), &[("cleanup.policy", Subtract, Some("delete"))]);
    assert_eq!(empty.unwrap_err().0, ErrorCode::InvalidConfig, "one policy must stay");
    assert_eq!(
        step(&mut cluster, on_topic("t"), &[("retention.ms", Append, Some("5"))]),
        Err((ErrorCode::InvalidConfig, "Can't APPEND to key retention.ms because its type is not LIST.".to_owned()))
    );
}

#[test]
fn one_bad_key_refuses_its_resource() {
    let mut cluster = with_topic();
    let operations = [("retention.ms", Set, Some("5")), ("segment.bytes", Set, Some("x"))];
    assert_eq!(step(&mut cluster, on_topic("t"), &operations).unwrap_err().0, ErrorCode::InvalidConfig);
    let twice = [("retention.ms", Set, Some("5")), ("retention.ms", Set, Some("6"))];
    assert_eq!(
        step(&mut cluster, on_topic("t"), &twice),
        Err((ErrorCode::InvalidRequest, "Error due to duplicate config keys".to_owned()))
    );
    let null = [("retention.ms", Set, None)];
    assert_eq!(
        step(&mut cluster, on_topic("t"), &null),
        Err((ErrorCode::InvalidRequest, "Null value not supported for : retention.ms".to_owned()))
    );
    assert!(cluster.image.topic("t").unwrap().overrides.is_empty());
    let unknown = step(&mut cluster, on_topic("t"), &[("preallocate", Set, Some("true"))]);
    assert_eq!(unknown, Err((ErrorCode::InvalidConfig, "Unknown topic config name: preallocate".to_owned())));
}

#[test]
fn resources_are_checked() {
    let mut cluster = with_topic();
    let code =
        |cluster: &mut Cluster, resource| step(cluster, resource, &[("retention.ms", Set, Some("5"))]).unwrap_err().0;
    assert_eq!(code(&mut cluster, on_topic("nope")), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&mut cluster, on_topic("")), ErrorCode::InvalidRequest);
    assert_eq!(code(&mut cluster, ConfigResource::Broker(Some(BrokerId(9)))), ErrorCode::InvalidRequest);
    let set = [("retention.ms", Set, Some("5"))];
    let twice = alter(&mut cluster, vec![change(on_topic("t"), &set), change(on_topic("t"), &set)]);
    assert_eq!(twice.len(), 2, "each is answered");
    assert!(twice.iter().all(|result| result.as_ref().unwrap_err().0 == ErrorCode::InvalidRequest));
    let mixed = alter(&mut cluster, vec![change(on_topic("nope"), &set), change(on_topic("t"), &set)]);
    assert!(mixed[0].is_err() && mixed[1].is_ok());
}

#[test]
fn the_old_request_replaces_everything() {
    let mut cluster = with_topic();
    step(&mut cluster, on_topic("t"), &[("retention.ms", Set, Some("5"))]).unwrap();
    let values = vec![("segment.ms".to_owned(), Some("9".to_owned()))];
    let replace = ResourceChange { resource: on_topic("t"), operation: ConfigOperation::Replace(values) };
    assert_eq!(alter(&mut cluster, vec![replace.clone()]), [Ok(())]);
    let found = cluster.image.topic("t").unwrap();
    assert_eq!((found.settings.segment_ms, found.settings.retention_ms), (9, 604_800_000));
    let command = SetConfigs { resources: vec![replace], validate_only: true };
    let epoch = cluster.image.epoch();
    cluster.run(Command::SetConfigs(command));
    assert_eq!(cluster.image.epoch(), epoch);
}

#[test]
fn topics_follow_the_brokers_defaults() {
    let mut cluster = with_topic();
    let retention = |cluster: &Cluster| cluster.image.topic("t").unwrap().settings.retention_ms;
    let set = |value| [("log.retention.ms", Set, Some(value))];
    step(&mut cluster, ConfigResource::Broker(None), &set("100")).unwrap();
    assert_eq!(retention(&cluster), 100);
    step(&mut cluster, ConfigResource::Broker(Some(BrokerId(1))), &set("200")).unwrap();
    assert_eq!(retention(&cluster), 200, "the broker's own comes first");
    step(&mut cluster, ConfigResource::Broker(Some(BrokerId(2))), &set("300")).unwrap();
    assert_eq!(retention(&cluster), 200, "another broker's does not count here");
    step(&mut cluster, on_topic("t"), &[("retention.ms", Set, Some("400"))]).unwrap();
    assert_eq!(retention(&cluster), 400, "the topic's own comes first of all");
    step(&mut cluster, on_topic("t"), &[("retention.ms", Delete, None)]).unwrap();
    let clear = [("log.retention.ms", Delete, None)];
    step(&mut cluster, ConfigResource::Broker(Some(BrokerId(1))), &clear).unwrap();
    step(&mut cluster, ConfigResource::Broker(None), &clear).unwrap();
    assert_eq!(retention(&cluster), 604_800_000);
}

#[test]
fn broker_keys_are_checked() {
    let mut cluster = with_topic();
    let mut error = |key: &str, value: &str| {
        step(&mut cluster, ConfigResource::Broker(None), &[(key, Set, Some(value))]).unwrap_err()
    };
    assert_eq!(
        error("node.id", "5"),
        (ErrorCode::InvalidRequest, "Cannot update these configs dynamically: Set(node.id)".to_owned())
    );
    assert_eq!(error("no.such.key", "5").0, ErrorCode::InvalidConfig);
    assert_eq!(error("log.retention.ms", "x").0, ErrorCode::InvalidRequest);
    assert_eq!(error("log.cleanup.policy", "compact").0, ErrorCode::InvalidRequest);
}

#[test]
fn the_offsets_topic_stays_compacted() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.run(Command::EnsureInternalTopic { name: CONSUMER_OFFSETS.to_owned() });
    let delete = step(&mut cluster, on_topic(CONSUMER_OFFSETS), &[("cleanup.policy", Set, Some("delete"))]);
    assert_eq!(delete.unwrap_err().0, ErrorCode::InvalidConfig);
    let other = step(&mut cluster, on_topic(CONSUMER_OFFSETS), &[("segment.bytes", Set, Some("65536"))]);
    assert_eq!(other, Ok(()));
    assert!(cluster.image.topic(CONSUMER_OFFSETS).unwrap().settings.compact);
}
