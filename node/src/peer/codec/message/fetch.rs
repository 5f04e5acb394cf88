//! Messages that replicate: fetches, their answers with records, acknowledgements.

use bytes::{BufMut, BytesMut};
use millrace_raft::{Ack, FetchBody, FetchRequest, FetchResponse};

use super::{
    Kind, put_acknowledged, put_configuration, put_configuration_id, put_epoch_start, put_position, read_acknowledged,
    read_configuration, read_configuration_id, read_epoch_start, read_position,
};
use crate::peer::codec::PeerWireError;
use crate::peer::codec::fields::{Fields, flags, put_count, put_key};
use crate::wire::Frame;

const EPOCH_START_LEN: usize = 12;

pub(super) fn write_fetch(out: &mut BytesMut, request: &FetchRequest) {
    out.put_u8(Kind::FETCH);
    out.put_u8(flags([request.recovering, request.unfit]));
    out.put_i32(request.epoch);
    put_position(out, request.position);
    put_acknowledged(out, request.acknowledged);
    put_configuration_id(out, request.configuration);
    out.put_i64(request.high_watermark);
    out.put_i64(request.log_start);
}

pub(super) fn read_fetch(fields: &mut Fields) -> Result<FetchRequest, PeerWireError> {
    let flags = fields.flags(0b11, "flags of a fetch")?;
    Ok(FetchRequest {
        recovering: flags & 1 != 0,
        unfit: flags & 2 != 0,
        epoch: fields.epoch("epoch")?,
        position: read_position(fields)?,
        acknowledged: read_acknowledged(fields)?,
        configuration: read_configuration_id(fields)?,
        high_watermark: fields.offset("high watermark")?,
        log_start: fields.offset("log start offset")?,
    })
}

pub(super) fn write_ack(out: &mut BytesMut, ack: &Ack) {
    out.put_u8(Kind::ACK);
    out.put_u8(flags([ack.recovering]));
    out.put_i32(ack.epoch);
    put_acknowledged(out, ack.acknowledged);
}

pub(super) fn read_ack(fields: &mut Fields) -> Result<Ack, PeerWireError> {
    Ok(Ack {
        recovering: fields.flags(1, "flags of an acknowledgement")? == 1,
        epoch: fields.epoch("epoch")?,
        acknowledged: read_acknowledged(fields)?,
    })
}

/// Writes the response up to the length of its records; returns whether records follow.
pub(super) fn write_response(out: &mut BytesMut, response: &FetchResponse, records: usize) -> bool {
    out.put_u8(Kind::FETCH_RESPONSE);
    let has = (response.leader.is_some(), response.commit.is_some(), response.configuration.is_some());
    out.put_u8(flags([has.0, has.1, response.unanimous, has.2]));
    out.put_i32(response.epoch);
    if let Some(leader) = response.leader {
        put_key(out, leader);
    }
    put_position(out, response.position);
    out.put_u64(response.incarnation);
    out.put_i64(response.high_watermark);
    out.put_i64(response.log_start);
    if let Some(commit) = response.commit {
        out.put_i64(commit);
    }
    if let Some(configuration) = &response.configuration {
        put_configuration(out, configuration);
    }
    write_body(out, &response.body, records)
}

fn write_body(out: &mut BytesMut, body: &FetchBody, records: usize) -> bool {
    match body {
        FetchBody::NotLeader => out.put_u8(0),
        FetchBody::Records { upto, markers, .. } => {
            out.put_u8(1);
            out.put_i64(*upto);
            put_count(out, markers.len());
            for marker in markers {
                put_epoch_start(out, *marker);
            }
            put_count(out, records);
            return true;
        }
        FetchBody::Diverging { epoch, end } => {
            out.put_u8(2);
            out.put_i32(*epoch);
            out.put_i64(*end);
        }
        FetchBody::Reset { start, below } => {
            out.put_u8(3);
            out.put_i64(*start);
            out.put_u8(flags([below.is_some()]));
            if let Some(below) = below {
                put_epoch_start(out, *below);
            }
        }
    }
    false
}

/// Reads the response, and its records as a slice of the frame.
pub(super) fn read_response(fields: &mut Fields, records: &mut Frame) -> Result<FetchResponse, PeerWireError> {
    let flags = fields.flags(0b1111, "flags of a fetch response")?;
    Ok(FetchResponse {
        unanimous: flags & 4 != 0,
        epoch: fields.epoch("epoch")?,
        leader: fields.when(flags & 1 != 0, |fields| fields.key("leader"))?,
        position: read_position(fields)?,
        incarnation: fields.u64("incarnation")?,
        high_watermark: fields.offset("high watermark")?,
        log_start: fields.offset("log start offset")?,
        commit: fields.when(flags & 2 != 0, |fields| fields.offset("commit"))?,
        configuration: fields.when(flags & 8 != 0, read_configuration)?,
        body: read_body(fields, records)?,
    })
}

fn read_body(fields: &mut Fields, records: &mut Frame) -> Result<FetchBody, PeerWireError> {
    Ok(match fields.u8("body")? {
        0 => FetchBody::NotLeader,
        1 => {
            let upto = fields.offset("end of the records")?;
            let count = fields.count(EPOCH_START_LEN, "markers")?;
            let markers = (0..count).map(|_| read_epoch_start(fields)).collect::<Result<_, _>>()?;
            let length = fields.count(1, "records")?;
            *records = Frame::from(fields.take(length, "records")?);
            FetchBody::Records { upto, markers, spans: Vec::new() }
        }
        2 => FetchBody::Diverging { epoch: fields.epoch("epoch")?, end: fields.offset("end of the epoch")? },
        3 => {
            let start = fields.offset("start")?;
            let flags = fields.flags(1, "flags of a reset")?;
            FetchBody::Reset { start, below: fields.when(flags == 1, read_epoch_start)? }
        }
        kind => return Err(PeerWireError::Kind { what: "an answer", kind }),
    })
}
