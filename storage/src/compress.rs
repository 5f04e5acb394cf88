//! Kafka's compression codecs over whole record sections, with a bound on what a hostile batch may unfold to.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use thiserror::Error;

/// How the records of a batch are compressed; the number is that of the batch attributes (bits 0 to 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None = 0,
    /// Gzip (RFC 1952).
    Gzip = 1,
    /// Snappy, in the block framing of snappy-java; raw blocks are read too.
    Snappy = 2,
    /// LZ4 frames with independent blocks.
    Lz4 = 3,
    /// Zstandard (KIP-110).
    Zstd = 4,
}

/// Why bytes could not be compressed or decompressed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are not of the codec's format.
    #[error("{codec:?}: {reason}")]
    Malformed {
        /// The codec.
        codec: Codec,
        /// What the decoder said.
        reason: String,
    },
    /// The bytes unfold to more than the caller allows.
    #[error("{codec:?}: unfolds to more than {limit} bytes")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// The limit in bytes.
        limit: usize,
    },
}

/// The 16 bytes that open snappy-java's stream: magic, version 1, lowest compatible version 1.
const SNAPPY_JAVA_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Uncompressed bytes of one block of snappy-java's stream.
const SNAPPY_BLOCK: usize = 32 * 1024;

/// How hard the codecs that have levels try; LZ4 has one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// 1 to 9 (`compression.gzip.level`); anything else for the codec's own.
    pub gzip: i32,
    /// -131072 to 22 (`compression.zstd.level`).
    pub zstd: i32,
}

impl Default for Levels {
    /// Kafka's defaults.
    fn default() -> Self {
        Self { gzip: -1, zstd: 3 }
    }
}

impl Codec {
    /// The codec with this number in the batch attributes.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The codec a topic's `compression.type` names; `None` for `producer` and for unknown names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "uncompressed" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name in a topic's `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Unfolds `bytes`, without a copy where they are not compressed.
    ///
    /// # Errors
    /// When the bytes are malformed or unfold to more than `limit` bytes.
    pub fn decompress(self, bytes: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, CodecError> {
        let unfolded = match self {
            Self::None if bytes.len() > limit => return Err(CodecError::TooLarge { codec: self, limit }),
            Self::None => return Ok(Cow::Borrowed(bytes)),
            Self::Gzip => read_bounded(self, flate2::read::MultiGzDecoder::new(bytes), limit)?,
            Self::Snappy => decompress_snappy(bytes, limit)?,
            Self::Lz4 => read_bounded(self, lz4_flex::frame::FrameDecoder::new(bytes), limit)?,
            Self::Zstd => {
                let decoder =
                    zstd::stream::read::Decoder::with_buffer(bytes).map_err(|error| malformed(self, &error))?;
                read_bounded(self, decoder, limit)?
            }
        };
        Ok(Cow::Owned(unfolded))
    }

    /// Compresses `bytes` at Kafka's default level.
    ///
    /// # Errors
    /// When the encoder fails, which for bytes in memory means that memory is short.
    pub fn compress(self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        self.compress_at(bytes, Levels::default())
    }

    /// Compresses `bytes` at the codec's level of `levels`.
    ///
    /// # Errors
    /// As [`Codec::compress`].
    pub fn compress_at(self, bytes: &[u8], levels: Levels) -> Result<Vec<u8>, CodecError> {
        let packed = match self {
            Self::None => Ok(bytes.to_vec()),
            Self::Gzip => {
                let level = u32::try_from(levels.gzip).ok().filter(|level| (1..=9).contains(level));
                let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Self::Snappy => compress_snappy(bytes),
            Self::Lz4 => {
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(bytes).and_then(|()| encoder.finish().map_err(io::Error::from))
            }
            // All at once, so that the encoder knows the length: at the highest levels one that does not takes hundreds of
            // megabytes for the smallest batch.
            Self::Zstd => zstd::bulk::compress(bytes, levels.zstd),
        };
        packed.map_err(|error| malformed(self, &error))
    }
}

fn malformed(codec: Codec, error: &dyn std::fmt::Display) -> CodecError {
    CodecError::Malformed { codec, reason: error.to_string() }
}

/// Reads to the end, but one byte beyond `limit` at most, so that a bomb costs no more than a legal batch.
fn read_bounded(codec: Codec, reader: impl Read, limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut unfolded = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(bound).read_to_end(&mut unfolded).map_err(|error| malformed(codec, &error))?;
    if unfolded.len() > limit {
        return Err(CodecError::TooLarge { codec, limit });
    }
    Ok(unfolded)
}

fn decompress_snappy(bytes: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut unfolded = Vec::new();
    let Some(mut blocks) = bytes.strip_prefix(&SNAPPY_JAVA_HEADER[..8]).and_then(|rest| rest.get(8..)) else {
        append_snappy_block(bytes, limit, &mut unfolded)?;
        return Ok(unfolded);
    };
    while let Some((length, rest)) = blocks.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((block, rest)) = rest.split_at_checked(length) else {
            return Err(malformed(Codec::Snappy, &"a block is longer than the stream"));
        };
        append_snappy_block(block, limit, &mut unfolded)?;
        blocks = rest;
    }
    if blocks.is_empty() { Ok(unfolded) } else { Err(malformed(Codec::Snappy, &"a block's length is cut short")) }
}

fn append_snappy_block(block: &[u8], limit: usize, unfolded: &mut Vec<u8>) -> Result<(), CodecError> {
    let length = snap::raw::decompress_len(block).map_err(|error| malformed(Codec::Snappy, &error))?;
    let start = unfolded.len();
    if length > limit.saturating_sub(start) {
        return Err(CodecError::TooLarge { codec: Codec::Snappy, limit });
    }
    unfolded.resize(start + length, 0);
    let space = unfolded.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, space).map_err(|error| malformed(Codec::Snappy, &error))?;
    Ok(())
}

fn compress_snappy(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = SNAPPY_JAVA_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(SNAPPY_BLOCK) {
        let block = encoder.compress_vec(block).map_err(io::Error::other)?;
        let length = u32::try_from(block.len()).map_err(io::Error::other)?;
        packed.extend_from_slice(&length.to_be_bytes());
        packed.extend_from_slice(&block);
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_returns_what_it_was_given() {
        let long: Vec<u8> = (0..200_000_u32).map(|n| (n / 7) as u8).collect();
        for codec in ALL {
            for bytes in [&b""[..], b"a", &long] {
                let packed = codec.compress(bytes).expect("compresses");
                assert_eq!(codec.decompress(&packed, bytes.len()).expect("unfolds").as_ref(), bytes, "{codec:?}");
            }
        }
    }

    #[test]
    fn a_higher_level_packs_more_tightly() {
        // Words in an order of no use to a codec that looks back a little only.
        let mut state = 1_u32;
        let mut word = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("word{} ", state >> 20)
        };
        let text: String = (0..50_000).map(|_| word()).collect();
        let size = |codec: Codec, levels: Levels| {
            let packed = codec.compress_at(text.as_bytes(), levels).expect("compresses");
            assert_eq!(codec.decompress(&packed, text.len()).expect("unfolds").as_ref(), text.as_bytes());
            packed.len()
        };
        let gzip = |gzip| size(Codec::Gzip, Levels { gzip, ..Levels::default() });
        assert!(gzip(9) < gzip(1));
        assert_eq!(gzip(-1), gzip(6));
        let zstd = |zstd| size(Codec::Zstd, Levels { zstd, ..Levels::default() });
        assert!(zstd(19) < zstd(3) && zstd(3) < zstd(-131_072));
        assert_eq!(size(Codec::Zstd, Levels::default()), zstd(3));
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let zeros = vec![0; 1 << 20];
        for codec in ALL {
            let packed = codec.compress(&zeros).expect("compresses");
            let error = codec.decompress(&packed, zeros.len() - 1).expect_err("one byte too many");
            assert_eq!(error, CodecError::TooLarge { codec, limit: zeros.len() - 1 });
        }
    }

    #[test]
    fn garbage_is_malformed() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let error = codec.decompress(&[0x55; 40], 1 << 20).expect_err("no codec's format");
            assert!(matches!(error, CodecError::Malformed { .. }), "{error}");
        }
        let mut cut = SNAPPY_JAVA_HEADER.to_vec();
        cut.extend_from_slice(&[0, 0, 0, 9, 1]);
        assert!(Codec::Snappy.decompress(&cut, 100).is_err());
    }

    #[test]
    fn raw_snappy_blocks_are_read_too() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello").expect("compresses");
        assert_eq!(Codec::Snappy.decompress(&raw, 100).expect("unfolds").as_ref(), b"hello hello hello");
    }

    #[test]
    fn names_and_numbers_agree() {
        for codec in ALL {
            assert_eq!(Codec::from_number(codec as u8), Some(codec));
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Codec::from_name("producer"), None);
        assert_eq!(Codec::from_number(5), None);
    }
}
