//! A frame of messages while it is put together: heads in one buffer, records where they lie.

use bytes::{BufMut, BytesMut};

use super::frame::{CRC_END, Kind, begin, checksum, seal};
use super::{Encoded, LENGTH_LEN};
use crate::wire::Frame;

/// Position of the number of messages.
const COUNT_AT: usize = CRC_END + 2 + 8;

/// Messages that go into one frame.
#[derive(Debug)]
pub(crate) struct Batch {
    heads: BytesMut,
    /// Records, and the position in `heads` that they follow.
    records: Vec<(usize, Frame)>,
    records_len: usize,
    count: u32,
}

impl Batch {
    /// A frame of a sender that has applied `metadata_epoch`.
    pub(crate) fn new(metadata_epoch: u64) -> Self {
        let mut heads = begin(Kind::MESSAGES);
        heads.put_u64(metadata_epoch);
        heads.put_u32(0);
        Self { heads, records: Vec::new(), records_len: 0, count: 0 }
    }

    /// Adds a message behind the others.
    pub(crate) fn push(&mut self, message: Encoded) {
        self.count += 1;
        self.heads.put_slice(&message.head);
        if !message.records.is_empty() {
            self.records_len += message.records.len();
            self.records.push((self.heads.len(), message.records));
        }
    }

    /// The frame, its length included.
    pub(crate) fn finish(mut self) -> Frame {
        for (place, byte) in self.heads.iter_mut().skip(COUNT_AT).zip(self.count.to_be_bytes()) {
            *place = byte;
        }
        let length = self.heads.len() + self.records_len - LENGTH_LEN;
        let sum = checksum(self.parts());
        seal(&mut self.heads, length, sum);
        let mut heads = self.heads.freeze();
        let mut frame = Frame::new();
        let mut begin = 0;
        for (end, records) in self.records {
            frame.push(heads.split_to(end - begin));
            records.into_chunks().for_each(|chunk| frame.push(chunk));
            begin = end;
        }
        frame.push(heads);
        frame
    }

    /// What the checksum covers, in the order of sending.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(CRC_END).chain(self.records.iter().map(|(end, _)| *end));
        let ends = self.records.iter().map(|(end, _)| *end).chain(std::iter::once(self.heads.len()));
        let heads = begins.zip(ends).map(|(begin, end)| self.heads.get(begin..end).unwrap_or_default());
        let records = self.records.iter().map(|(_, records)| Some(records)).chain(std::iter::once(None));
        heads.zip(records).flat_map(|(head, records)| {
            let chunks = records.map(Frame::chunks).unwrap_or_default();
            std::iter::once(head).chain(chunks.iter().map(AsRef::as_ref))
        })
    }
}
