//! Record batches to send: values of text that compresses about as event data does.

use bytes::Bytes;
use millrace_client::record::{BatchBuilder, ProducerStamp, RecordFields};

use crate::cli::{Codec, Load};
use crate::clock;
use crate::error::BenchError;

/// Bytes that a record adds to its value in a batch, about.
const RECORD_OVERHEAD: u32 = 8;
const WORDS: &[&str] =
    &["\"user\":", "\"session\":", "\"event\":\"view\",", "\"price\":", "\"region\":\"eu-west\",", "\"quantity\":"];

/// A batch that is sent over and over.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The batch on the wire.
    pub(crate) bytes: Bytes,
    /// Records in it.
    pub(crate) records: u64,
    /// Bytes of their values, before compression.
    pub(crate) value_bytes: u64,
}

/// Generates values from a seed: the same seed gives the same bytes.
#[derive(Debug)]
pub(crate) struct Values {
    state: u64,
}

impl Values {
    /// A generator that starts at `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// The next number of a xorshift generator.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// A value of exactly `size` bytes: known words between numbers.
    pub(crate) fn value(&mut self, size: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(size + 48);
        while value.len() < size {
            let number = self.next();
            let word = usize::try_from(number % WORDS.len() as u64).ok().and_then(|at| WORDS.get(at));
            value.extend_from_slice(word.map_or(&[][..], |word| word.as_bytes()));
            value.extend_from_slice(format!("{number:016x},").as_bytes());
        }
        value.truncate(size);
        value
    }
}

/// How many records a batch of `load` holds.
pub(crate) fn records_per_batch(load: &Load) -> u32 {
    (load.batch_size / (load.record_size + RECORD_OVERHEAD)).max(1)
}

/// A batch of `records` values as `load` describes them.
pub(crate) fn prepare(load: &Load, records: u32, seed: u64) -> Result<Prepared, BenchError> {
    let size = usize::try_from(load.record_size).unwrap_or(usize::MAX);
    let mut values = Values::new(seed);
    let mut batch = BatchBuilder::with_capacity(64);
    let timestamp = clock::unix_ms();
    for _ in 0..records {
        let value = values.value(size);
        batch.append(timestamp, &RecordFields { value: Some(&value), ..RecordFields::default() });
    }
    let bytes = seal(batch, load.codec)?;
    let records = u64::from(records);
    Ok(Prepared { bytes, records, value_bytes: records * u64::from(load.record_size) })
}

/// The batch on the wire.
pub(crate) fn seal(batch: BatchBuilder, codec: Codec) -> Result<Bytes, BenchError> {
    let mut sealed = batch.seal(codec.into()).map_err(|error| BenchError::Options(format!("a batch: {error}")))?;
    Ok(sealed.stamp(ProducerStamp::NONE))
}

impl From<Codec> for millrace_client::Codec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_depend_on_the_seed() {
        for size in [1, 16, 1000] {
            assert_eq!(Values::new(7).value(size).len(), size);
        }
        assert_eq!(Values::new(7).value(100), Values::new(7).value(100));
        assert_ne!(Values::new(7).value(100), Values::new(8).value(100));
        let mut values = Values::new(7);
        assert_ne!(values.value(100), values.value(100));
    }
}
