//! What is written is read, its bytes are the documented ones, and what is no frame is refused.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_raft::{
    Ack, Acknowledged, BeginEpoch, Configuration, ConfigurationId, Denial, EndEpoch, EpochStart, Fenced, FetchBody,
    FetchRequest, FetchResponse, Message, Position, RepairRequest, RepairResponse, ReplicaKey, VoteRequest,
    VoteResponse, Voter, VoterRole,
};
use millrace_types::{BrokerId, DirectoryId, TopicId, TopicPartition};
use uuid::Uuid;

use super::frame::finish;
use super::*;
use crate::testing::Dice;
use crate::wire::Frame;

/// One line for each kind: a name, and the frame in hexadecimal.
const GOLDEN: &str = include_str!("golden.txt");

/// The frame behind its length, which is checked.
fn body(frame: &Frame) -> Bytes {
    let mut bytes = frame.to_bytes();
    let length = bytes.split_to(LENGTH_LEN);
    let size = frame_size(length.as_ref().try_into().expect("four bytes"), true).expect("a length");
    assert_eq!(size, bytes.len());
    bytes
}

fn frame_of(metadata_epoch: u64, messages: &[PeerMessage]) -> Frame {
    let (mut batch, mut scratch) = (Batch::new(metadata_epoch), BytesMut::new());
    for message in messages {
        batch.push(encode_message(&mut scratch, message.clone()));
    }
    batch.finish()
}

fn assert_same(one: &PeerMessage, other: &PeerMessage) {
    assert_eq!((one.partition, one.to), (other.partition, other.to));
    assert_eq!(one.message, other.message);
    assert_eq!(one.records.to_bytes(), other.records.to_bytes());
}

fn round_trip(metadata_epoch: u64, messages: &[PeerMessage]) {
    let PeerFrame::Messages(read) = decode(body(&frame_of(metadata_epoch, messages))).expect("a frame") else {
        panic!("no messages")
    };
    assert_eq!((read.metadata_epoch, read.messages.len()), (metadata_epoch, messages.len()));
    for (one, other) in messages.iter().zip(&read.messages) {
        assert_same(one, other);
    }
}

#[test]
fn every_kind_of_message_is_read_as_it_was_written() {
    proptest::proptest!(|(seed in proptest::prelude::any::<u64>())| {
        let mut dice = Dice::new(seed);
        let messages: Vec<_> = (0..generate::KINDS).map(|kind| generate::message(&mut dice, kind)).collect();
        for message in &messages {
            round_trip(seed, std::slice::from_ref(message));
        }
        round_trip(seed, &messages);
    });
}

#[test]
fn hello_and_refusal_are_read_as_they_were_written() {
    proptest::proptest!(|(seed in proptest::prelude::any::<u64>())| {
        let mut dice = Dice::new(seed);
        let (hello, refusal) = (generate::hello(&mut dice), generate::refusal(&mut dice));
        let PeerFrame::Hello(read) = decode(body(&hello_frame(&hello).into())).expect("a hello") else {
            panic!("no hello")
        };
        assert_eq!(read, hello);
        let PeerFrame::HelloRefused(read) = decode(body(&refused_frame(refusal).into())).expect("a refusal") else {
            panic!("no refusal")
        };
        assert_eq!(read, refusal);
        let PeerFrame::Keepalive { tick } = decode(body(&keepalive_frame(seed).into())).expect("a keepalive") else {
            panic!("no keepalive")
        };
        assert_eq!(tick, seed);
    });
}

#[test]
fn records_are_neither_copied_out_nor_in() {
    let records = Bytes::from(vec![7; 10_000]);
    let mut message = generate::message(&mut Dice::new(1), 7);
    message.records = Frame::from(records.clone());
    let frame = frame_of(0, &[message]);
    assert!(frame.chunks().iter().any(|chunk| chunk.as_ptr() == records.as_ptr()), "the mapping itself is sent");
    let bytes = body(&frame);
    let PeerFrame::Messages(read) = decode(bytes.clone()).expect("a frame") else { panic!("no messages") };
    let came = read.messages[0].records.to_bytes();
    assert!(bytes.as_ptr_range().contains(&came.as_ptr()), "a slice of the frame");
    assert_eq!(came, records);
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    let mut dice = Dice::new(3);
    let messages: Vec<_> = (0..generate::KINDS).map(|kind| generate::message(&mut dice, kind)).collect();
    let whole = body(&frame_of(1, &messages));
    for cut in 0..whole.len() {
        assert!(decode(whole.slice(..cut)).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        assert!(matches!(decode(bytes.into()), Err(PeerWireError::Crc { .. })), "{at}");
    }
}

/// A frame with the right checksum around any bytes.
pub(crate) fn sealed(layout: u8, kind: u8, fields: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_bytes(0, 8);
    out.put_u8(layout);
    out.put_u8(kind);
    out.put_slice(fields);
    finish(out).slice(LENGTH_LEN..)
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_allocated() {
    let many = sealed(1, 4, &[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(decode(many).unwrap_err(), PeerWireError::Truncated("messages"));
    let mut crowd = vec![0; 8];
    crowd.extend(65_537_u32.to_be_bytes());
    crowd.extend(vec![0; 65_537 * 37]);
    assert_eq!(decode(sealed(1, 4, &crowd)).unwrap_err(), PeerWireError::Impossible("messages"));
    let limits = |length: u32, greeted| frame_size(length.to_be_bytes(), greeted).is_ok();
    assert!(limits(4_096, false) && !limits(4_097, false), "a stranger gets little room");
    assert!(limits(128 << 20, true) && !limits((128 << 20) + 1, true) && !limits(5, true));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    assert_eq!(decode(sealed(2, 3, &[0; 8])).unwrap_err(), PeerWireError::Layout(2));
    assert_eq!(decode(sealed(1, 9, &[])).unwrap_err(), PeerWireError::Kind { what: "a frame", kind: 9 });
    assert_eq!(decode(sealed(1, 3, &[0; 9])).unwrap_err(), PeerWireError::Trailing(1));
    assert_eq!(decode(sealed(1, 3, &[0; 7])).unwrap_err(), PeerWireError::Truncated("tick"));
    let mut negative = vec![0; 8 + 4];
    negative[11] = 1;
    negative.extend([0; 16]);
    negative.extend([0xff, 0, 0, 0]);
    negative.extend([0; 17]);
    assert_eq!(decode(sealed(1, 4, &negative)).unwrap_err(), PeerWireError::Impossible("partition"));
}

fn key(broker: i32) -> ReplicaKey {
    ReplicaKey { broker: BrokerId(broker), directory: DirectoryId::from_u128(0xd0 + broker.unsigned_abs() as u128) }
}

fn configuration() -> Configuration {
    let voter = |broker, role| Voter { key: key(broker), role };
    Configuration {
        id: ConfigurationId { generation: 1, epoch: 2, version: 3 },
        voters: vec![voter(1, VoterRole::Data), voter(2, VoterRole::Witness)],
        learners: vec![key(3)],
    }
}

fn response(body: FetchBody) -> Message {
    Message::FetchResponse(FetchResponse {
        epoch: 5,
        leader: Some(key(1)),
        position: Position { epoch: 4, offset: 40 },
        incarnation: 6,
        high_watermark: 39,
        log_start: 7,
        commit: Some(41),
        unanimous: false,
        configuration: None,
        body,
    })
}

/// One message of each kind, with its name.
fn samples() -> Vec<(&'static str, Message)> {
    let (position, acknowledged) = (Position { epoch: 4, offset: 40 }, Acknowledged { epoch: 4, offset: 38 });
    let below = EpochStart { epoch: 3, start: 6 };
    let vote = VoteRequest { epoch: 5, pre: true, transfer: Some(key(1)), position, configuration: configuration() };
    let vote_response = VoteResponse {
        epoch: 5,
        asked: 4,
        pre: false,
        vote: Err(Denial::Position),
        recovering: true,
        leader: Some(key(2)),
        configuration: Some(configuration()),
    };
    let fetch = FetchRequest {
        epoch: 5,
        position,
        acknowledged,
        recovering: false,
        unfit: false,
        configuration: configuration().id,
        high_watermark: 37,
        log_start: 7,
    };
    let records = FetchBody::Records { upto: 42, markers: vec![EpochStart { epoch: 5, start: 40 }], spans: Vec::new() };
    vec![
        ("vote", Message::Vote(vote)),
        ("vote_response", Message::VoteResponse(vote_response)),
        ("begin_epoch", Message::BeginEpoch(BeginEpoch { epoch: 5 })),
        ("end_epoch", Message::EndEpoch(EndEpoch { epoch: 5, successors: vec![key(2), key(3)] })),
        ("fenced", Message::Fenced(Fenced { epoch: 5, leader: None })),
        ("fetch", Message::Fetch(fetch)),
        ("fetch_not_leader", response(FetchBody::NotLeader)),
        ("fetch_records", response(records)),
        ("fetch_diverging", response(FetchBody::Diverging { epoch: 3, end: 30 })),
        ("fetch_reset", response(FetchBody::Reset { start: 7, below: Some(below) })),
        ("ack", Message::Ack(Ack { epoch: 5, acknowledged, recovering: true })),
        ("repair", Message::Repair(RepairRequest { token: 3, from: 10, upto: 20 })),
        ("repair_response", Message::RepairResponse(RepairResponse { token: 3, from: 10 })),
    ]
}

fn golden() -> Vec<(&'static str, Bytes)> {
    let starts = vec![Start { incarnation: 6, nonce: 0xaa }, Start { incarnation: 7, nonce: 0xbb }];
    let hello = Hello {
        cluster_id: "millrace".to_owned(),
        protocol: 1,
        broker: BrokerId(1),
        to: BrokerId(2),
        directory: DirectoryId::from_u128(0xd1),
        starts,
        metadata_epoch: 9,
        generation: 1,
        shard: 0,
        shards: 2,
        attempt: 3,
    };
    let mut frames = vec![
        ("hello", hello_frame(&hello)),
        ("refused", refused_frame(Refusal::History { known: 6 })),
        ("keepalive", keepalive_frame(0x0102_0304_0506_0708)),
    ];
    for (name, plane) in [("plane_metadata", Plane::Metadata), ("plane_leaders", Plane::Leaders)] {
        frames.push((name, PlaneMessage { plane, body: Bytes::from_static(b"body") }.frame()));
    }
    let partition = TopicPartition::new(TopicId(Uuid::from_u128(0x70)), 3);
    for (name, message) in samples() {
        let records = if name == "fetch_records" || name == "repair_response" {
            Bytes::from_static(b"batch")
        } else {
            Bytes::new()
        };
        let message = PeerMessage { partition, to: DirectoryId::from_u128(0xd2), message, records: records.into() };
        frames.push((name, frame_of(9, &[message]).to_bytes()));
    }
    frames
}

/// A change of these bytes is another layout, or a mistake.
#[test]
fn the_bytes_are_those_of_the_document() {
    let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let written: Vec<String> = golden().iter().map(|(name, bytes)| format!("{name} {}", hex(bytes))).collect();
    assert_eq!(written.join("\n"), GOLDEN.trim_end(), "\n{}\n", written.join("\n"));
}
