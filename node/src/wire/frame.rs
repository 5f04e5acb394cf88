//! A response as the chunks that are sent one after another.

use bytes::Bytes;
use smallvec::SmallVec;

/// Bytes to send, in chunks, so that record batches stay where they are: in the mapping of their segment.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    chunks: SmallVec<[Bytes; 4]>,
    len: usize,
}

impl Frame {
    /// A frame of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chunk behind the others; an empty one is left out.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Puts a chunk before the others.
    pub fn push_front(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        self.chunks.insert(0, chunk);
    }

    /// Bytes in all chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks, in the order of sending.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The chunks by value, in the order of sending.
    pub fn into_chunks(self) -> impl Iterator<Item = Bytes> {
        self.chunks.into_iter()
    }

    /// One contiguous copy; for local callers and tests, not for the serving path.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [one] => one.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

impl From<Bytes> for Frame {
    fn from(chunk: Bytes) -> Self {
        let mut frame = Self::new();
        frame.push(chunk);
        frame
    }
}
