//! A full disk refuses what needs room, and nothing else; when there is room again everything goes on by itself.
//!
//! The tests run on small filesystems of their own: each starts itself again in a namespace of its own (`unshare`) and
//! mounts one there, which is gone with the process. Where that is not permitted they say so and do nothing, unless
//! `MILLRACE_DISK_FULL` is `required`; `MILLRACE_DISK_FULL_DIR` names a directory on a small filesystem (64 to 256 MiB)
//! to use instead.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Broker, Client, text, until};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    IncrementalAlterConfigsRequest, JoinGroupRequest, ListGroupsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest, TopicName,
};

const NONE: i16 = 0;
const NOT_COORDINATOR: i16 = 16;
const KAFKA_STORAGE_ERROR: i16 = 56;

/// Topics with their `flush.messages`.
const TOPICS: [(&str, &str); 3] = [("flushed", "1"), ("cached", "9223372036854775807"), ("victim", "1")];
/// Most records a small filesystem can take.
const FAR_TOO_MANY: usize = 20_000;

/// What every start is configured with.
const SETTINGS: &[&str] = &[
    "offsets.topic.num.partitions=1",
    "log.segment.bytes=4194304",
    "log.segment.delete.delay.ms=0",
    "group.initial.rebalance.delay.ms=0",
];

/// A broker on a small filesystem, and what it has acknowledged.
struct Scene {
    root: PathBuf,
    broker: Broker,
    client: Client,
    acknowledged: BTreeMap<&'static str, Vec<String>>,
    next: usize,
}

impl Scene {
    fn begin(root: &Path) -> Self {
        let broker = Broker::start(&root.join("data"), SETTINGS);
        let mut client = broker.connect();
        for (topic, flush_messages) in TOPICS {
            assert_eq!(client.create_topic(topic, 1, &[("flush.messages", flush_messages)]), NONE);
            client.await_leaders(topic);
        }
        common::commit(&mut client, "readers", "flushed", 0, 1);
        let acknowledged = TOPICS.iter().map(|(topic, _)| (*topic, Vec::new())).collect();
        let scene = Self { root: root.to_owned(), broker, client, acknowledged, next: 0 };
        // What somebody else holds makes room for every topic and for the end when it goes.
        std::fs::write(scene.filler(), vec![0; 8 << 20]).expect("there is room yet");
        scene
    }

    fn produce(&mut self, topic: &'static str, size: usize) -> i16 {
        let value = format!("{:06} {}", self.next, "x".repeat(size));
        self.next += 1;
        match self.client.produce(topic, 0, &[&value]) {
            Ok(offset) => {
                let known = self.acknowledged.get_mut(topic).expect("one of the topics");
                assert_eq!(offset, i64::try_from(known.len()).expect("fits"), "offsets of {topic} have no gap");
                known.push(value);
                NONE
            }
            Err(code) => code,
        }
    }

    /// Fills the filesystem: with records, then with a file of somebody else, then what was allocated ahead. In the
    /// end every topic refuses the smallest record.
    fn fill(&mut self) {
        let mut topics: Vec<&'static str> = self.acknowledged.keys().copied().collect();
        for size in [100_000, 10_000, 0] {
            let mut open = topics.clone();
            for round in 0.. {
                assert!(round < FAR_TOO_MANY, "{open:?} take records without end");
                let mut refusals = Vec::new();
                for topic in &open {
                    match self.produce(topic, size) {
                        NONE => {}
                        code => refusals.push((*topic, code)),
                    }
                }
                for (topic, code) in refusals {
                    assert_eq!(code, KAFKA_STORAGE_ERROR, "{topic} refuses {size} bytes");
                    open.retain(|other| *other != topic);
                }
                if open.is_empty() {
                    break;
                }
            }
            self.take_the_rest();
        }
        topics.retain(|topic| self.produce(topic, 0) != KAFKA_STORAGE_ERROR);
        assert!(topics.is_empty(), "{topics:?} take records on a full disk");
    }

    /// Grows the file of somebody else until no byte is free.
    fn take_the_rest(&self) {
        let mut file = File::options().append(true).create(true).open(self.filler()).expect("opens");
        for size in [64 << 10, 4096, 1] {
            let zeros = vec![0; size];
            while file.write_all(&zeros).is_ok() {}
            // Room that was only promised counts when it is taken.
            let _full = file.sync_data();
        }
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }

    fn restart(self, kill: bool) -> Self {
        let Self { root, broker, client, acknowledged, next } = self;
        drop(client);
        if kill {
            broker.kill();
        } else {
            assert!(broker.stop().success(), "a clean stop on a full disk");
        }
        let broker = Broker::start(&root.join("data"), SETTINGS);
        let mut client = broker.connect();
        for topic in acknowledged.keys() {
            client.await_leaders(topic);
        }
        Self { root, broker, client, acknowledged, next }
    }

    /// All that was acknowledged is there, and nothing else.
    fn everything_is_there(&mut self) {
        for (topic, expected) in &self.acknowledged {
            let found = self.client.fetch_all(topic, 0);
            assert_eq!(found.len(), expected.len(), "records of {topic}");
            for ((offset, value), (due, known)) in found.iter().zip((0..).zip(expected)) {
                assert!(*offset == due && value == known, "{topic}-{due} is another record, at {offset}");
            }
        }
    }

    /// What needs no room works.
    fn reads_work(&mut self) {
        assert_eq!(self.client.call(&common::api_versions(), 3).error_code, NONE);
        let metadata = self.client.call(&MetadataRequest::default().with_topics(None), 12);
        assert!(metadata.topics.iter().all(|topic| topic.error_code == NONE), "{metadata:?}");
        self.everything_is_there();
        assert_eq!(self.client.call(&ListGroupsRequest::default(), 4).error_code, NONE);
        let committed = until("the committed offset", || match self.committed() {
            (NONE, offset) => Some(offset),
            // The coordinator loads its partition.
            (14..=16, _) => None,
            (code, _) => panic!("OffsetFetch: {code}"),
        });
        assert!(committed >= 1, "offset {committed}");
        assert_eq!(self.broker.http("GET", "/health/live", "").0, 200);
        assert_eq!(self.broker.http("GET", "/api/v1/topics", "").0, 200);
    }

    fn committed(&mut self) -> (i16, i64) {
        let topic =
            OffsetFetchRequestTopics::default().with_name(TopicName(text("flushed"))).with_partition_indexes(vec![0]);
        let group =
            OffsetFetchRequestGroup::default().with_group_id(GroupId(text("readers"))).with_topics(Some(vec![topic]));
        let response = self.client.call(&OffsetFetchRequest::default().with_groups(vec![group]), 8);
        let group = &response.groups[0];
        let offset = group.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
        (group.error_code, offset)
    }

    /// Commits an offset once; the error code.
    fn commit(&mut self, offset: i64) -> i16 {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(&"m".repeat(4000))));
        let topic =
            OffsetCommitRequestTopic::default().with_name(TopicName(text("flushed"))).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text("readers")))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        self.client.call(&request, 8).topics[0].partitions[0].error_code
    }

    /// Commits until the offsets topic has used up what it had allocated ahead, and is refused as Kafka refuses it.
    fn commits_are_refused(&mut self) {
        for round in 1.. {
            assert!(round < FAR_TOO_MANY, "offset commits without end on a full disk");
            match self.commit(round as i64) {
                NONE => {}
                code => {
                    return assert_eq!(code, NOT_COORDINATOR, "Kafka's code for a storage error of the offsets topic");
                }
            }
        }
    }

    /// Groups are founded until one cannot be stored, and is refused as Kafka refuses it.
    fn groups_are_refused(&mut self) {
        for round in 0.. {
            assert!(round < 100, "groups without end on a full disk");
            match self.join(&format!("refused {round}")) {
                NONE => {}
                code => {
                    return assert_eq!(code, NOT_COORDINATOR, "Kafka's code for a storage error of the offsets topic");
                }
            }
        }
    }

    /// A member joins a group of its own and gets its assignment; the error code of the step that was refused.
    fn join(&mut self, group: &str) -> i16 {
        until("a coordinator", || {
            let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
            (self.client.call(&request, 4).coordinators[0].error_code == NONE).then_some(())
        });
        let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(vec![0; 8].into());
        let join = JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        // The first answer names the member (KIP-394).
        let member = self.client.call(&join, 7).member_id;
        let joined = self.client.call(&join.with_member_id(member.clone()), 7);
        if joined.error_code != NONE {
            return joined.error_code;
        }
        let assignment =
            SyncGroupRequestAssignment::default().with_member_id(member.clone()).with_assignment(vec![0; 4000].into());
        let sync = SyncGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id(joined.generation_id)
            .with_member_id(member.clone())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(vec![assignment]);
        let synced = self.client.call(&sync, 5).error_code;
        if synced != NONE {
            return synced;
        }
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id(joined.generation_id)
            .with_member_id(member);
        self.client.call(&heartbeat, 4).error_code
    }

    /// Changes of the metadata work from what is reserved for them.
    fn metadata_changes_work(&mut self, round: usize) {
        let name = format!("late-{round}");
        assert_eq!(self.client.create_topic(&name, 1, &[]), NONE, "CreateTopics");
        self.client.await_leaders(&name);
        assert_eq!(self.client.produce(&name, 0, &["x"]), Err(KAFKA_STORAGE_ERROR), "there is no room for its file");
        let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("3600000000")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("flushed"))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(self.client.call(&request, 1).responses[0].error_code, NONE, "IncrementalAlterConfigs");
        assert_eq!(self.delete_topic(&name), NONE, "DeleteTopics");
    }

    fn delete_topic(&mut self, name: &str) -> i16 {
        let topic = DeleteTopicState::default().with_name(Some(TopicName(text(name))));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.client.call(&request, 6).responses[0].error_code
    }

    /// Deletes the first half of the records of `victim`: whole segments go, and whole segments stay, so that to delete the
    /// topic makes room as well.
    fn delete_records(&mut self) {
        let before = i64::try_from(self.acknowledged["victim"].len() / 2).expect("fits");
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(before);
        let topic = DeleteRecordsTopic::default().with_name(TopicName(text("victim"))).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response = self.client.call(&request, 2);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.low_watermark), (NONE, before), "DeleteRecords");
    }

    /// Every topic takes records again, by itself.
    fn produces_again(&mut self, why: &str) {
        let topics: Vec<&'static str> = self.acknowledged.keys().copied().collect();
        for topic in topics {
            until(&format!("{topic} takes records again after {why}"), || match self.produce(topic, 20_000) {
                NONE => Some(()),
                code => {
                    assert_eq!(code, KAFKA_STORAGE_ERROR);
                    None
                }
            });
        }
        until("commits work again", || (self.commit(7) == NONE).then_some(()));
        let mut group = 0;
        until("groups work again", || {
            group += 1;
            (self.join(&format!("{why} {group}")) == NONE).then_some(())
        });
    }
}

fn scenario(root: &Path) {
    let mut scene = Scene::begin(root);
    scene.fill();
    scene.reads_work();
    scene.commits_are_refused();
    scene.groups_are_refused();
    scene.metadata_changes_work(0);
    for (round, kill) in [(1, true), (2, true), (3, false), (4, true)] {
        scene = scene.restart(kill);
        scene.reads_work();
        assert_eq!(scene.produce("flushed", 100_000), KAFKA_STORAGE_ERROR);
        scene.metadata_changes_work(round);
    }

    // Room of the broker's own making, twice.
    scene.delete_records();
    scene.acknowledged.remove("victim");
    scene.produces_again("DeleteRecords");
    scene.fill();
    scene.reads_work();
    assert_eq!(scene.delete_topic("victim"), NONE, "DeleteTopics");
    scene.produces_again("DeleteTopics");
    scene.fill();
    scene = scene.restart(true);
    scene.reads_work();

    // Room that somebody else makes.
    std::fs::remove_file(scene.filler()).expect("removed");
    scene.produces_again("another file went");
    scene.reads_work();
    scene = scene.restart(true);
    scene.reads_work();
    scene = scene.restart(false);
    scene.reads_work();
    assert!(scene.broker.stop().success());
    let check = common::program().arg("check").arg(root.join("data")).output();
    let check = check.expect("the binary runs");
    assert!(check.status.success(), "{check:?}");
}

/// Where a small filesystem for the tests is named.
const DIRECTORY: &str = "MILLRACE_DISK_FULL_DIR";

/// Runs the scenario on a filesystem mounted by `mount`, a shell command that finds a directory in `$DIR`.
fn on_filesystem(test: &str, unshare: &[&str], mount: &str) {
    if let Some(root) = std::env::var_os(DIRECTORY) {
        let root = tempfile::tempdir_in(root).expect("a directory on the small filesystem");
        return scenario(root.path());
    }
    let place = tempfile::tempdir().expect("a directory");
    let mounted = place.path().join("mounted");
    std::fs::create_dir(&mounted).expect("made");
    let namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(unshare).args(["sh", "-c", script, "sh"]).env("DIR", &mounted).env(DIRECTORY, &mounted);
        command
    };
    let mounted = namespace(mount).output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        let required = std::env::var("MILLRACE_DISK_FULL").is_ok_and(|value| value == "required");
        assert!(!required, "no filesystem can be mounted here: {mounted:?}");
        return eprintln!("SKIPPED: {test}: no filesystem can be mounted here ({mounted:?}); see {DIRECTORY}");
    }
    let itself = std::env::current_exe().expect("this program");
    let mut command = namespace(&format!("{mount} && exec \"$@\""));
    command.arg(itself).args([test, "--exact", "--include-ignored", "--nocapture"]);
    let status = command.status().expect("it starts");
    assert!(status.success(), "{test} in its namespace: {status}");
}

#[test]
fn on_tmpfs() {
    on_filesystem("on_tmpfs", &["--user", "--map-root-user", "--mount"], "mount -t tmpfs -o size=64m tmpfs \"$DIR\"");
}

/// Delayed allocation, unwritten extents and a journal of the filesystem's own.
#[test]
#[ignore = "needs root and loop devices"]
fn on_ext4() {
    let mount = "truncate -s 128M \"$DIR.image\" && mkfs.ext4 -q \"$DIR.image\" && \
                 mount -o loop \"$DIR.image\" \"$DIR\" && rm \"$DIR.image\"";
    on_filesystem("on_ext4", &["--mount"], mount);
}
