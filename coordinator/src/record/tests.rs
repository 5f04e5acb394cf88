//! Fixed bytes, round trips, and bytes from an enemy.

use bytes::Bytes;
use proptest::prelude::*;

use super::key::{group_key, offset_key};
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn offset(expire_timestamp: Option<i64>, leader_epoch: i32) -> OffsetValue {
    OffsetValue { offset: 42, leader_epoch, metadata: "m".into(), commit_timestamp: 1_000, expire_timestamp }
}

fn group(rebalance_timeout_ms: i32, state_timestamp: i64, instance_id: Option<&str>) -> GroupValue {
    GroupValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("a".into()),
        state_timestamp,
        members: vec![MemberValue {
            member_id: "a".into(),
            instance_id: instance_id.map(Into::into),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(&[1, 2]),
            assignment: Bytes::from_static(&[9]),
        }],
    }
}

#[test]
fn keys_have_kafkas_bytes() {
    let key = Key::Offset { group: "g".into(), topic: "t1".into(), partition: 5 };
    assert_eq!(offset_key("g", "t1", 5), hex("0001 0001 67 0002 7431 00000005"));
    assert_eq!(Key::decode(&hex("0001 0001 67 0002 7431 00000005")), Ok(key.clone()));
    assert_eq!(Key::decode(&hex("0000 0001 67 0002 7431 00000005")), Ok(key));
    assert_eq!(group_key("g"), hex("0002 0001 67"));
    assert_eq!(Key::decode(&hex("0002 0001 67")), Ok(Key::Group("g".into())));
    assert_eq!(Key::decode(&hex("0003 0001 67")), Ok(Key::Other(3)));
}

#[test]
fn offsets_have_kafkas_bytes_in_every_version() {
    let v3 = hex("0003 000000000000002a 00000007 0001 6d 00000000000003e8");
    assert_eq!(offset(None, 7).encode(), v3);
    assert_eq!(OffsetValue::decode(&v3), Ok(offset(None, 7)));
    let v1 = hex("0001 000000000000002a 0001 6d 00000000000003e8 00000000000007d0");
    assert_eq!(offset(Some(2_000), 7).encode(), v1);
    assert_eq!(OffsetValue::decode(&v1), Ok(offset(Some(2_000), -1)));
    for old in ["0000 000000000000002a 0001 6d 00000000000003e8", "0002 000000000000002a 0001 6d 00000000000003e8"] {
        assert_eq!(OffsetValue::decode(&hex(old)), Ok(offset(None, -1)));
    }
    // Version 4 is flexible and may carry the topic id as tag 0.
    let v4 = hex("0004 000000000000002a 00000007 02 6d 00000000000003e8 01 00 10 000102030405060708090a0b0c0d0e0f");
    assert_eq!(OffsetValue::decode(&v4), Ok(offset(None, 7)));
}

#[test]
fn groups_have_kafkas_bytes_in_every_version() {
    let head = "0008 636f6e73756d6572 00000003 0005 72616e6765 0001 61";
    let tail = "00002710 00000002 0102 00000001 09";
    let v0 = hex(&format!("0000 {head} 00000001 0001 61 0001 63 0002 2f68 {tail}"));
    assert_eq!(GroupValue::decode(&v0), Ok(group(10_000, -1, None)));
    let v1 = hex(&format!("0001 {head} 00000001 0001 61 0001 63 0002 2f68 00000005 {tail}"));
    assert_eq!(GroupValue::decode(&v1), Ok(group(5, -1, None)));
    let v2 = hex(&format!("0002 {head} 0000000000000063 00000001 0001 61 0001 63 0002 2f68 00000005 {tail}"));
    assert_eq!(GroupValue::decode(&v2), Ok(group(5, 99, None)));
    let v3 = hex(&format!("0003 {head} 0000000000000063 00000001 0001 61 0001 69 0001 63 0002 2f68 00000005 {tail}"));
    assert_eq!(GroupValue::decode(&v3), Ok(group(5, 99, Some("i"))));
    assert_eq!(group(5, 99, Some("i")).encode(), v3);
    let v4 = hex("0004 09 636f6e73756d6572 00000003 06 72616e6765 02 61 0000000000000063 02 \
         02 61 02 69 02 63 03 2f68 00000005 00002710 03 0102 02 09 00 00");
    assert_eq!(GroupValue::decode(&v4), Ok(group(5, 99, Some("i"))));
}

#[test]
fn subscriptions_are_read_whatever_follows_the_topics() {
    let mut topics = Vec::new();
    visit_topics(&hex("0003 00000002 0001 62 0001 61 ffffffff 00000000"), |topic| topics.push(topic.to_owned()))
        .unwrap();
    assert_eq!(topics, ["b", "a"]);
    assert!(visit_topics(&hex("0000 7fffffff 0001"), |_| ()).is_err());
    assert!(visit_topics(&[], |_| ()).is_err());
}

#[test]
fn impossible_lengths_and_versions_are_refused() {
    let huge_count = hex("0003 0000 00000000 ffff ffff 0000000000000000 7fffffff");
    assert_eq!(GroupValue::decode(&huge_count), Err(FormatError::Truncated { field: "members" }));
    let negative = hex("0003 8000");
    assert_eq!(GroupValue::decode(&negative), Err(FormatError::Truncated { field: "protocolType" }));
    assert_eq!(
        OffsetValue::decode(&hex("0005")),
        Err(FormatError::UnknownVersion { schema: "OffsetCommitValue", version: 5 })
    );
    assert_eq!(Key::decode(&hex("ffff")), Err(FormatError::UnknownVersion { schema: "key", version: -1 }));
    assert_eq!(Key::decode(&hex("0002 0001 ff")), Err(FormatError::NotUtf8 { field: "group" }));
    assert_eq!(Key::decode(&hex("0002 0001 67 00")), Err(FormatError::TrailingBytes { schema: "key", bytes: 1 }));
    // A varint of more than 32 bits.
    assert!(OffsetValue::decode(&hex("0004 000000000000002a 00000007 ffffffffff")).is_err());
}

prop_compose! {
    fn any_member()(
        member_id in ".{0,20}", instance_id in proptest::option::of(".{0,8}"), client_id in ".{0,8}",
        client_host in ".{0,8}", rebalance_timeout_ms: i32, session_timeout_ms: i32,
        subscription in proptest::collection::vec(any::<u8>(), 0..40),
        assignment in proptest::collection::vec(any::<u8>(), 0..40),
    ) -> MemberValue {
        MemberValue {
            member_id: member_id.into(), instance_id: instance_id.map(Into::into), client_id: client_id.into(),
            client_host: client_host.into(), rebalance_timeout_ms, session_timeout_ms,
            subscription: subscription.into(), assignment: assignment.into(),
        }
    }
}

proptest! {
    #[test]
    fn groups_survive_the_round_trip(
        protocol_type in ".{0,10}", generation: i32, protocol in proptest::option::of(".{0,10}"),
        leader in proptest::option::of(".{0,10}"), state_timestamp: i64,
        members in proptest::collection::vec(any_member(), 0..5),
    ) {
        let value = GroupValue {
            protocol_type: protocol_type.into(), generation, protocol: protocol.map(Into::into),
            leader: leader.map(Into::into), state_timestamp, members,
        };
        let bytes = value.encode();
        prop_assert_eq!(bytes.len(), value.encoded_len());
        prop_assert_eq!(GroupValue::decode(&bytes), Ok(value));
    }

    #[test]
    fn offsets_survive_the_round_trip(
        offset: i64, leader_epoch: i32, metadata in ".{0,40}", commit_timestamp: i64,
        expire in proptest::option::of(0..i64::MAX),
    ) {
        let mut value = OffsetValue {
            offset, leader_epoch, metadata: metadata.into(), commit_timestamp, expire_timestamp: expire,
        };
        let bytes = value.encode();
        prop_assert_eq!(bytes.len(), value.encoded_len());
        if expire.is_some() {
            value.leader_epoch = -1;
        }
        prop_assert_eq!(OffsetValue::decode(&bytes), Ok(value));
    }

    #[test]
    fn any_bytes_are_read_or_refused(version in 0_i16..5, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut versioned = version.to_be_bytes().to_vec();
        versioned.extend(bytes);
        let _ = Key::decode(&versioned);
        let _ = OffsetValue::decode(&versioned);
        let _ = GroupValue::decode(&versioned);
        let _ = visit_topics(&versioned, |_| ());
    }

    #[test]
    fn a_damaged_group_is_read_or_refused(members in proptest::collection::vec(any_member(), 0..3), at: usize, byte: u8) {
        let mut bytes = GroupValue { members, ..group(1, 1, None) }.encode().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = GroupValue::decode(&bytes);
        bytes.truncate(at);
        prop_assert!(GroupValue::decode(&bytes).is_err());
    }
}
