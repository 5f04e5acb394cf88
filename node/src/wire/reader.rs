//! Reads requests of versions that the codec does not know: Kafka's oldest encoding, with fixed lengths.

use bytes::Buf;
use kafka_protocol::messages::ApiKey;

use super::{MAX_ELEMENTS, WireError};

/// Reads the fields of a request and never beyond its end. Nothing is allocated for a length: what is returned are
/// slices of the request.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    api: i16,
    version: i16,
    /// Array elements so far, bounded for the whole request.
    elements: usize,
}

impl<'a> Reader<'a> {
    /// Reads `body`, the request of `api` at `version` without its header.
    pub(crate) fn new(body: &'a [u8], api: ApiKey, version: i16) -> Self {
        Self { rest: body, api: api as i16, version, elements: 0 }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub(crate) fn take(&mut self, count: usize, field: &str) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(WireError::Truncated { api: self.api, version: self.version, field: field.to_owned() });
        };
        self.rest = rest;
        Ok(taken)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// When the request is cut.
    pub(crate) fn int32(&mut self, field: &str) -> Result<i32, WireError> {
        Ok(self.take(4, field)?.get_i32())
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// When the request is cut.
    pub(crate) fn int64(&mut self, field: &str) -> Result<i64, WireError> {
        Ok(self.take(8, field)?.get_i64())
    }

    /// The number of elements of an array.
    ///
    /// # Errors
    /// When it is negative, or the request has more elements than any client sends.
    pub(crate) fn count(&mut self, field: &str) -> Result<u32, WireError> {
        let count = self.int32(field)?;
        let Ok(count) = u32::try_from(count) else {
            return Err(self.bad_length(field, i64::from(count)));
        };
        self.elements = self.elements.saturating_add(count as usize);
        if self.elements > MAX_ELEMENTS {
            return Err(WireError::TooManyElements { api: self.api, version: self.version });
        }
        Ok(count)
    }

    /// A string that may be null.
    ///
    /// # Errors
    /// When it is cut, its length is negative, or it is no UTF-8.
    pub(crate) fn nullable_string(&mut self, field: &str) -> Result<Option<&'a str>, WireError> {
        let length = self.take(2, field)?.get_i16();
        if length == -1 {
            return Ok(None);
        }
        let size = usize::try_from(length).map_err(|_| self.bad_length(field, i64::from(length)))?;
        let text = std::str::from_utf8(self.take(size, field)?);
        let malformed = |error: std::str::Utf8Error| WireError::Malformed {
            api: self.api,
            version: self.version,
            reason: format!("{field}: {error}"),
        };
        text.map(Some).map_err(malformed)
    }

    /// A string.
    ///
    /// # Errors
    /// As [`Reader::nullable_string`], and when it is null.
    pub(crate) fn string(&mut self, field: &str) -> Result<&'a str, WireError> {
        self.nullable_string(field)?.ok_or_else(|| self.bad_length(field, -1))
    }

    /// Bytes that may be null, which is read as none.
    ///
    /// # Errors
    /// When they are cut or their length is negative.
    pub(crate) fn bytes(&mut self, field: &str) -> Result<&'a [u8], WireError> {
        let length = match self.int32(field)? {
            -1 => 0,
            length => usize::try_from(length).map_err(|_| self.bad_length(field, i64::from(length)))?,
        };
        self.take(length, field)
    }

    fn bad_length(&self, field: &str, length: i64) -> WireError {
        WireError::BadLength { api: self.api, version: self.version, field: field.to_owned(), length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, ApiKey::OffsetCommit, 1)
    }

    #[test]
    fn fields_are_read_in_turn() {
        let mut fields = reader(b"\x00\x02ab\xff\xff\xff\xff\xff\xff\x00\x00\x00\x01x\x00\x00\x00\x07");
        assert_eq!(fields.string("a"), Ok("ab"));
        assert_eq!(fields.nullable_string("b"), Ok(None));
        assert_eq!(fields.bytes("c"), Ok(&b""[..]));
        assert_eq!(fields.bytes("d"), Ok(&b"x"[..]));
        assert_eq!(fields.int32("e"), Ok(7));
        assert!(matches!(fields.int64("f"), Err(WireError::Truncated { field, .. }) if field == "f"));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let bad = |outcome: Result<(), WireError>| matches!(outcome, Err(WireError::BadLength { .. }));
        assert!(bad(reader(b"\xff\xff").string("null").map(drop)));
        assert!(bad(reader(b"\xff\xfe").nullable_string("a").map(drop)));
        assert!(bad(reader(b"\xff\xff\xff\xfe").bytes("a").map(drop)));
        assert!(bad(reader(b"\xff\xff\xff\xff").count("a").map(drop)));
        assert!(matches!(reader(b"\x7f\xff\xff\xff").count("a"), Err(WireError::TooManyElements { .. })));
        assert!(matches!(reader(b"\x7f\xff").string("a"), Err(WireError::Truncated { .. })));
        assert!(matches!(reader(b"\x00\x01\xff").string("a"), Err(WireError::Malformed { .. })));
    }
}
