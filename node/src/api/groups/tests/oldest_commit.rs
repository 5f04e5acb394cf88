//! `OffsetCommit` version 1, which the codec does not know, byte by byte.

use bytes::BufMut;
use kafka_protocol::messages::ApiKey;

use super::*;

fn put_string(body: &mut BytesMut, text: &str) {
    body.put_i16(i16::try_from(text.len()).expect("short"));
    body.put_slice(text.as_bytes());
}

/// A request of a consumer without group management; its partitions are offset, timestamp and metadata.
fn request(topic: &str, partitions: &[(i64, i64, Option<&str>)]) -> Bytes {
    let mut body = BytesMut::new();
    put_string(&mut body, "g");
    body.put_i32(-1);
    put_string(&mut body, "");
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(i32::try_from(partitions.len()).expect("few"));
    for (number, (offset, timestamp, metadata)) in (0..).zip(partitions) {
        body.put_i32(number);
        body.put_i64(*offset);
        body.put_i64(*timestamp);
        match metadata {
            Some(text) => put_string(&mut body, text),
            None => body.put_i16(-1),
        }
    }
    body.freeze()
}

const KEY: i16 = ApiKey::OffsetCommit as i16;

#[test]
fn the_oldest_commit_is_served() {
    let mut desk = Desk::with_offsets_topic();
    let body = request("t", &[(42, -1, Some("note")), (43, -1, None), (44, -1, None)]);
    let response = desk.send(KEY, 1, body);
    let codes = "\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\x02\0\x03";
    assert_eq!(&response[..], format!("\0\0\0\x01\0\x01t\0\0\0\x03{codes}").as_bytes(), "topic t has no partition 2");
    let fetched = desk.ask(1, &fetch_old(Some(&["t"])));
    let partitions = &fetched.topics[0].partitions;
    assert_eq!((partitions[0].committed_offset, partitions[0].metadata.as_deref()), (42, Some("note")));
    assert_eq!((partitions[1].committed_offset, partitions[1].metadata.as_deref()), (43, Some("")));
}

#[test]
fn a_topic_that_does_not_exist_is_answered_without_a_coordinator() {
    let mut desk = Desk::with_offsets_topic();
    let response = desk.send(KEY, 1, request("nowhere", &[(1, -1, None)]));
    assert_eq!(&response[..], b"\0\0\0\x01\0\x07nowhere\0\0\0\x01\0\0\0\0\0\x03");
    assert!(desk.shards.is_empty());
}

#[test]
fn a_timestamp_is_when_the_offset_was_committed() {
    let mut desk = Desk::with_offsets_topic();
    let long_ago = desk.world.now.wall - 8 * 24 * 3_600_000;
    desk.send(KEY, 1, request("t", &[(42, long_ago, None), (43, -1, None)]));
    let (now, mut out) = (desk.world.now, Outcome::default());
    let shard = desk.shards.values_mut().next().expect("one was asked");
    shard.loaded(now, &mut out);
    let later = millrace_types::Now { instant: shard.next_deadline(), ..now };
    shard.on_timer(later, &mut out);
    let fetched = desk.ask(1, &fetch_old(Some(&["t"])));
    let offsets: Vec<i64> = fetched.topics[0].partitions.iter().map(|partition| partition.committed_offset).collect();
    assert_eq!(offsets, [-1, 43], "offsets.retention.minutes is a week");
}

#[test]
fn a_request_that_is_cut_or_has_a_wrong_length_is_refused() {
    let mut desk = Desk::with_offsets_topic();
    let whole = request("t", &[(42, -1, Some("note"))]);
    for length in 0..whole.len() {
        let cx = &mut Desk::context(&desk.world, &mut desk.session, &mut desk.out, 1);
        let handle = api(KEY).expect("served").handle;
        assert!(handle(cx, whole.slice(..length)).is_err(), "{length} bytes");
    }
}
