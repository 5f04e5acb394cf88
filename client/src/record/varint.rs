//! Zigzag varints, as records of format 2 use them for lengths and deltas.

use bytes::{Buf, BufMut};

use super::RecordError;

/// Bytes of `value` as a varint.
pub(super) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value`.
pub(super) fn put(buffer: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        buffer.put_u8((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    buffer.put_u8(rest as u8);
}

/// Reads a value of at most 64 bits.
pub(super) fn get(buffer: &mut impl Buf) -> Result<i64, RecordError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        if !buffer.has_remaining() {
            return Err(RecordError::Truncated("varint"));
        }
        let byte = buffer.get_u8();
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(RecordError::Invalid("varint"))
}

/// Reads a length: `None` for -1, an error for what is below it or beyond the bytes that are left.
pub(super) fn get_length(buffer: &mut impl Buf, what: &'static str) -> Result<Option<usize>, RecordError> {
    let value = get(buffer)?;
    if value == -1 {
        return Ok(None);
    }
    let length = usize::try_from(value).map_err(|_| RecordError::Invalid(what))?;
    if length > buffer.remaining() {
        return Err(RecordError::Truncated(what));
    }
    Ok(Some(length))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_encodings() {
        for (value, bytes) in [
            (0i64, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
        assert!(get(&mut &[0x80u8; 11][..]).is_err(), "eleven bytes are too many");
        assert!(get(&mut &[0x80u8][..]).is_err(), "an unfinished varint is truncated");
    }

    proptest! {
        #[test]
        fn what_is_put_is_got(value in any::<i64>()) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), size(value));
            prop_assert_eq!(get(&mut &out[..]), Ok(value));
        }
    }
}
