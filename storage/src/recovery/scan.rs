//! The recovery scan: the longest prefix of a segment that is certainly what was appended.

use millrace_types::{LeaderEpoch, Offset};

use super::epochs::Epochs;
use crate::mutation::{Mutation, broken};
use crate::record_batch::{BatchHeader, HEADER_LEN};

/// What the batches of a segment must continue, and how closely they are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Base offset of the first batch.
    pub(crate) offset: Offset,
    /// The leader epoch before it; epochs never fall.
    pub(crate) epoch: LeaderEpoch,
    /// What else is known of the epochs.
    pub(crate) epochs: Epochs<'a>,
    /// Checksums are computed of batches that end above this offset: what lies below was flushed by this disk.
    pub(crate) trusted_below: Offset,
    /// Whether all bytes behind the last batch are looked at: after a power loss any page may have survived.
    pub(crate) whole_tail: bool,
    /// No batch that ends above this offset is taken, be it whole or not; `Offset::MAX` for no such bound.
    pub(crate) upto: Offset,
    /// Why there is such a bound.
    pub(crate) why: &'static str,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Position behind the last good batch.
    pub(crate) position: usize,
    /// The offset behind it.
    pub(crate) next: Offset,
    /// Its leader epoch, or the one before.
    pub(crate) epoch: LeaderEpoch,
    /// Bytes whose checksum was computed.
    pub(crate) scanned: u64,
    /// What lies behind: `None` for nothing but zeros.
    pub(crate) bad: Option<Bad>,
}

/// Bytes that do not continue the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Why not.
    pub(crate) reason: String,
    /// Bytes from the end of the log to the last one that is not zero.
    pub(crate) extent: u64,
    /// Whether they are no more than one batch that was not written to its end.
    pub(crate) one_torn_batch: bool,
}

/// Scans `bytes`, a segment from its start, and calls `each` with every good batch.
pub(crate) fn scan(bytes: &[u8], expected: Expected<'_>, mut each: impl FnMut(&BatchHeader)) -> Scan {
    let mut scan = Scan { position: 0, next: expected.offset, epoch: expected.epoch, scanned: 0, bad: None };
    loop {
        let rest = bytes.get(scan.position..).unwrap_or_default();
        let front = rest.get(..HEADER_LEN).unwrap_or(rest);
        if scan.next >= expected.upto {
            scan.bad = Some(bad(rest, expected.why.to_owned(), 0));
            return scan;
        }
        if is_zero(front) {
            if expected.whole_tail && !is_zero(rest) {
                scan.bad = Some(bad(rest, "bytes without a batch in front of them".to_owned(), 0));
            }
            return scan;
        }
        match good_batch(rest, &mut scan, &expected) {
            Ok(header) => {
                each(&header);
                scan.position += header.size();
                scan.next = header.last_offset() + 1;
                scan.epoch = header.leader_epoch;
            }
            Err((reason, size)) => {
                scan.bad = Some(bad(rest, reason, size));
                return scan;
            }
        }
    }
}

/// The batch at the front of `rest`, or what is wrong with it and the bytes it claims.
fn good_batch(rest: &[u8], scan: &mut Scan, expected: &Expected<'_>) -> Result<BatchHeader, (String, usize)> {
    let header = BatchHeader::parse(rest).map_err(|error| (error.to_string(), 0))?;
    let size = header.size();
    let wrong = |reason: String| Err((reason, size));
    if header.base_offset != scan.next && !broken(Mutation::SkipOffsetCheck) {
        return wrong(format!("base offset {} where {} is due", header.base_offset, scan.next));
    }
    if header.last_offset_delta < 0 || header.base_offset.checked_add(i64::from(header.last_offset_delta) + 1).is_none()
    {
        return wrong(format!("last offset delta {} behind base offset {}", header.last_offset_delta, scan.next));
    }
    if header.leader_epoch < scan.epoch && !broken(Mutation::AcceptDecreasingEpoch) {
        return wrong(format!("leader epoch {} behind epoch {}", header.leader_epoch, scan.epoch));
    }
    if !expected.epochs.allow(header.base_offset, header.leader_epoch) {
        return wrong(format!("leader epoch {} at offset {}, where it did not lead", header.leader_epoch, scan.next));
    }
    if header.last_offset() >= expected.upto {
        return wrong(expected.why.to_owned());
    }
    let Some(batch) = rest.get(..size) else {
        return wrong(format!("a batch of {size} bytes reaches beyond the file"));
    };
    if header.last_offset() >= expected.trusted_below {
        scan.scanned += size as u64;
        if !header.crc_holds(batch) && !broken(Mutation::SkipChecksum) {
            return wrong(format!("the checksum of the batch at offset {} does not hold", scan.next));
        }
    }
    Ok(header)
}

fn bad(rest: &[u8], reason: String, claimed: usize) -> Bad {
    let extent = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Bad { reason, extent: extent as u64, one_torn_batch: extent <= claimed }
}

/// Compared block by block, which is many times faster than byte by byte.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|block| Some(block) == ZEROS.get(..block.len()))
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::builder::BatchBuilder;
    use crate::compress::Codec;
    use crate::mutation::assert_noticed;
    use crate::recovery::Known;

    fn batch(offset: Offset, epoch: LeaderEpoch, records: usize) -> Bytes {
        let mut builder = BatchBuilder::new(1000, Codec::None);
        for _ in 0..records {
            builder = builder.push(None, Some(b"value"));
        }
        let mut bytes = BytesMut::from(builder.build().expect("builds").as_ref());
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        bytes.freeze()
    }

    fn expected(offset: Offset) -> Expected<'static> {
        let epochs = Epochs::default();
        Expected { offset, epoch: 1, epochs, trusted_below: 0, whole_tail: true, upto: Offset::MAX, why: "" }
    }

    fn segment() -> Vec<u8> {
        let mut bytes = [batch(5, 1, 2), batch(7, 1, 1), batch(8, 3, 4)].concat();
        bytes.resize(bytes.len() + 500, 0);
        bytes
    }

    #[test]
    fn good_batches_and_zeros_are_a_clean_segment() {
        let mut seen = Vec::new();
        let scan = scan(&segment(), expected(5), |header| seen.push(header.base_offset));
        assert_eq!((scan.next, scan.epoch, scan.bad), (12, 3, None));
        assert_eq!(seen, [5, 7, 8]);
        assert_eq!(scan.position, segment().len() - 500);
        assert_eq!(scan.scanned, scan.position as u64);
    }

    #[test]
    fn the_scan_stops_where_a_rule_breaks() {
        let cases = [
            ([batch(5, 1, 2), batch(8, 1, 1)].concat(), 7, "base offset 8 where 7 is due"),
            ([batch(5, 2, 2), batch(7, 1, 1)].concat(), 7, "leader epoch 1 behind epoch 2"),
            ([batch(5, 1, 2), batch(7, 1, 1).slice(..70)].concat(), 7, "reaches beyond the file"),
            (vec![9; 100], 5, "magic"),
        ];
        for (bytes, next, reason) in cases {
            let scan = scan(&bytes, expected(5), |_| ());
            let bad = scan.bad.expect("bad bytes");
            assert!(bad.reason.contains(reason), "{}", bad.reason);
            assert_eq!(scan.next, next);
        }
    }

    #[test]
    fn nothing_is_taken_above_the_bound() {
        for (upto, next, extent) in [(5, 5, true), (6, 5, true), (8, 8, true), (11, 8, true), (12, 12, false)] {
            let scan = scan(&segment(), Expected { upto, why: "why", ..expected(5) }, |_| ());
            let bad = scan.bad.expect("the end is suspect even when only zeros follow");
            assert_eq!((scan.next, bad.extent > 0, bad.reason.as_str()), (next, extent, "why"), "bound {upto}");
        }
    }

    #[test]
    fn every_flipped_bit_behind_the_trusted_part_is_noticed() {
        let good = segment();
        let known = Known { term: Some(3), epochs: vec![(1, 0), (3, 8)], ..Known::default() };
        let noticed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x04;
            let expected = Expected { epochs: Epochs::new(&known), ..expected(5) };
            scan(&bytes, expected, |_| ()).bad.is_some()
        };
        assert!(scan(&good, Expected { epochs: Epochs::new(&known), ..expected(5) }, |_| ()).bad.is_none());
        assert_eq!((0..good.len()).find(|at| !noticed(*at)), None);
        assert_noticed(
            "every_flipped_bit_behind_the_trusted_part_is_noticed",
            &[(Mutation::AcceptAnyEpoch, || {
                let mut bytes = segment();
                bytes[12] ^= 0x08;
                let known = Known { term: Some(3), epochs: vec![(1, 0), (3, 8)], ..Known::default() };
                let expected = Expected { epochs: Epochs::new(&known), ..expected(5) };
                assert!(
                    scan(&bytes, expected, |_| ()).bad.is_some_and(|bad| bad.reason.contains("leader epoch 134217729"))
                );
            })],
        );
        let mut flipped = good;
        flipped[70] ^= 4;
        let trusting = Expected { trusted_below: 7, ..expected(5) };
        assert_eq!(scan(&flipped, trusting, |_| ()).next, 12, "what was flushed is not summed again");
    }

    #[test]
    fn any_bytes_are_scanned_without_harm() {
        let good = segment();
        bolero::check!().with_iterations(2000).for_each(|bytes: &[u8]| {
            let scanned = scan(bytes, expected(5), |_| ());
            assert!(scanned.position <= bytes.len());
            let mut torn = good.clone();
            for (at, byte) in bytes.iter().enumerate() {
                let place = (at * 7919) % torn.len();
                torn[place] ^= byte;
            }
            let scanned = scan(&torn, Expected { whole_tail: false, ..expected(5) }, |_| ());
            assert!(scanned.position <= torn.len() && scanned.next >= 5);
        });
    }
}
