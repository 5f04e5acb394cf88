//! The five codecs of record batches; decompression stops at a limit.

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};

use super::{RecordError, snappy};

/// How a record batch is compressed (`compression.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// snappy in the framing of the Java library xerial.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Codec {
    /// The number in a batch's attributes.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec with this number.
    ///
    /// # Errors
    /// There is none.
    pub const fn from_number(number: i16) -> Result<Self, RecordError> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(RecordError::Codec(other)),
        }
    }

    /// The name used in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Appends `input` to `out`, compressed.
    pub(super) fn compress(self, input: &[u8], out: &mut BytesMut) -> Result<(), RecordError> {
        let failed = |error: &dyn std::fmt::Display| self.failed(error);
        match self {
            Self::None => out.put_slice(input),
            Self::Snappy => snappy::compress(input, out)?,
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out.writer(), flate2::Compression::default());
                encoder.write_all(input).and_then(|()| encoder.try_finish()).map_err(|e| failed(&e))?;
            }
            Self::Lz4 => {
                // Java's reader wants blocks that do not refer to each other.
                let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out.writer());
                encoder.write_all(input).map_err(|e| failed(&e))?;
                encoder.finish().map_err(|e| failed(&e))?;
            }
            Self::Zstd => {
                let packed = zstd::bulk::compress(input, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(|e| failed(&e))?;
                out.put_slice(&packed);
            }
        }
        Ok(())
    }

    /// The decompressed form of `input`, of at most `limit` bytes.
    pub(super) fn decompress(self, input: Bytes, limit: usize) -> Result<Bytes, RecordError> {
        match self {
            Self::None => Ok(input),
            Self::Snappy => snappy::decompress(&input, limit),
            Self::Gzip => self.read_bounded(flate2::read::MultiGzDecoder::new(&input[..]), limit),
            Self::Lz4 => self.read_bounded(lz4_flex::frame::FrameDecoder::new(&input[..]), limit),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&input[..]).map_err(|e| self.failed(&e))?;
                self.read_bounded(decoder, limit)
            }
        }
    }

    fn read_bounded(self, reader: impl Read, limit: usize) -> Result<Bytes, RecordError> {
        let mut out = Vec::new();
        let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(cap).read_to_end(&mut out).map_err(|e| self.failed(&e))?;
        if out.len() > limit {
            return Err(RecordError::TooLarge { limit });
        }
        Ok(Bytes::from(out))
    }

    fn failed(self, error: &dyn std::fmt::Display) -> RecordError {
        RecordError::Compression { codec: self, reason: error.to_string() }
    }
}

impl std::str::FromStr for Codec {
    type Err = crate::ClientError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.name() == text)
            .ok_or_else(|| {
                crate::ClientError::config(format!("codec {text:?} is none of none, gzip, snappy, lz4, zstd"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_returns_what_it_was_given() {
        let input: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        for codec in ALL {
            for length in [0, 1, 100, input.len()] {
                let mut packed = BytesMut::new();
                codec.compress(&input[..length], &mut packed).expect("compress");
                let back = codec.decompress(packed.freeze(), length).expect("decompress");
                assert_eq!(back, input[..length], "{codec:?} {length}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeroes = vec![0u8; 10 << 20];
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut packed = BytesMut::new();
            codec.compress(&zeroes, &mut packed).expect("compress");
            let result = codec.decompress(packed.freeze(), 1 << 20);
            assert_eq!(result, Err(RecordError::TooLarge { limit: 1 << 20 }), "{codec:?}");
        }
    }

    #[test]
    fn garbage_is_an_error() {
        let garbage = Bytes::from_static(b"\x01\xffthis is no compressed data at all, of no kind");
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert!(codec.decompress(garbage.clone(), 1 << 20).is_err(), "{codec:?}");
        }
        assert_eq!(Codec::from_number(5), Err(RecordError::Codec(5)));
    }
}
