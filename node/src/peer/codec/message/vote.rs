//! Messages about who leads.

use bytes::{BufMut, BytesMut};
use millrace_raft::{BeginEpoch, Denial, EndEpoch, Fenced, VoteRequest, VoteResponse};

use super::{KEY_LEN, Kind, put_configuration, put_position, read_configuration, read_position};
use crate::peer::codec::PeerWireError;
use crate::peer::codec::fields::{Fields, flags, put_count, put_key};

pub(super) fn write_vote(out: &mut BytesMut, request: &VoteRequest) {
    out.put_u8(Kind::VOTE);
    out.put_u8(flags([request.pre, request.transfer.is_some()]));
    out.put_i32(request.epoch);
    if let Some(leader) = request.transfer {
        put_key(out, leader);
    }
    put_position(out, request.position);
    put_configuration(out, &request.configuration);
}

pub(super) fn read_vote(fields: &mut Fields) -> Result<VoteRequest, PeerWireError> {
    let flags = fields.flags(0b11, "flags of a vote")?;
    Ok(VoteRequest {
        pre: flags & 1 != 0,
        epoch: fields.epoch("epoch")?,
        transfer: fields.when(flags & 2 != 0, |fields| fields.key("leader"))?,
        position: read_position(fields)?,
        configuration: read_configuration(fields)?,
    })
}

pub(super) fn write_response(out: &mut BytesMut, response: &VoteResponse) {
    out.put_u8(Kind::VOTE_RESPONSE);
    let has = (response.leader.is_some(), response.configuration.is_some());
    out.put_u8(flags([response.pre, response.recovering, has.0, has.1]));
    out.put_i32(response.epoch);
    out.put_i32(response.asked);
    out.put_u8(match response.vote {
        Ok(()) => 0,
        Err(Denial::Epoch) => 1,
        Err(Denial::Voted) => 2,
        Err(Denial::Leader) => 3,
        Err(Denial::Position) => 4,
        Err(Denial::Configuration) => 5,
    });
    if let Some(leader) = response.leader {
        put_key(out, leader);
    }
    if let Some(configuration) = &response.configuration {
        put_configuration(out, configuration);
    }
}

pub(super) fn read_response(fields: &mut Fields) -> Result<VoteResponse, PeerWireError> {
    let flags = fields.flags(0b1111, "flags of a vote's response")?;
    Ok(VoteResponse {
        pre: flags & 1 != 0,
        recovering: flags & 2 != 0,
        epoch: fields.epoch("epoch")?,
        asked: fields.epoch("asked epoch")?,
        vote: match fields.u8("vote")? {
            0 => Ok(()),
            1 => Err(Denial::Epoch),
            2 => Err(Denial::Voted),
            3 => Err(Denial::Leader),
            4 => Err(Denial::Position),
            5 => Err(Denial::Configuration),
            kind => return Err(PeerWireError::Kind { what: "a denial", kind }),
        },
        leader: fields.when(flags & 4 != 0, |fields| fields.key("leader"))?,
        configuration: fields.when(flags & 8 != 0, read_configuration)?,
    })
}

pub(super) fn write_begin(out: &mut BytesMut, begin: BeginEpoch) {
    out.put_u8(Kind::BEGIN_EPOCH);
    out.put_i32(begin.epoch);
}

pub(super) fn read_begin(fields: &mut Fields) -> Result<BeginEpoch, PeerWireError> {
    Ok(BeginEpoch { epoch: fields.epoch("epoch")? })
}

pub(super) fn write_end(out: &mut BytesMut, end: &EndEpoch) {
    out.put_u8(Kind::END_EPOCH);
    out.put_i32(end.epoch);
    put_count(out, end.successors.len());
    for successor in &end.successors {
        put_key(out, *successor);
    }
}

pub(super) fn read_end(fields: &mut Fields) -> Result<EndEpoch, PeerWireError> {
    let epoch = fields.epoch("epoch")?;
    let count = fields.count(KEY_LEN, "successors")?;
    let successors = (0..count).map(|_| fields.key("successor")).collect::<Result<_, _>>()?;
    Ok(EndEpoch { epoch, successors })
}

pub(super) fn write_fenced(out: &mut BytesMut, fenced: Fenced) {
    out.put_u8(Kind::FENCED);
    out.put_u8(flags([fenced.leader.is_some()]));
    out.put_i32(fenced.epoch);
    if let Some(leader) = fenced.leader {
        put_key(out, leader);
    }
}

pub(super) fn read_fenced(fields: &mut Fields) -> Result<Fenced, PeerWireError> {
    let flags = fields.flags(1, "flags of a fence")?;
    let epoch = fields.epoch("epoch")?;
    Ok(Fenced { epoch, leader: fields.when(flags == 1, |fields| fields.key("leader"))? })
}
