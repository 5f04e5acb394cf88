//! A cursor over an answer's bytes: every read is checked against what is there.

/// The answer ends before it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truncated;

/// Reads big-endian fields from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        self.take(N)?.try_into().map_err(|_| Truncated)
    }

    /// The next two bytes as a number.
    pub(crate) fn i16(&mut self) -> Result<i16, Truncated> {
        self.array().map(i16::from_be_bytes)
    }

    /// The next four bytes as a number.
    pub(crate) fn i32(&mut self) -> Result<i32, Truncated> {
        self.array().map(i32::from_be_bytes)
    }

    /// The next eight bytes as a number.
    pub(crate) fn i64(&mut self) -> Result<i64, Truncated> {
        self.array().map(i64::from_be_bytes)
    }

    /// A count or length of four bytes; null reads as zero.
    pub(crate) fn length(&mut self) -> Result<usize, Truncated> {
        self.i32().map(|length| usize::try_from(length).unwrap_or(0))
    }

    /// Passes over a string with a length of two bytes.
    pub(crate) fn skip_string(&mut self) -> Result<(), Truncated> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        self.take(length).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_turn() {
        let mut reader = Reader(&[0, 1, 0, 0, 0, 2, b'a', b'b', 0, 1, b'c', 9]);
        assert_eq!((reader.i16(), reader.length()), (Ok(1), Ok(2)));
        assert_eq!(reader.take(2), Ok(&b"ab"[..]));
        assert_eq!(reader.skip_string(), Ok(()));
        assert_eq!(reader.i16(), Err(Truncated));
    }

    #[test]
    fn a_null_length_is_zero_and_a_long_one_truncated() {
        assert_eq!(Reader(&[0xff; 4]).length(), Ok(0));
        let mut reader = Reader(&[0x7f, 0xff, 0xff, 0xff]);
        let length = reader.length().unwrap();
        assert_eq!(reader.take(length), Err(Truncated));
    }
}
