//! A walk over the headers of batches that are known to be whole.

use crate::record_batch::BatchHeader;

/// A batch met by a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walked {
    /// Its position in the bytes walked over.
    pub(crate) position: usize,
    /// Its header.
    pub(crate) header: BatchHeader,
}

impl Walked {
    /// Position behind the batch.
    pub(crate) fn end(&self) -> usize {
        self.position + self.header.size()
    }
}

/// Yields one batch after the other, and ends where bytes are no whole batch.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Walks from `position`, where a batch begins.
    pub(crate) const fn from(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }
}

impl Iterator for Walk<'_> {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        let header = BatchHeader::parse(self.bytes.get(self.position..)?).ok()?;
        let walked = Walked { position: self.position, header };
        self.position = walked.end();
        (self.position <= self.bytes.len()).then_some(walked)
    }
}
