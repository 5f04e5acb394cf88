//! Writes the fields of a record in the encoding of the versions that are not flexible.

use bytes::{BufMut, Bytes, BytesMut};

/// The longest string of a version that is not flexible.
pub(crate) const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// A record in the making.
#[derive(Debug)]
pub(super) struct Writer {
    buffer: BytesMut,
}

impl Writer {
    /// Begins with `version`.
    pub(super) fn new(version: i16, capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(capacity);
        buffer.put_i16(version);
        Self { buffer }
    }

    pub(super) fn finish(self) -> Bytes {
        self.buffer.freeze()
    }

    pub(super) fn int32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub(super) fn int64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Writes a string of at most [`MAX_STRING_BYTES`]; the shard refuses requests with longer ones. Cutting here keeps
    /// the record readable even so.
    pub(super) fn string(&mut self, value: &str) {
        debug_assert!(value.len() <= MAX_STRING_BYTES, "refused with the request");
        let value = &value[..value.floor_char_boundary(MAX_STRING_BYTES)];
        self.buffer.put_i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        self.buffer.put_slice(value.as_bytes());
    }

    pub(super) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.buffer.put_i16(-1),
        }
    }

    /// Writes bytes of at most `i32::MAX`; a record of that size fits no batch and never gets here.
    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.buffer.put_slice(value);
    }

    pub(super) fn count(&mut self, count: usize) {
        self.buffer.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}
