//! snappy as Kafka uses it: raw blocks behind the stream header of the Java library xerial.
//!
//! Layout: `82 "SNAPPY" 00`, version and lowest compatible version as i32, then blocks of (i32 length, raw snappy).
//! Some clients write one raw block without the header; both are read.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Codec, RecordError};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
const BLOCK_BYTES: usize = 32 << 10;

pub(super) fn compress(input: &[u8], out: &mut BytesMut) -> Result<(), RecordError> {
    out.put_slice(&MAGIC);
    out.put_i32(1);
    out.put_i32(1);
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).map_err(|error| failed(&error))?;
        out.put_i32(i32::try_from(packed.len()).map_err(|_| RecordError::Invalid("snappy block length"))?);
        out.put_slice(&packed);
    }
    Ok(())
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Bytes, RecordError> {
    let mut out = Vec::new();
    if !input.starts_with(&MAGIC) {
        block(input, limit, &mut out)?;
        return Ok(Bytes::from(out));
    }
    let mut rest = input.get(HEADER_BYTES..).ok_or(RecordError::Truncated("snappy header"))?;
    while !rest.is_empty() {
        if rest.len() < 4 {
            return Err(RecordError::Truncated("snappy block length"));
        }
        let length = usize::try_from(rest.get_i32()).map_err(|_| RecordError::Invalid("snappy block length"))?;
        let packed = rest.get(..length).ok_or(RecordError::Truncated("snappy block"))?;
        rest.advance(length);
        block(packed, limit, &mut out)?;
    }
    Ok(Bytes::from(out))
}

/// Appends one raw block; its claimed length is checked before anything is allocated for it.
fn block(packed: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let claimed = snap::raw::decompress_len(packed).map_err(|error| failed(&error))?;
    let start = out.len();
    if claimed > limit.saturating_sub(start) {
        return Err(RecordError::TooLarge { limit });
    }
    out.resize(start + claimed, 0);
    let written = snap::raw::Decoder::new()
        .decompress(packed, out.get_mut(start..).unwrap_or_default())
        .map_err(|error| failed(&error))?;
    out.truncate(start + written);
    Ok(())
}

fn failed(error: &snap::Error) -> RecordError {
    RecordError::Compression { codec: Codec::Snappy, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_raw_block_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"raw block").expect("compress");
        assert_eq!(decompress(&packed, 100), Ok(Bytes::from_static(b"raw block")));
    }

    #[test]
    fn a_stream_of_the_java_library_is_read() {
        // As xerial's SnappyOutputStream writes "hello": header, then a block of 7 bytes.
        let mut stream = MAGIC.to_vec();
        stream.extend([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 5, 0x10]);
        stream.extend(b"hello");
        assert_eq!(decompress(&stream, 100), Ok(Bytes::from_static(b"hello")));
        let mut ours = BytesMut::new();
        compress(b"hello", &mut ours).expect("compress");
        assert_eq!(ours, stream, "and written the same");
    }

    #[test]
    fn a_length_beyond_the_bytes_is_an_error() {
        let mut stream = MAGIC.to_vec();
        stream.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 5]);
        assert_eq!(decompress(&stream, 100), Err(RecordError::Truncated("snappy block")));
    }
}
