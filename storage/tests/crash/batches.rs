//! Batches with the bytes a log will store, so that a test can compare them.

use bytes::{Bytes, BytesMut};
use millrace_storage::{BatchBuilder, Codec};
use millrace_types::{LeaderEpoch, Offset, ProducerId, Timestamp};

/// A batch as it lies in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) bytes: Bytes,
    /// Producer id, its epoch and the last sequence.
    pub(crate) producer: Option<(ProducerId, i16, i32)>,
}

/// What a batch is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) records: i64,
    pub(crate) value_len: usize,
    pub(crate) fill: u8,
    /// Producer id and first sequence; the producer's epoch is 0.
    pub(crate) producer: Option<(ProducerId, i32)>,
}

/// The batch as a producer sends it.
pub(crate) fn produced(shape: Shape, timestamp: Timestamp) -> Bytes {
    let mut builder = BatchBuilder::new(timestamp, Codec::None);
    for at in 0..shape.records {
        let value = vec![shape.fill.wrapping_add(at as u8) | 1; shape.value_len];
        builder = builder.push(None, Some(&value));
    }
    if let Some((id, sequence)) = shape.producer {
        builder = builder.producer(id, 0, sequence);
    }
    builder.build().unwrap_or_default()
}

/// The batch as a leader stores it at `base` in `epoch`.
pub(crate) fn stored(produced: &Bytes, shape: Shape, base: Offset, epoch: LeaderEpoch) -> Stored {
    let mut bytes = BytesMut::from(produced.as_ref());
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    let last = |(id, first): (ProducerId, i32)| (id, 0, first + shape.records as i32 - 1);
    Stored { base, next: base + shape.records, epoch, bytes: bytes.freeze(), producer: shape.producer.map(last) }
}
