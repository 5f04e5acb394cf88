//! Reads the fields of a record; every length is checked against the bytes that are there before anything is allocated.

use bytes::Bytes;

use super::FormatError;

/// The unread rest of a record.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Whether lengths are varints and fields may be tagged (KIP-482).
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, flexible: false }
    }

    /// From here on the fields are those of a flexible version.
    pub(super) fn set_flexible(&mut self) {
        self.flexible = true;
    }

    /// Demands that everything is read.
    pub(super) fn finish(&self, schema: &'static str) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(FormatError::TrailingBytes { schema, bytes }),
        }
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(FormatError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(FormatError::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn int16(&mut self, field: &'static str) -> Result<i16, FormatError> {
        Ok(i16::from_be_bytes(self.array(field)?))
    }

    pub(super) fn int32(&mut self, field: &'static str) -> Result<i32, FormatError> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    pub(super) fn int64(&mut self, field: &'static str) -> Result<i64, FormatError> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    fn varint(&mut self, field: &'static str) -> Result<u32, FormatError> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array(field)?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(FormatError::Truncated { field })
    }

    /// A length, `None` for null.
    fn length(&mut self, wide: bool, field: &'static str) -> Result<Option<usize>, FormatError> {
        let length = match (self.flexible, wide) {
            (true, _) => i64::from(self.varint(field)?) - 1,
            (false, true) => i64::from(self.int32(field)?),
            (false, false) => i64::from(self.int16(field)?),
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| FormatError::Truncated { field }),
        }
    }

    pub(super) fn nullable_string(&mut self, field: &'static str) -> Result<Option<&'a str>, FormatError> {
        let Some(length) = self.length(false, field)? else { return Ok(None) };
        let bytes = self.take(length, field)?;
        str::from_utf8(bytes).map(Some).map_err(|_| FormatError::NotUtf8 { field })
    }

    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a str, FormatError> {
        self.nullable_string(field)?.ok_or(FormatError::Truncated { field })
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Bytes, FormatError> {
        let length = self.length(true, field)?.ok_or(FormatError::Truncated { field })?;
        self.take(length, field).map(Bytes::copy_from_slice)
    }

    /// The number of elements of an array whose elements have at least `element_min` bytes each.
    pub(super) fn count(&mut self, element_min: usize, field: &'static str) -> Result<usize, FormatError> {
        let count = self.length(true, field)?.ok_or(FormatError::Truncated { field })?;
        if count > self.rest.len() / element_min.max(1) {
            return Err(FormatError::Truncated { field });
        }
        Ok(count)
    }

    /// Skips the tagged fields of a flexible version.
    pub(super) fn skip_tagged(&mut self, field: &'static str) -> Result<(), FormatError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint(field)? {
            let _tag = self.varint(field)?;
            let size = self.varint(field)?;
            self.take(usize::try_from(size).map_err(|_| FormatError::Truncated { field })?, field)?;
        }
        Ok(())
    }
}
