//! Messages by which a replica gets back records that have rotted in its log.

use bytes::{BufMut, BytesMut};
use millrace_raft::{RepairRequest, RepairResponse};

use super::Kind;
use crate::peer::codec::PeerWireError;
use crate::peer::codec::fields::{Fields, put_count};
use crate::wire::Frame;

pub(super) fn write_request(out: &mut BytesMut, request: RepairRequest) {
    out.put_u8(Kind::REPAIR);
    out.put_u64(request.token);
    out.put_i64(request.from);
    out.put_i64(request.upto);
}

pub(super) fn read_request(fields: &mut Fields) -> Result<RepairRequest, PeerWireError> {
    Ok(RepairRequest {
        token: fields.u64("token")?,
        from: fields.offset("first offset")?,
        upto: fields.offset("end of the records")?,
    })
}

/// Writes the response up to the length of its records, which follow.
pub(super) fn write_response(out: &mut BytesMut, response: RepairResponse, records: usize) {
    out.put_u8(Kind::REPAIR_RESPONSE);
    out.put_u64(response.token);
    out.put_i64(response.from);
    put_count(out, records);
}

/// Reads the response, and its records as a slice of the frame.
pub(super) fn read_response(fields: &mut Fields, records: &mut Frame) -> Result<RepairResponse, PeerWireError> {
    let response = RepairResponse { token: fields.u64("token")?, from: fields.offset("first offset")? };
    let length = fields.count(1, "records")?;
    *records = Frame::from(fields.take(length, "records")?);
    Ok(response)
}
