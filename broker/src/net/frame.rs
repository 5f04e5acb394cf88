//! Bytes of a socket cut into frames: a length prefix of four bytes, then as many bytes.
//!
//! One buffer per connection is used again and again: a frame is a slice of it, and as soon as the requests of the
//! earlier frames are done its memory takes the next ones. The announced length is believed only up to
//! [`TRUSTED_LENGTH`], and only from a client that has sent [`READ_ROOM`] bytes at once before: otherwise the buffer
//! grows with what has really arrived, so that a length costs a hostile client the bytes it claims. A connection on
//! which no frame has arrived has a buffer of [`FIRST_ROOM`].

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Room for reading before the first frame, in bytes: enough for a handshake, and little for a client that sends none.
const FIRST_ROOM: usize = 4 * 1024;

/// Room for reading when nothing is known about the next frame, in bytes.
const READ_ROOM: usize = 64 * 1024;

/// A frame up to this length gets its whole buffer at once: the largest requests of usual clients (1 MiB of records
/// and their envelope) are read without a copy.
const TRUSTED_LENGTH: usize = 1024 * 1024 + 64 * 1024;

/// Why a connection's bytes are no frames.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The length prefix is negative or zero.
    #[error("a frame of {0} bytes")]
    Impossible(i32),
    /// The length prefix is above `socket.request.max.bytes`.
    #[error("a frame of {length} bytes, where {max} are allowed")]
    TooLarge {
        /// As announced.
        length: usize,
        /// The limit.
        max: usize,
    },
}

/// Cuts frames out of what a socket delivers.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    max: usize,
    /// Bytes of the longest frame so far, with its length prefix.
    longest: usize,
    /// Whether every length is believed.
    trusts: bool,
}

impl FrameReader {
    /// A reader that refuses frames above `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), max, longest: 0, trusts: false }
    }

    /// The next whole frame without its length prefix; `None` until it has arrived.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.announced()? else { return Ok(None) };
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.longest = self.longest.max(4 + length);
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Refuses frames above `max` bytes from now on.
    pub(crate) fn limit(&mut self, max: usize) {
        self.max = max;
    }

    /// Believes every length up to the limit from now on: a frame gets its whole buffer at once, whose pages take memory as bytes
    /// arrive. A buffer that grows would copy long frames, and whoever reads would do nothing else meanwhile.
    pub(crate) fn trust(&mut self) {
        self.trusts = true;
    }

    /// The length prefix of the frame that arrives, when it is there.
    pub(crate) fn prefix(&self) -> Option<[u8; 4]> {
        self.buffer.first_chunk::<4>().copied()
    }

    /// Whether a frame has begun to arrive and is not whole.
    #[cfg(test)]
    fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The buffer with room for the next read.
    pub(crate) fn room(&mut self) -> Result<&mut BytesMut, FrameError> {
        let arrived = self.buffer.len();
        let usual = if self.longest == 0 { FIRST_ROOM } else { READ_ROOM };
        let missing = match self.announced()? {
            Some(length) => (4 + length).saturating_sub(arrived),
            None => usual,
        };
        let trust = match self.longest.max(arrived) {
            _ if self.trusts => self.max.saturating_add(4),
            ..READ_ROOM => usual,
            _ => TRUSTED_LENGTH,
        };
        // Beyond what is trusted the buffer at most doubles, and only once it is full.
        let trusted = missing.min(trust.saturating_sub(arrived).max(arrived));
        let free = self.buffer.capacity() - arrived;
        let enough = if arrived < trust { free >= trusted } else { free > 0 };
        if !enough {
            self.grow(trusted.max(usual));
        }
        Ok(&mut self.buffer)
    }

    /// Makes room for `additional` bytes behind those that have arrived, and copies no others.
    fn grow(&mut self, additional: usize) {
        if !self.buffer.try_reclaim(additional) {
            let mut grown = BytesMut::with_capacity(self.buffer.len() + additional);
            grown.extend_from_slice(&self.buffer);
            self.buffer = grown;
        }
    }

    /// Gives the buffer's memory back while the connection is idle.
    pub(crate) fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        match usize::try_from(length) {
            Ok(0) | Err(_) => Err(FrameError::Impossible(length)),
            Ok(length) if length > self.max => Err(FrameError::TooLarge { length, max: self.max }),
            Ok(length) => Ok(Some(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(reader: &mut FrameReader, bytes: &[u8]) {
        reader.room().expect("a sane prefix").extend_from_slice(bytes);
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let stream: Vec<u8> =
            (1..=40u8).flat_map(|n| [&u32::from(n).to_be_bytes()[..], &vec![n; n.into()]].concat()).collect();
        for cut in 1..stream.len() {
            let mut reader = FrameReader::new(64);
            let mut frames = Vec::new();
            for part in stream.chunks(cut) {
                feed(&mut reader, part);
                while let Some(frame) = reader.next().expect("valid") {
                    frames.push(frame);
                }
            }
            let lengths: Vec<_> = frames.iter().map(Bytes::len).collect();
            assert_eq!(lengths, (1..=40).collect::<Vec<_>>(), "cut at {cut}");
            assert!(frames.iter().all(|frame| frame.iter().all(|byte| usize::from(*byte) == frame.len())));
            assert!(!reader.is_mid_frame());
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for (prefix, error) in [
            (0, FrameError::Impossible(0)),
            (-1, FrameError::Impossible(-1)),
            (i32::MIN, FrameError::Impossible(i32::MIN)),
            (101, FrameError::TooLarge { length: 101, max: 100 }),
        ] {
            let mut reader = FrameReader::new(100);
            feed(&mut reader, &prefix.to_be_bytes());
            assert_eq!(reader.next(), Err(error));
            assert!(reader.room().is_err(), "nothing more is read");
        }
    }

    #[test]
    fn a_huge_length_costs_no_memory_until_its_bytes_arrive() {
        let mut reader = FrameReader::new(100 << 20);
        feed(&mut reader, &(100i32 << 20).to_be_bytes());
        let mut arrived = 4;
        while arrived < 16 << 20 {
            let room = reader.room().expect("allowed");
            let least = if arrived < READ_ROOM { READ_ROOM } else { TRUSTED_LENGTH };
            assert!(room.capacity() <= 2 * arrived.max(least), "{} for {arrived} bytes", room.capacity());
            let step = (room.capacity() - room.len()).min(256 * 1024);
            assert!(step > 0, "no room to read");
            room.resize(room.len() + step, 7);
            arrived += step;
        }
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn a_client_that_has_sent_little_gets_little() {
        let mut reader = FrameReader::new(100 << 20);
        assert!(reader.room().expect("nothing announced").capacity() <= FIRST_ROOM, "before the first byte");
        feed(&mut reader, &1_000_000i32.to_be_bytes());
        assert!(reader.room().expect("allowed").capacity() <= 2 * FIRST_ROOM, "for an announcement");
        let mut reader = FrameReader::new(100 << 20);
        feed(&mut reader, &[&100_000i32.to_be_bytes()[..], &[1; 100_000]].concat());
        assert!(reader.next().expect("valid").is_some());
        feed(&mut reader, &1_000_000i32.to_be_bytes());
        let room = reader.room().expect("allowed");
        assert!(room.capacity() - room.len() >= 1_000_000, "the next frame is read without a copy");
    }

    #[test]
    fn a_trusted_length_is_read_without_a_copy() {
        let mut reader = FrameReader::new(100 << 20);
        reader.trust();
        feed(&mut reader, &[&(90i32 << 20).to_be_bytes()[..], &[1; 10]].concat());
        let place = reader.room().expect("allowed").as_ptr() as usize;
        while reader.next().expect("valid").is_none() {
            let room = reader.room().expect("allowed");
            assert_eq!(room.as_ptr() as usize, place, "nothing is moved");
            room.resize((room.len() + (1 << 20)).min(room.capacity()).min(4 + (90 << 20)), 7);
        }
    }

    #[test]
    fn the_buffer_is_used_again_when_its_frames_are_done() {
        let mut reader = FrameReader::new(1 << 20);
        let frame = [&1000i32.to_be_bytes()[..], &[5; 1000]].concat();
        let mut places = Vec::new();
        for _ in 0..10_000 {
            feed(&mut reader, &frame);
            places.push(reader.next().expect("valid").expect("whole").as_ptr() as usize);
        }
        // The room of a handshake is left behind in the first frames.
        let (low, high) = places[100..].iter().fold((usize::MAX, 0), |(low, high), at| (low.min(*at), high.max(*at)));
        assert!(high - low < READ_ROOM, "the frames are up to {} bytes apart", high - low);
    }
}
