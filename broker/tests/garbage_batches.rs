//! Damaged record batches are refused with Kafka's error codes, leave no trace, and cost bounded memory.
//!
//! `MILLRACE_GARBAGE_BOOTSTRAP` names a Kafka broker on which the same batches are tried instead.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::net::SocketAddr;

use bytes::Bytes;
use common::{Broker, Client};
use kafka_protocol::messages::ProduceRequest;
use millrace_storage::{BatchBuilder, Codec};
use tempfile::tempdir;

const UNKNOWN_SERVER_ERROR: i16 = -1;
const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_RECORD: i16 = 87;

/// What Kafka has no answer of its own for: it answers with the exception that nobody expected.
const UNFORESEEN: &[i16] = &[INVALID_RECORD, UNKNOWN_SERVER_ERROR];

// Positions of the fields of a batch's header.
const BASE_OFFSET: usize = 0;
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const PRODUCER_ID: usize = 43;
const BASE_SEQUENCE: usize = 53;
const COUNT: usize = 57;
const HEADER: usize = 61;

fn batch(codec: Codec, values: &[&[u8]]) -> Bytes {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let begin = BatchBuilder::new(i64::try_from(now.as_millis()).expect("fits"), codec);
    values.iter().fold(begin, |batch, value| batch.push(None, Some(value))).build().expect("fits")
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

/// The bytes with other bytes at `at`.
fn with<const N: usize>(bytes: &[u8], at: usize, field: [u8; N]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + N].copy_from_slice(&field);
    bytes
}

/// The bytes with the length and the checksum that they have.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len() - 12).expect("fits");
    let bytes = with(bytes, LENGTH, length.to_be_bytes());
    with(&bytes, CRC, crc32c(&bytes[ATTRIBUTES..]).to_be_bytes())
}

/// A kind of damage, the topic it is sent to, the records, and the codes that are right.
type Case = (&'static str, &'static str, Vec<u8>, &'static [i16]);

/// What is wrong with the bytes as such.
fn broken_bytes() -> Vec<Case> {
    let good = batch(Codec::None, &[b"one", b"two"]);
    let last = good.len() - 1;
    let flipped = with(&good, last, [good[last] ^ 1]);
    vec![
        ("no bytes", "plain", Vec::new(), &[INVALID_RECORD]),
        ("another checksum", "plain", with(&good, CRC, [1, 2, 3, 4]), &[CORRUPT_MESSAGE]),
        ("a flipped bit", "plain", flipped, &[CORRUPT_MESSAGE]),
        ("the last byte missing", "plain", good[..last].to_vec(), &[INVALID_RECORD]),
        ("half of the header", "plain", good[..30].to_vec(), &[INVALID_RECORD]),
        ("eleven bytes", "plain", good[..11].to_vec(), &[INVALID_RECORD]),
        ("a negative length", "plain", with(&good, LENGTH, (-1i32).to_be_bytes()), &[CORRUPT_MESSAGE]),
        ("a length below any batch's", "plain", with(&good, LENGTH, 13i32.to_be_bytes()), &[CORRUPT_MESSAGE]),
        ("a length below the header's", "plain", with(&good, LENGTH, 20i32.to_be_bytes()), &[CORRUPT_MESSAGE]),
        ("a length of more than there is", "plain", with(&good, LENGTH, 5_000_000i32.to_be_bytes()), &[INVALID_RECORD]),
        ("a length of 2^31-1", "plain", with(&good, LENGTH, i32::MAX.to_be_bytes()), UNFORESEEN),
        ("two batches", "plain", [&good[..], &good].concat(), &[INVALID_RECORD]),
        ("format 0", "plain", with(&good, MAGIC, [0]), &[INVALID_RECORD]),
        ("format 1", "plain", with(&good, MAGIC, [1]), &[INVALID_RECORD]),
        ("format 3", "plain", with(&good, MAGIC, [3]), &[CORRUPT_MESSAGE]),
        ("format -1", "plain", with(&good, MAGIC, [255]), &[CORRUPT_MESSAGE]),
    ]
}

/// Batches whose checksum holds.
fn wrong_headers() -> Vec<Case> {
    let good = batch(Codec::None, &[b"one", b"two"]);
    let counted = |count: i32, last: i32| {
        sealed(&with(&with(&good, COUNT, count.to_be_bytes()), LAST_OFFSET_DELTA, last.to_be_bytes()))
    };
    let stamped = |id: i64, sequence: i32| {
        sealed(&with(&with(&good, PRODUCER_ID, id.to_be_bytes()), BASE_SEQUENCE, sequence.to_be_bytes()))
    };
    let attributes = |bits: i16| sealed(&with(&good, ATTRIBUTES, bits.to_be_bytes()));
    vec![
        ("no record", "plain", counted(0, 1), &[INVALID_RECORD]),
        ("records below none", "plain", counted(-1, 1), &[INVALID_RECORD]),
        ("more records than offsets", "plain", counted(3, 1), &[INVALID_RECORD]),
        ("more offsets than records", "plain", counted(2, 7), &[INVALID_RECORD]),
        ("a negative last offset", "plain", counted(2, -5), &[INVALID_RECORD]),
        ("one record too many", "plain", counted(3, 2), &[INVALID_RECORD]),
        ("one record too few", "plain", counted(1, 0), &[INVALID_RECORD]),
        ("2^31-1 records", "plain", counted(i32::MAX, i32::MAX - 1), &[INVALID_RECORD]),
        ("2^31-1 records, compressed again", "gzip", counted(i32::MAX, i32::MAX - 1), &[INVALID_RECORD]),
        ("bytes behind the records", "plain", sealed(&[&good[..], b"tail"].concat()), &[INVALID_RECORD]),
        ("records cut short", "plain", sealed(&good[..good.len() - 3]), &[INVALID_RECORD]),
        ("no bytes of records", "plain", sealed(&good[..HEADER]), &[INVALID_RECORD]),
        ("a producer id without a sequence", "plain", stamped(7, -1), &[INVALID_RECORD]),
        ("a control batch", "plain", attributes(0x20), &[INVALID_RECORD]),
        ("an offset of its own", "plain", sealed(&with(&good, BASE_OFFSET, 5i64.to_be_bytes())), &[INVALID_RECORD]),
        ("an unknown codec", "plain", attributes(7), UNFORESEEN),
    ]
}

/// Records that do not unfold. A topic of another codec makes the broker unfold them.
fn wrong_records() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let names = [
        ["gzip noise", "snappy noise", "lz4 noise", "zstd noise"],
        ["gzip cut", "snappy cut", "lz4 cut", "zstd cut"],
        ["gzip, too many records", "snappy, too many records", "lz4, too many records", "zstd, too many records"],
    ];
    let values: Vec<Vec<u8>> = (0..100u8).map(|number| vec![number; 100]).collect();
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    for (number, codec) in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].into_iter().enumerate() {
        let good = batch(codec, &values);
        let topic = if codec == Codec::Gzip { "lz4" } else { "gzip" };
        let mut noise = good.to_vec();
        noise
            .iter_mut()
            .skip(HEADER)
            .zip(1u32..)
            .for_each(|(byte, n)| *byte = (n.wrapping_mul(2_654_435_761) >> 24) as u8);
        let many = with(&with(&good, COUNT, i32::MAX.to_be_bytes()), LAST_OFFSET_DELTA, (i32::MAX - 1).to_be_bytes());
        cases.push((names[0][number], topic, sealed(&noise), UNFORESEEN));
        cases.push((names[1][number], topic, sealed(&good[..good.len() - 9]), UNFORESEEN));
        cases.push((names[2][number], topic, sealed(&many), UNFORESEEN));
    }
    let large = vec![b'x'; 1_100_000];
    cases.push((
        "a batch above max.message.bytes",
        "plain",
        batch(Codec::None, &[&large]).to_vec(),
        &[MESSAGE_TOO_LARGE],
    ));
    cases
}

fn produce(client: &mut Client, topic: &str, records: Vec<u8>) -> i16 {
    let mut request = common::produce_request(topic, 0, &[], -1);
    request.topic_data[0].partition_data[0].records = Some(records.into());
    client.call::<ProduceRequest>(&request, 9).responses[0].partition_responses[0].error_code
}

#[test]
fn damaged_batches_are_refused_by_code_and_leave_no_trace() {
    let directory = tempdir().expect("a directory");
    let external = std::env::var("MILLRACE_GARBAGE_BOOTSTRAP").ok();
    let broker = external.is_none().then(|| Broker::start(directory.path(), &[]));
    let address: SocketAddr = match (&broker, external) {
        (Some(broker), _) => broker.address,
        (None, address) => address.expect("one of them").parse().expect("an address"),
    };
    let mut client = Client::connect(address);
    for (topic, compression) in [("plain", "producer"), ("gzip", "gzip"), ("lz4", "lz4")] {
        assert_eq!(client.create_topic(topic, 1, &[("compression.type", compression)]), 0);
        client.await_leaders(topic);
    }
    let mut wrong = Vec::new();
    for (name, topic, records, right) in [broken_bytes(), wrong_headers(), wrong_records()].into_iter().flatten() {
        let code = produce(&mut client, topic, records);
        if !right.contains(&code) {
            wrong.push(format!("{name}: {code} instead of {right:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (topic, codec) in [("plain", Codec::Lz4), ("gzip", Codec::Zstd), ("lz4", Codec::None)] {
        assert_eq!(client.fetch_all(topic, 0), [], "nothing of it is in {topic}");
        assert_eq!(produce(&mut client, topic, batch(codec, &[b"good"]).to_vec()), 0, "{topic} takes good batches");
    }
    if let Some(mut broker) = broker {
        // 200 MB of zeros, far below the topic's limit. Kafka unfolds all of it.
        let zeros = vec![0; 200 << 20];
        let bomb = batch(Codec::Zstd, &[&zeros]).to_vec();
        assert_eq!(produce(&mut client, "gzip", bomb), MESSAGE_TOO_LARGE);
        broker.is_sound(300 << 20);
    }
}
