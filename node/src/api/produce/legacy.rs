//! Produce versions 0 to 2: read far enough to answer each partition with `UNSUPPORTED_VERSION`.
//!
//! They carry message sets of the formats v0 and v1, which no log here holds, and the codec does not know them. To
//! close the connection would tell an old client nothing; this answer tells it, in its own version.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use millrace_types::ErrorCode;

use crate::api::{Context, Step};
use crate::wire::{Frame, MAX_ELEMENTS, WireError};

/// Answers a request of version 0 to 2:
///
/// ```text
/// request   acks: i16, timeout: i32, [topic: string, [partition: i32, records: bytes]]
/// response  [topic: string, [partition: i32, error: i16, offset: i64, (v2) timestamp: i64]], (v1) throttle: i32
/// ```
pub(super) fn refuse(cx: &Context<'_>, body: &Bytes) -> Result<Step, WireError> {
    let mut reader = Reader { rest: body, version: cx.version, elements: 0 };
    let mut response = BytesMut::new();
    let acks = reader.take(6, "acks")?.get_i16();
    let topics = reader.count("topics")?;
    response.put_u32(topics);
    for _ in 0..topics {
        let name = reader.string()?;
        response.put_slice(name);
        let partitions = reader.count("partitions")?;
        response.put_u32(partitions);
        for _ in 0..partitions {
            response.put_slice(reader.take(4, "partition")?);
            reader.records()?;
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

/// Reads the fields of a request and never beyond its end.
struct Reader<'a> {
    rest: &'a [u8],
    version: i16,
    /// Array elements so far, bounded for the whole request.
    elements: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, field: &str) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(WireError::Truncated {
                api: ApiKey::Produce as i16,
                version: self.version,
                field: field.to_owned(),
            });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn count(&mut self, field: &str) -> Result<u32, WireError> {
        let count = self.take(4, field)?.get_i32();
        let Ok(count) = u32::try_from(count) else {
            return Err(self.bad_length(field, i64::from(count)));
        };
        self.elements = self.elements.saturating_add(count as usize);
        if self.elements > MAX_ELEMENTS {
            return Err(WireError::TooManyElements { api: ApiKey::Produce as i16, version: self.version });
        }
        Ok(count)
    }

    /// A string with its length in front, as it is.
    fn string(&mut self) -> Result<&'a [u8], WireError> {
        let whole = self.rest;
        let length = self.take(2, "topic")?.get_i16();
        let Ok(length) = usize::try_from(length) else {
            return Err(self.bad_length("topic", i64::from(length)));
        };
        self.take(length, "topic")?;
        Ok(&whole[..2 + length])
    }

    fn records(&mut self) -> Result<(), WireError> {
        let length = self.take(4, "records")?.get_i32();
        let length = match length {
            -1 => 0,
            length => usize::try_from(length).map_err(|_| self.bad_length("records", i64::from(length)))?,
        };
        self.take(length, "records").map(drop)
    }

    fn bad_length(&self, field: &str, length: i64) -> WireError {
        WireError::BadLength { api: ApiKey::Produce as i16, version: self.version, field: field.to_owned(), length }
    }
}
