//! Prints records and responses as a reviewer reads them.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use millrace_coordinator::record::{GroupValue, Key, OffsetValue, visit_topics};
use millrace_coordinator::{CommittedTopic, DescribedGroup, GroupResponse, JoinedGroup, Record};

use crate::names::Names;

/// What a record says, read back from its bytes.
pub(crate) fn record(record: &Record, names: &mut Names) -> String {
    match (Key::decode(&record.key).unwrap(), &record.value) {
        (Key::Offset { group, topic, partition }, Some(value)) => {
            let value = OffsetValue::decode(value).unwrap();
            let mut line = format!("record offset {group} {topic}:{partition} = {}", value.offset);
            if value.leader_epoch >= 0 {
                write!(line, " epoch {}", value.leader_epoch).unwrap();
            }
            if !value.metadata.is_empty() {
                write!(line, " metadata {:?}", value.metadata).unwrap();
            }
            if let Some(at) = value.expire_timestamp {
                write!(line, " until {at}").unwrap();
            }
            line
        }
        (Key::Offset { group, topic, partition }, None) => format!("record offset {group} {topic}:{partition} deleted"),
        (Key::Group(group), Some(value)) => group_record(&group, &GroupValue::decode(value).unwrap(), names),
        (Key::Group(group), None) => format!("record group {group} deleted"),
        (Key::Other(kind), _) => format!("record of kind {kind}"),
    }
}

fn group_record(group: &str, value: &GroupValue, names: &mut Names) -> String {
    let mut line = format!("record group {group} = generation {}", value.generation);
    if let Some(protocol) = &value.protocol {
        write!(line, " {}/{protocol}", value.protocol_type).unwrap();
    }
    if let Some(leader) = &value.leader {
        write!(line, " leader {}", names.short(leader)).unwrap();
    }
    for member in &value.members {
        write!(line, " [{}", names.short(&member.member_id)).unwrap();
        if let Some(instance) = &member.instance_id {
            write!(line, " @{instance}").unwrap();
        }
        write!(line, " {} -> {}]", topics(&member.subscription), text(&member.assignment)).unwrap();
    }
    line
}

/// What a request is answered.
pub(crate) fn response(response: &GroupResponse, names: &mut Names) -> String {
    match response {
        GroupResponse::Join(joined) => join(joined, names),
        GroupResponse::Sync(synced) => match synced.error.code() {
            0 => format!("assigned {}", text(&synced.assignment)),
            _ => format!("{:?}", synced.error),
        },
        GroupResponse::Heartbeat(error) => format!("{error:?}"),
        GroupResponse::Leave(left) => {
            let mut line = format!("{:?}", left.error);
            for member in &left.members {
                let name = member.instance_id.as_ref().map(|id| format!("@{id}"));
                let name = name.unwrap_or_else(|| names.short(&member.member_id));
                write!(line, " {name}:{:?}", member.error).unwrap();
            }
            line
        }
        GroupResponse::Commit(topics) | GroupResponse::DeleteOffsets(topics) => committed(topics),
        GroupResponse::Fetch(fetched) => {
            let mut words = Vec::new();
            for topic in &fetched.topics {
                for at in &topic.partitions {
                    let mut word = format!("{}:{}={}", topic.name, at.partition, at.offset);
                    if at.leader_epoch >= 0 || !at.metadata.is_empty() {
                        write!(word, "/{}/{}", at.leader_epoch, at.metadata).unwrap();
                    }
                    words.push(word);
                }
            }
            if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
        }
        GroupResponse::DeleteGroups(groups) => {
            let word = |(group, error): &(Arc<str>, _)| format!("{group}:{error:?}");
            groups.iter().map(word).collect::<Vec<_>>().join(" ")
        }
        GroupResponse::ForgetTopics => "forgotten".to_owned(),
        GroupResponse::Describe(groups) => {
            groups.iter().map(|group| described(group, names)).collect::<Vec<_>>().join("; ")
        }
        GroupResponse::List(groups) => {
            let words = groups.iter().map(|group| format!("{}:{}:{}", group.group, group.protocol_type, group.state));
            let words: Vec<_> = words.collect();
            if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
        }
        GroupResponse::Failed(error) => format!("failed {error:?}"),
    }
}

fn join(joined: &JoinedGroup, names: &mut Names) -> String {
    let member = names.short(&joined.member_id);
    if joined.error.code() != 0 {
        return format!("{:?} member {member:?}", joined.error);
    }
    let mut line = format!("joined as {member} generation {}", joined.generation);
    write!(line, " {} leader {}", joined.protocol.as_deref().unwrap_or("-"), names.short(&joined.leader)).unwrap();
    if joined.skip_assignment {
        line.push_str(" skip-assignment");
    }
    for member in &joined.members {
        write!(line, " [{} {}]", names.short(&member.member_id), topics(&member.metadata)).unwrap();
    }
    line
}

fn committed(topics: &[CommittedTopic]) -> String {
    let words = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|(partition, error)| format!("{}:{partition}:{error:?}", topic.name))
    });
    words.collect::<Vec<_>>().join(" ")
}

fn described(group: &DescribedGroup, names: &mut Names) -> String {
    let mut line = format!("{} {} {}/{}", group.group, group.state, group.protocol_type, group.protocol);
    for member in &group.members {
        write!(line, " [{}", names.short(&member.member_id)).unwrap();
        if let Some(instance) = &member.instance_id {
            write!(line, " @{instance}").unwrap();
        }
        write!(line, " {} {} {}", member.client_id, member.client_host, topics(&member.metadata)).unwrap();
        write!(line, " -> {}]", text(&member.assignment)).unwrap();
    }
    line
}

fn topics(metadata: &[u8]) -> String {
    let mut topics = Vec::new();
    match visit_topics(metadata, |topic| topics.push(topic.to_owned())) {
        Ok(()) => format!("({})", topics.join(",")),
        Err(_) => format!("({} bytes)", metadata.len()),
    }
}

fn text(assignment: &Bytes) -> String {
    if assignment.is_empty() { "nothing".to_owned() } else { String::from_utf8_lossy(assignment).into_owned() }
}
