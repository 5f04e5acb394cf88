//! Cutting a byte stream into frames: a length of four bytes, then so many bytes.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{ClientError, Result};

/// Reads are asked for in steps of at least this many bytes.
const READ_BYTES: usize = 64 << 10;

/// Cuts a byte stream into frames. The host fills [`FrameReader::buffer`] and takes frames until there is none;
/// a frame shares the buffer's memory.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    max_bytes: usize,
}

impl FrameReader {
    /// A reader that refuses frames above `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), max_bytes }
    }

    /// The buffer to append received bytes to, with room for at least one read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        // Room for the rest of a frame that has begun, as far as the bound lets it be, saves copies while it grows.
        let wanted = self.announced().map_or(READ_BYTES, |total| total.saturating_sub(self.buffer.len()));
        self.buffer.reserve(wanted.clamp(READ_BYTES, self.max_bytes.max(READ_BYTES)).min(4 << 20));
        &mut self.buffer
    }

    /// The next whole frame without its length.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when a length is negative or above the bound: the stream cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>> {
        let Some(mut head) = self.buffer.get(..4) else { return Ok(None) };
        let length = head.get_i32();
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.max_bytes)
            .ok_or_else(|| ClientError::protocol("frame", format!("length {length}, limit {}", self.max_bytes)))?;
        if self.buffer.len() - 4 < length {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn announced(&self) -> Option<usize> {
        let length = self.buffer.get(..4)?.get_i32();
        usize::try_from(length).ok().map(|length| length.min(self.max_bytes) + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_reads_end() {
        let stream = [&[0u8, 0, 0, 3][..], b"abc", &[0, 0, 0, 0], &[0, 0, 0, 2], b"de"].concat();
        for step in 1..stream.len() {
            let mut reader = FrameReader::new(10);
            let mut frames = Vec::new();
            for part in stream.chunks(step) {
                reader.buffer().extend_from_slice(part);
                while let Some(frame) = reader.next_frame().expect("valid") {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&b"abc"[..], b"", b"de"]);
        }
    }

    #[test]
    fn impossible_lengths_end_the_stream() {
        for length in [-1, 11, i32::MAX] {
            let mut reader = FrameReader::new(10);
            reader.buffer().extend_from_slice(&length.to_be_bytes());
            assert!(reader.next_frame().is_err(), "{length}");
        }
    }
}
