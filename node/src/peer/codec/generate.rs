//! Frames drawn by a seed.

use bytes::Bytes;
use millrace_raft::{
    Ack, Acknowledged, BeginEpoch, Configuration, ConfigurationId, Denial, EndEpoch, EpochStart, Fenced, FetchBody,
    FetchRequest, FetchResponse, Message, Position, RepairRequest, RepairResponse, ReplicaKey, VoteRequest,
    VoteResponse, Voter, VoterRole,
};
use millrace_types::{BrokerId, DirectoryId, TopicId, TopicPartition};
use uuid::Uuid;

use super::{Hello, PeerMessage, Refusal, Start};
use crate::testing::Dice;
use crate::wire::Frame;

/// Kinds of messages; the bodies of a fetch response count one by one.
pub(crate) const KINDS: u64 = 13;

/// A number of which small and very large ones are as likely as others.
fn number(dice: &mut Dice) -> u64 {
    match dice.roll(4) {
        0 => 0,
        1 => dice.roll(100),
        2 => u64::MAX >> 1,
        _ => (dice.roll(1 << 31) << 31) | dice.roll(1 << 31),
    }
}

fn offset(dice: &mut Dice) -> i64 {
    i64::try_from(number(dice)).expect("63 bits")
}

fn epoch(dice: &mut Dice) -> i32 {
    i32::try_from(number(dice) >> 32).expect("31 bits")
}

fn uuid(dice: &mut Dice) -> Uuid {
    Uuid::from_u64_pair(number(dice), number(dice))
}

fn flip(dice: &mut Dice) -> bool {
    dice.roll(2) == 0
}

fn key(dice: &mut Dice) -> ReplicaKey {
    ReplicaKey { broker: BrokerId(epoch(dice)), directory: DirectoryId(uuid(dice)) }
}

fn some<T>(dice: &mut Dice, draw: impl FnOnce(&mut Dice) -> T) -> Option<T> {
    if flip(dice) { Some(draw(dice)) } else { None }
}

fn several<T>(dice: &mut Dice, most: u64, mut draw: impl FnMut(&mut Dice) -> T) -> Vec<T> {
    (0..dice.roll(most + 1)).map(|_| draw(dice)).collect()
}

fn position(dice: &mut Dice) -> Position {
    Position { epoch: epoch(dice), offset: offset(dice) }
}

fn acknowledged(dice: &mut Dice) -> Acknowledged {
    Acknowledged { epoch: epoch(dice), offset: offset(dice) }
}

fn epoch_start(dice: &mut Dice) -> EpochStart {
    EpochStart { epoch: epoch(dice), start: offset(dice) }
}

fn configuration_id(dice: &mut Dice) -> ConfigurationId {
    let mut half = || u32::try_from(number(dice) >> 31).expect("32 bits");
    let (generation, version) = (half(), half());
    ConfigurationId { generation, epoch: epoch(dice), version }
}

fn configuration(dice: &mut Dice) -> Configuration {
    Configuration {
        id: configuration_id(dice),
        voters: several(dice, 5, |dice| {
            let role = if flip(dice) { VoterRole::Data } else { VoterRole::Witness };
            Voter { key: key(dice), role }
        }),
        learners: several(dice, 3, key),
    }
}

fn vote(dice: &mut Dice) -> VoteRequest {
    VoteRequest {
        epoch: epoch(dice),
        pre: flip(dice),
        transfer: some(dice, key),
        position: position(dice),
        configuration: configuration(dice),
    }
}

fn vote_response(dice: &mut Dice) -> VoteResponse {
    let denials = [Denial::Epoch, Denial::Voted, Denial::Leader, Denial::Position, Denial::Configuration];
    let drawn = usize::try_from(dice.roll(6)).expect("small");
    VoteResponse {
        epoch: epoch(dice),
        asked: epoch(dice),
        pre: flip(dice),
        vote: denials.get(drawn).map_or(Ok(()), |denial| Err(*denial)),
        recovering: flip(dice),
        leader: some(dice, key),
        configuration: some(dice, configuration),
    }
}

fn fetch(dice: &mut Dice) -> FetchRequest {
    FetchRequest {
        epoch: epoch(dice),
        position: position(dice),
        acknowledged: acknowledged(dice),
        recovering: flip(dice),
        unfit: flip(dice),
        configuration: configuration_id(dice),
        high_watermark: offset(dice),
        log_start: offset(dice),
    }
}

fn fetch_response(dice: &mut Dice, body: FetchBody) -> FetchResponse {
    FetchResponse {
        epoch: epoch(dice),
        leader: some(dice, key),
        position: position(dice),
        incarnation: number(dice),
        high_watermark: offset(dice),
        log_start: offset(dice),
        commit: some(dice, offset),
        unanimous: flip(dice),
        configuration: some(dice, configuration),
        body,
    }
}

/// Whole batches to the codec: bytes, in some chunks.
fn records(dice: &mut Dice) -> Frame {
    let mut records = Frame::new();
    for _ in 0..dice.roll(4) {
        let length = usize::try_from(dice.roll(300)).expect("small");
        records.push(Bytes::from(vec![u8::try_from(dice.roll(256)).expect("a byte"); length]));
    }
    records
}

/// A message of the kind with this number, below [`KINDS`].
pub(crate) fn message(dice: &mut Dice, kind: u64) -> PeerMessage {
    let mut records_of = Frame::new();
    let message = match kind {
        0 => Message::Vote(vote(dice)),
        1 => Message::VoteResponse(vote_response(dice)),
        2 => Message::BeginEpoch(BeginEpoch { epoch: epoch(dice) }),
        3 => Message::EndEpoch(EndEpoch { epoch: epoch(dice), successors: several(dice, 4, key) }),
        4 => Message::Fenced(Fenced { epoch: epoch(dice), leader: some(dice, key) }),
        5 => Message::Fetch(fetch(dice)),
        6 => Message::FetchResponse(fetch_response(dice, FetchBody::NotLeader)),
        7 => {
            let markers = several(dice, 3, epoch_start);
            let body = FetchBody::Records { upto: offset(dice), markers, spans: Vec::new() };
            records_of = records(dice);
            Message::FetchResponse(fetch_response(dice, body))
        }
        8 => {
            let body = FetchBody::Diverging { epoch: epoch(dice), end: offset(dice) };
            Message::FetchResponse(fetch_response(dice, body))
        }
        9 => {
            let body = FetchBody::Reset { start: offset(dice), below: some(dice, epoch_start) };
            Message::FetchResponse(fetch_response(dice, body))
        }
        10 => Message::Repair(RepairRequest { token: number(dice), from: offset(dice), upto: offset(dice) }),
        11 => {
            records_of = records(dice);
            Message::RepairResponse(RepairResponse { token: number(dice), from: offset(dice) })
        }
        _ => Message::Ack(Ack { epoch: epoch(dice), acknowledged: acknowledged(dice), recovering: flip(dice) }),
    };
    let partition = TopicPartition::new(TopicId(uuid(dice)), epoch(dice));
    PeerMessage { partition, to: DirectoryId(uuid(dice)), message, records: records_of }
}

pub(crate) fn hello(dice: &mut Dice) -> Hello {
    let first = dice.roll(1 << 40);
    let told = dice.roll(9);
    Hello {
        cluster_id: "c".repeat(usize::try_from(dice.roll(256)).expect("small")),
        protocol: u16::try_from(dice.roll(1 << 16)).expect("16 bits"),
        broker: BrokerId(epoch(dice)),
        to: BrokerId(epoch(dice)),
        directory: DirectoryId(uuid(dice)),
        starts: (0..told).map(|start| Start { incarnation: first + start, nonce: number(dice) }).collect(),
        metadata_epoch: number(dice),
        generation: u32::try_from(number(dice) >> 31).expect("32 bits"),
        shard: u8::try_from(dice.roll(256)).expect("a byte"),
        shards: u8::try_from(dice.roll(256)).expect("a byte"),
        attempt: number(dice),
    }
}

pub(crate) fn refusal(dice: &mut Dice) -> Refusal {
    let known = number(dice);
    match dice.roll(10) {
        0 => Refusal::Cluster,
        1 => Refusal::Broker,
        2 => Refusal::Protocol,
        3 => Refusal::Generation,
        4 => Refusal::Stale { known },
        5 => Refusal::History { known },
        6 => Refusal::Cloned,
        7 => Refusal::Taken,
        8 => Refusal::Malformed,
        _ => Refusal::Other(200),
    }
}
