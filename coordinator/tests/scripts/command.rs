//! Reads the commands of a script.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_coordinator::{
    CommitOffset, CommitOffsets, CommitTopic, DeleteOffsets, FetchOffsets, GroupRequest, Heartbeat, JoinGroup,
    JoinProtocol, LeaveGroup, LeavingMember, SyncGroup, TopicPartitions,
};

use crate::names::Names;

/// The words of a command: plain ones and `key=value`.
pub(crate) struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self { words: line.split_whitespace().skip(1).collect() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn plain(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.words.iter().copied().filter(|word| !word.contains('=') || word.contains(':'))
    }

    pub(crate) fn number(&self, key: &str, default: i64) -> i64 {
        self.get(key).map_or(default, |value| value.parse().expect(key))
    }

    fn millis(&self, key: &str, default: u64) -> Duration {
        Duration::from_millis(self.get(key).map_or(default, |value| value.parse().expect(key)))
    }

    fn arc(&self, key: &str, default: &str) -> Arc<str> {
        self.get(key).unwrap_or(default).into()
    }
}

/// Reads the request of a command; `None` when it is not one.
pub(crate) fn request(line: &str, names: &Names) -> Option<GroupRequest> {
    let words = Words::new(line);
    let group = words.arc("group", "g");
    let member_id = names.long(words.get("member").unwrap_or(""));
    let instance_id = words.get("instance").map(Arc::from);
    let generation = i32::try_from(words.number("generation", -1)).unwrap();
    Some(match line.split_whitespace().next()? {
        "join" => GroupRequest::Join(join(&words, group, member_id, instance_id)),
        "sync" => {
            let given = words.get("assign").into_iter().flat_map(|list| list.split(','));
            let assignment = |pair: &str| {
                let (member, text) = pair.split_once('>').expect("member>assignment");
                (names.long(member), Bytes::from(text.to_owned()))
            };
            GroupRequest::Sync(SyncGroup {
                group,
                member_id,
                instance_id,
                generation,
                protocol_type: words.get("type").map(Arc::from),
                protocol: words.get("protocol").map(Arc::from),
                assignments: given.map(assignment).collect(),
            })
        }
        "heartbeat" => GroupRequest::Heartbeat(Heartbeat { group, member_id, instance_id, generation }),
        "leave" => {
            let leaving = |word: &str| match word.strip_prefix('@') {
                Some(instance) => LeavingMember { member_id: "".into(), instance_id: Some(instance.into()) },
                None => LeavingMember { member_id: names.long(word), instance_id: None },
            };
            GroupRequest::Leave(LeaveGroup { group, members: words.plain().map(leaving).collect() })
        }
        "commit" => GroupRequest::Commit(CommitOffsets {
            group,
            member_id,
            instance_id,
            generation,
            retention: words.get("retention").map(|_| words.millis("retention", 0)),
            knows_missing_group: words.get("v") == Some("9"),
            topics: words.plain().map(commit).collect(),
        }),
        "fetch" => {
            let topics: Vec<_> = words.plain().map(partitions).collect();
            let topics = Some(topics).filter(|topics| !topics.is_empty());
            GroupRequest::Fetch(FetchOffsets { group, topics, require_stable: true })
        }
        "delete-offsets" => {
            GroupRequest::DeleteOffsets(DeleteOffsets { group, topics: words.plain().map(partitions).collect() })
        }
        "delete-groups" => GroupRequest::DeleteGroups(words.plain().map(Arc::from).collect()),
        "forget-topics" => GroupRequest::ForgetTopics(words.plain().map(Arc::from).collect()),
        "describe" => GroupRequest::Describe(words.plain().map(Arc::from).collect()),
        "list" => GroupRequest::List { states: words.plain().map(str::to_owned).collect() },
        _ => return None,
    })
}

fn join(words: &Words<'_>, group: Arc<str>, member_id: Arc<str>, instance_id: Option<Arc<str>>) -> JoinGroup {
    let version = words.number("v", 9);
    let offered = |protocol: &str| {
        let (name, topics) = protocol.split_once(':').expect("protocol:topics");
        JoinProtocol { name: name.into(), metadata: subscription(topics) }
    };
    JoinGroup {
        group,
        member_id,
        instance_id,
        client_id: words.arc("client", "app"),
        client_host: "/127.0.0.1".into(),
        session_timeout: words.millis("session", 10_000),
        rebalance_timeout: words.millis("rebalance", 60_000),
        protocol_type: words.arc("type", "consumer"),
        protocols: words.get("protocols").unwrap_or("range:t").split(';').map(offered).collect(),
        requires_known_member_id: version >= 4,
        supports_skipping_assignment: version >= 9,
    }
}

/// `ConsumerProtocolSubscription` version 0.
fn subscription(topics: &str) -> Bytes {
    let topics: Vec<_> = topics.split(',').filter(|topic| !topic.is_empty()).collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(i32::try_from(topics.len()).unwrap());
    for topic in topics {
        bytes.put_i16(i16::try_from(topic.len()).unwrap());
        bytes.put_slice(topic.as_bytes());
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

/// `topic:partition=offset`, then `/epoch`, `/metadata` and `/commit timestamp` if given.
fn commit(word: &str) -> CommitTopic {
    let (topic, rest) = word.split_once(':').expect("topic:partition=offset");
    let (partition, value) = rest.split_once('=').expect("partition=offset");
    let mut parts = value.split('/');
    let mut number = |default: &str| parts.next().unwrap_or(default).to_owned();
    let offset = CommitOffset {
        partition: partition.parse().unwrap(),
        offset: number("").parse().unwrap(),
        leader_epoch: number("-1").parse().unwrap(),
        metadata: number("").into(),
        commit_timestamp: parts.next().map(|at| at.parse().unwrap()),
    };
    CommitTopic { name: topic.into(), partitions: vec![offset] }
}

/// `topic:partition,partition`.
fn partitions(word: &str) -> TopicPartitions {
    let (topic, partitions) = word.split_once(':').expect("topic:partitions");
    let partitions = partitions.split(',').map(|partition| partition.parse().unwrap()).collect();
    TopicPartitions { name: topic.into(), partitions }
}
