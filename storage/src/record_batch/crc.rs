//! CRC-32C (Castagnoli), the checksum of record batches and of every file of a log.

use crc_fast::CrcAlgorithm::Crc32Iscsi;

/// The checksum of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    narrow(crc_fast::checksum(Crc32Iscsi, bytes))
}

/// The checksum of two byte strings one after the other, from that of each and the second one's length.
pub(crate) fn crc32c_combine(first: u32, second: u32, second_len: usize) -> u32 {
    narrow(crc_fast::checksum_combine(Crc32Iscsi, u64::from(first), u64::from(second), second_len as u64))
}

/// The library answers a 32-bit sum in the low half of 64 bits.
#[allow(clippy::cast_possible_truncation)]
fn narrow(sum: u64) -> u32 {
    sum as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn two_parts_combine_to_the_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        for cut in [0, 1, 40, 255, 256] {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(crc32c_combine(crc32c(first), crc32c(second), second.len()), crc32c(&bytes));
        }
    }
}
