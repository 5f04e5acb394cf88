//! Zigzag variable-length integers of the record format.

/// Takes a 64-bit zigzag integer from the front of `bytes`; `None` when it is cut short or longer than ten bytes.
#[inline]
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = bytes.get(at + 1..)?;
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

/// Takes a zigzag integer that must fit 32 bits.
#[inline]
pub(crate) fn take_varint32(bytes: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_varint(bytes)?).ok()
}

/// Appends `value` as a zigzag integer.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_encodings() {
        for (value, bytes) in [(0, &[0_u8][..]), (-1, &[1]), (1, &[2]), (-64, &[127]), (64, &[0x80, 1])] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn cut_short_or_too_long_is_refused() {
        assert_eq!(take_varint(&mut &[0x80_u8, 0x80][..]), None);
        assert_eq!(take_varint(&mut &[0x80_u8; 11][..]), None);
        assert_eq!(take_varint32(&mut &[0xff, 0xff, 0xff, 0xff, 0x7f_u8][..]), None);
    }

    proptest! {
        #[test]
        fn what_is_put_is_taken(value: i64, tail: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            out.extend_from_slice(&tail);
            let mut rest = out.as_slice();
            prop_assert_eq!(take_varint(&mut rest), Some(value));
            prop_assert_eq!(rest, tail.as_slice());
        }
    }
}
