//! Produce versions 0 to 2: read far enough to answer each partition with `UNSUPPORTED_VERSION`.
//!
//! They carry message sets of the formats v0 and v1, which no log here holds, and the codec does not know them. To
//! close the connection would tell an old client nothing; this answer tells it, in its own version.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use millrace_types::ErrorCode;

use crate::api::{Context, Step};
use crate::wire::{Frame, Reader, WireError};

/// Answers a request of version 0 to 2:
///
/// ```text
/// request   acks: i16, timeout: i32, [topic: string, [partition: i32, records: bytes]]
/// response  [topic: string, [partition: i32, error: i16, offset: i64, (v2) timestamp: i64]], (v1) throttle: i32
/// ```
pub(super) fn refuse(cx: &Context<'_>, body: &Bytes) -> Result<Step, WireError> {
    let mut reader = Reader::new(body, ApiKey::Produce, cx.version);
    let mut response = BytesMut::new();
    let acks = reader.take(2, "acks")?.get_i16();
    reader.int32("timeout")?;
    let topics = reader.count("topics")?;
    response.put_u32(topics);
    for _ in 0..topics {
        let name = reader.string("topic")?;
        // A name that was read has a length that fits.
        response.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        response.put_slice(name.as_bytes());
        let partitions = reader.count("partitions")?;
        response.put_u32(partitions);
        for _ in 0..partitions {
            response.put_slice(reader.take(4, "partition")?);
            reader.bytes("records")?;
            response.put_i16(ErrorCode::UnsupportedVersion.code());
            response.put_i64(-1);
            if cx.version >= 2 {
                response.put_i64(-1);
            }
        }
    }
    if cx.version >= 1 {
        response.put_i32(0);
    }
    if acks == 0 {
        return Ok(Step::Close("Produce below version 3 is not served"));
    }
    Ok(Step::Reply(Frame::from(response.freeze())))
}
