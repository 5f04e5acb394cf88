//! The bytes of messages: as documented, back and forth, and of anything.

use std::fmt::Write as _;
use std::sync::Arc;

use millrace_types::ErrorCode;

use super::*;
use crate::command::{ConfigOperation, ConfigResource, CreateTopics, NewTopic, ResourceChange, SetConfigs};
use crate::outcome::{CommandResult, CreatedTopic, ItemError};
use crate::topic_ids::TopicIds;

fn every_kind() -> Vec<(&'static str, Message)> {
    let by = Proposer { broker: BrokerId(2), directory: DirectoryId::from_u128(0xd), incarnation: 3 };
    let (ballot, higher) = (Ballot { n: 0, by }, Ballot { n: 5, by });
    let value: Value = Arc::from(&b"[]"[..]);
    let hash = ChainHash::default();
    let topic = NewTopic { configs: vec![("a".to_owned(), None)], ..NewTopic::with_defaults("t") };
    let set = ResourceChange {
        resource: ConfigResource::Topic("t".to_owned()),
        operation: ConfigOperation::Replace(vec![("k".to_owned(), Some("v".to_owned()))]),
    };
    let commands = vec![
        Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: true }),
        Command::SetConfigs(SetConfigs { resources: vec![set], validate_only: false }),
    ];
    let created = CreatedTopic {
        id: TopicIds::new(1).draw(),
        partitions: 1,
        replication_factor: 1,
        overrides: std::collections::BTreeMap::new(),
    };
    let results = vec![
        CommandResult::CreatedTopics(vec![("t".to_owned(), Ok(created))]),
        CommandResult::Failed(ItemError::new(ErrorCode::RequestTimedOut, "late")),
    ];
    vec![
        ("Prepare", Message::Prepare { slot: 7, ballot: higher }),
        ("Promise", Message::Promise { slot: 7, ballot: higher, accepted: None }),
        ("Promise", Message::Promise { slot: 7, ballot: higher, accepted: Some((ballot, value.clone())) }),
        ("Nack", Message::Nack { slot: 7, ballot, promised: higher }),
        ("Accept", Message::Accept { slot: 7, ballot, value: value.clone() }),
        ("Accepted", Message::Accepted { slot: 7, ballot }),
        ("Chosen", Message::Chosen { first: 7, values: vec![value.clone(), value.clone()], hash }),
        ("Behind", Message::Behind { slot: 7, applied: 4 }),
        ("NotAcceptor", Message::NotAcceptor { slot: 7 }),
        ("Status", Message::Status { applied: 6, hash }),
        ("Query", Message::Query { id: 9, slot: 7 }),
        ("Head", Message::Head { id: 9, applied: 6, undecided: true }),
        ("Fetch", Message::Fetch { after: 6, snapshot: None }),
        ("Fetch", Message::Fetch { after: 6, snapshot: Some((8, 512)) }),
        ("Snapshot", Message::Snapshot { epoch: 8, total: 514, offset: 512, bytes: value }),
        ("Forward", Message::Forward { id: 9, slot: 7, number: 8, commands }),
        ("Forwarded", Message::Forwarded { id: 9, outcome: None }),
        ("Forwarded", Message::Forwarded { id: 9, outcome: Some((8, results)) }),
    ]
}

/// The bytes are pinned: brokers of two releases must read each other.
#[test]
fn bytes_are_those_of_the_golden_file() {
    let mut text = String::new();
    for (name, message) in every_kind() {
        write!(text, "{name} ").unwrap();
        message.encode().iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/log/codec/golden.txt");
    if std::env::var_os("MILLRACE_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    for (name, message) in every_kind() {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes), Ok(message), "{name}");
        for cut in 0..bytes.len() {
            assert!(Message::decode(&bytes[..cut]).is_err(), "{name} of {cut} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Message::decode(&longer).is_err(), "{name} with a byte behind");
    }
}

#[test]
fn other_layouts_kinds_and_lengths_are_refused() {
    assert_eq!(Message::decode(&[2, 1]), Err(DecodeError::Layout(2)));
    assert_eq!(Message::decode(&[1, 99]), Err(DecodeError::Kind(99)));
    let long = vec![1; MAX_MESSAGE_BYTES + 1];
    assert_eq!(Message::decode(&long), Err(DecodeError::TooLong(long.len())));
    let count = [&[1, 6][..], &[0; 40], &u32::MAX.to_be_bytes()].concat();
    assert_eq!(Message::decode(&count), Err(DecodeError::CutOff));
}

/// A message that can be read is written again; its JSON may have been written otherwise, so only the second time counts.
fn again(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        let written = message.encode();
        assert_eq!(Message::decode(&written), Ok(message));
    }
}

#[test]
fn fuzz_messages() {
    bolero::check!().with_iterations(4_000).for_each(|bytes: &[u8]| again(bytes));
}

#[test]
fn fuzz_changed_messages() {
    let messages: Vec<Vec<u8>> = every_kind().iter().map(|(_, message)| message.encode()).collect();
    bolero::check!().with_iterations(4_000).with_type::<(u8, u16, u8, u16)>().for_each(|(which, at, byte, cut)| {
        let mut bytes = messages[usize::from(*which) % messages.len()].clone();
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *byte;
        bytes.truncate(bytes.len() - usize::from(*cut) % 3);
        again(&bytes);
    });
}
