//! Reading and writing the fields of a frame: big-endian, bounded, nothing allocated for a length.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_raft::ReplicaKey;
use millrace_types::{BrokerId, DirectoryId, LeaderEpoch, Offset};
use uuid::Uuid;

use super::PeerWireError;

/// What is left of a frame.
#[derive(Debug)]
pub(crate) struct Fields {
    rest: Bytes,
}

impl Fields {
    pub(crate) const fn new(frame: Bytes) -> Self {
        Self { rest: frame }
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// The next `count` bytes, as a slice of the frame.
    pub(crate) fn take(&mut self, count: usize, field: &'static str) -> Result<Bytes, PeerWireError> {
        if self.rest.len() < count {
            return Err(PeerWireError::Truncated(field));
        }
        Ok(self.rest.split_to(count))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], PeerWireError> {
        let bytes = *self.rest.first_chunk::<N>().ok_or(PeerWireError::Truncated(field))?;
        self.rest.advance(N);
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, PeerWireError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, PeerWireError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, PeerWireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, PeerWireError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A number of 32 bits that is not negative.
    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, PeerWireError> {
        let number = self.array(field).map(i32::from_be_bytes)?;
        (number >= 0).then_some(number).ok_or(PeerWireError::Impossible(field))
    }

    pub(crate) fn epoch(&mut self, field: &'static str) -> Result<LeaderEpoch, PeerWireError> {
        self.i32(field)
    }

    pub(crate) fn offset(&mut self, field: &'static str) -> Result<Offset, PeerWireError> {
        let offset = self.array(field).map(i64::from_be_bytes)?;
        (offset >= 0).then_some(offset).ok_or(PeerWireError::Impossible(field))
    }

    pub(crate) fn uuid(&mut self, field: &'static str) -> Result<Uuid, PeerWireError> {
        self.array(field).map(Uuid::from_bytes)
    }

    pub(crate) fn key(&mut self, field: &'static str) -> Result<ReplicaKey, PeerWireError> {
        Ok(ReplicaKey { broker: BrokerId(self.i32(field)?), directory: DirectoryId(self.uuid(field)?) })
    }

    /// A byte of flags, of which only those of `known` may be set.
    pub(crate) fn flags(&mut self, known: u8, field: &'static str) -> Result<u8, PeerWireError> {
        let flags = self.u8(field)?;
        (flags & !known == 0).then_some(flags).ok_or(PeerWireError::Impossible(field))
    }

    /// A number of elements of at least `size` bytes each; refused when so many cannot follow.
    pub(crate) fn count(&mut self, size: usize, field: &'static str) -> Result<usize, PeerWireError> {
        let count = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        let fits = count.checked_mul(size).is_some_and(|bytes| bytes <= self.rest.len());
        fits.then_some(count).ok_or(PeerWireError::Truncated(field))
    }

    /// Reads a field only when its flag is set.
    pub(crate) fn when<T>(
        &mut self,
        set: bool,
        read: impl FnOnce(&mut Self) -> Result<T, PeerWireError>,
    ) -> Result<Option<T>, PeerWireError> {
        if set { read(self).map(Some) } else { Ok(None) }
    }
}

/// Writes a count; one beyond 32 bits reads as one that cannot be.
pub(crate) fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

pub(crate) fn put_key(out: &mut BytesMut, key: ReplicaKey) {
    out.put_i32(key.broker.0);
    out.put_slice(key.directory.0.as_bytes());
}

/// A byte with bit `i` set where `bits[i]` is.
pub(crate) fn flags<const N: usize>(bits: [bool; N]) -> u8 {
    bits.iter().rev().fold(0, |byte, bit| (byte << 1) | u8::from(*bit))
}
