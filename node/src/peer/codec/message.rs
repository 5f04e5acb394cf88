//! Messages of replicas: which partition, which replica, and what it is told.

mod fetch;
mod repair;
mod vote;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_raft::{Acknowledged, Configuration, ConfigurationId, EpochStart, Message, Position, Voter, VoterRole};
use millrace_types::{DirectoryId, TopicId, TopicPartition};

use super::fields::{Fields, put_count, put_key};
use super::{MAX_MESSAGES, Messages, PeerWireError};
use crate::wire::Frame;

/// Topic id, partition, directory and kind.
const MIN_MESSAGE_LEN: usize = 16 + 4 + 16 + 1;
const KEY_LEN: usize = 20;

/// A message from a replica of one broker to one of another.
#[derive(Debug, Clone)]
pub struct PeerMessage {
    /// The partition.
    pub partition: TopicPartition,
    /// Directory of the replica it is for; the broker is the one at the other end.
    pub to: DirectoryId,
    /// What it is told. The spans of a fetch response do not travel: its receiver reads them off the records.
    pub message: Message,
    /// Records of a fetch or repair response, whole batches; empty for every other message.
    pub records: Frame,
}

/// A message as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    pub(crate) head: Bytes,
    pub(crate) records: Frame,
}

impl Encoded {
    /// Bytes on the wire.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.records.len()
    }
}

/// Writes a message; `scratch` is kept by the caller, so that many share an allocation.
pub(crate) fn encode_message(scratch: &mut BytesMut, message: PeerMessage) -> Encoded {
    scratch.put_slice(message.partition.topic.0.as_bytes());
    scratch.put_i32(message.partition.partition);
    scratch.put_slice(message.to.0.as_bytes());
    match &message.message {
        Message::Vote(request) => vote::write_vote(scratch, request),
        Message::VoteResponse(response) => vote::write_response(scratch, response),
        Message::BeginEpoch(begin) => vote::write_begin(scratch, *begin),
        Message::EndEpoch(end) => vote::write_end(scratch, end),
        Message::Fenced(fenced) => vote::write_fenced(scratch, *fenced),
        Message::Fetch(request) => fetch::write_fetch(scratch, request),
        Message::FetchResponse(response) => {
            if fetch::write_response(scratch, response, message.records.len()) {
                return Encoded { head: scratch.split().freeze(), records: message.records };
            }
        }
        Message::Ack(ack) => fetch::write_ack(scratch, ack),
        Message::Repair(request) => repair::write_request(scratch, *request),
        Message::RepairResponse(response) => {
            repair::write_response(scratch, *response, message.records.len());
            return Encoded { head: scratch.split().freeze(), records: message.records };
        }
    }
    debug_assert!(message.records.is_empty(), "records travel with responses");
    Encoded { head: scratch.split().freeze(), records: Frame::new() }
}

pub(crate) fn read_messages(fields: &mut Fields) -> Result<Messages, PeerWireError> {
    let metadata_epoch = fields.u64("metadata epoch")?;
    let count = fields.count(MIN_MESSAGE_LEN, "messages")?;
    if count > MAX_MESSAGES {
        return Err(PeerWireError::Impossible("messages"));
    }
    let messages = (0..count).map(|_| read_message(fields)).collect::<Result<_, _>>()?;
    Ok(Messages { metadata_epoch, messages })
}

fn read_message(fields: &mut Fields) -> Result<PeerMessage, PeerWireError> {
    let topic = TopicId(fields.uuid("topic id")?);
    let partition = TopicPartition::new(topic, fields.i32("partition")?);
    let to = DirectoryId(fields.uuid("directory")?);
    let mut records = Frame::new();
    let message = match fields.u8("the kind of a message")? {
        Kind::VOTE => Message::Vote(vote::read_vote(fields)?),
        Kind::VOTE_RESPONSE => Message::VoteResponse(vote::read_response(fields)?),
        Kind::BEGIN_EPOCH => Message::BeginEpoch(vote::read_begin(fields)?),
        Kind::END_EPOCH => Message::EndEpoch(vote::read_end(fields)?),
        Kind::FENCED => Message::Fenced(vote::read_fenced(fields)?),
        Kind::FETCH => Message::Fetch(fetch::read_fetch(fields)?),
        Kind::FETCH_RESPONSE => Message::FetchResponse(fetch::read_response(fields, &mut records)?),
        Kind::ACK => Message::Ack(fetch::read_ack(fields)?),
        Kind::REPAIR => Message::Repair(repair::read_request(fields)?),
        Kind::REPAIR_RESPONSE => Message::RepairResponse(repair::read_response(fields, &mut records)?),
        kind => return Err(PeerWireError::Kind { what: "a message", kind }),
    };
    Ok(PeerMessage { partition, to, message, records })
}

/// Numbers of the kinds of messages.
struct Kind;

impl Kind {
    const VOTE: u8 = 1;
    const VOTE_RESPONSE: u8 = 2;
    const BEGIN_EPOCH: u8 = 3;
    const END_EPOCH: u8 = 4;
    const FENCED: u8 = 5;
    const FETCH: u8 = 6;
    const FETCH_RESPONSE: u8 = 7;
    const ACK: u8 = 8;
    const REPAIR: u8 = 9;
    const REPAIR_RESPONSE: u8 = 10;
}

fn put_position(out: &mut BytesMut, position: Position) {
    out.put_i32(position.epoch);
    out.put_i64(position.offset);
}

fn read_position(fields: &mut Fields) -> Result<Position, PeerWireError> {
    Ok(Position { epoch: fields.epoch("position")?, offset: fields.offset("position")? })
}

fn put_acknowledged(out: &mut BytesMut, acknowledged: Acknowledged) {
    out.put_i32(acknowledged.epoch);
    out.put_i64(acknowledged.offset);
}

fn read_acknowledged(fields: &mut Fields) -> Result<Acknowledged, PeerWireError> {
    Ok(Acknowledged { epoch: fields.epoch("acknowledged")?, offset: fields.offset("acknowledged")? })
}

fn put_epoch_start(out: &mut BytesMut, start: EpochStart) {
    out.put_i32(start.epoch);
    out.put_i64(start.start);
}

fn read_epoch_start(fields: &mut Fields) -> Result<EpochStart, PeerWireError> {
    Ok(EpochStart { epoch: fields.epoch("marker")?, start: fields.offset("marker")? })
}

fn put_configuration_id(out: &mut BytesMut, id: ConfigurationId) {
    out.put_u32(id.generation);
    out.put_i32(id.epoch);
    out.put_u32(id.version);
}

fn read_configuration_id(fields: &mut Fields) -> Result<ConfigurationId, PeerWireError> {
    Ok(ConfigurationId {
        generation: fields.u32("configuration")?,
        epoch: fields.epoch("configuration")?,
        version: fields.u32("configuration")?,
    })
}

fn put_configuration(out: &mut BytesMut, configuration: &Configuration) {
    put_configuration_id(out, configuration.id);
    put_count(out, configuration.voters.len());
    for voter in &configuration.voters {
        put_key(out, voter.key);
        out.put_u8(u8::from(voter.role == VoterRole::Witness));
    }
    put_count(out, configuration.learners.len());
    for learner in &configuration.learners {
        put_key(out, *learner);
    }
}

fn read_configuration(fields: &mut Fields) -> Result<Configuration, PeerWireError> {
    let id = read_configuration_id(fields)?;
    let voters = fields.count(KEY_LEN + 1, "voters")?;
    let voters = (0..voters).map(|_| read_voter(fields)).collect::<Result<_, _>>()?;
    let learners = fields.count(KEY_LEN, "learners")?;
    let learners = (0..learners).map(|_| fields.key("learner")).collect::<Result<_, _>>()?;
    Ok(Configuration { id, voters, learners })
}

fn read_voter(fields: &mut Fields) -> Result<Voter, PeerWireError> {
    let key = fields.key("voter")?;
    let role = if fields.flags(1, "role")? == 1 { VoterRole::Witness } else { VoterRole::Data };
    Ok(Voter { key, role })
}
