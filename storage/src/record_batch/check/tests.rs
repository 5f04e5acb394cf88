//! Tests of the produce check: each of Kafka's rules, by the code a client sees.

use bytes::{Bytes, BytesMut};
use millrace_types::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::builder::BatchBuilder;
use crate::record_batch::RecordIter;

const NOW: Timestamp = 1_700_000_000_000;

fn batch(codec: Codec) -> Bytes {
    let builder = BatchBuilder::new(NOW, codec).push(Some(b"key"), Some(b"value")).push(None, Some(&[1; 200]));
    builder.build().expect("builds")
}

/// The batch with some header fields changed and the checksum made to hold again.
fn changed(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).expect("a header");
    change(&mut header);
    let mut raw = BytesMut::from(batch.as_ref());
    raw[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    header.crc = crc32c(&raw[CRC_START..]);
    raw[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    raw.freeze()
}

fn code(records: &Bytes, limits: &BatchLimits) -> ErrorCode {
    match ValidBatches::check(records.clone(), limits, NOW) {
        Ok(_) => ErrorCode::None,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.error_code()
        }
    }
}

fn stored(valid: &ValidBatches) -> Bytes {
    let mut bytes = BytesMut::from(&valid.header().to_bytes()[..]);
    bytes.extend_from_slice(valid.payload());
    bytes.freeze()
}

#[test]
fn a_good_batch_is_stored_byte_for_byte() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch(codec);
        let valid = ValidBatches::check(batch.clone(), &BatchLimits::default(), NOW).expect("valid");
        assert_eq!(stored(&valid), batch);
    }
}

#[test]
fn extent_rules() {
    let good = batch(Codec::None);
    let limits = BatchLimits::default();
    assert_eq!(code(&Bytes::new(), &limits), ErrorCode::InvalidRecord);
    assert_eq!(code(&good.slice(..good.len() - 1), &limits), ErrorCode::InvalidRecord, "no whole batch is no batch");
    assert_eq!(code(&good.slice(..30), &limits), ErrorCode::InvalidRecord);
    assert_eq!(code(&[good.clone(), good.clone()].concat().into(), &limits), ErrorCode::InvalidRecord);
    let small = BatchLimits { max_message_bytes: good.len() - 1, ..limits.clone() };
    assert_eq!(code(&good, &small), ErrorCode::MessageTooLarge);
    let mut flipped = BytesMut::from(good.as_ref());
    flipped[HEADER_LEN + 3] ^= 1;
    assert_eq!(code(&flipped.freeze(), &limits), ErrorCode::CorruptMessage);
}

#[test]
fn old_formats_are_invalid_and_unknown_ones_corrupt() {
    let mut batch = BytesMut::from(batch(Codec::None).as_ref());
    for (magic, expected) in [
        (0, ErrorCode::InvalidRecord),
        (1, ErrorCode::InvalidRecord),
        (3, ErrorCode::CorruptMessage),
        (255, ErrorCode::CorruptMessage),
    ] {
        batch[16] = magic;
        assert_eq!(code(&batch.clone().freeze(), &BatchLimits::default()), expected, "magic {magic}");
    }
}

#[test]
fn field_rules() {
    let good = batch(Codec::None);
    let limits = BatchLimits::default();
    let changed_code = |change: fn(&mut BatchHeader)| code(&changed(&good, change), &limits);
    assert_eq!(changed_code(|_| ()), ErrorCode::None);
    assert_eq!(changed_code(|h| h.records = 0), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| h.records = 3), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| (h.records, h.last_offset_delta) = (i32::MAX, i32::MAX - 1)), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| h.base_offset = 5), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| h.magic = 1), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| h.attributes = 0x20), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| h.attributes = 0x08), ErrorCode::InvalidTimestamp);
    assert_eq!(changed_code(|h| h.attributes = 0x05), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| h.attributes = 0x10), ErrorCode::InvalidRecord);
    assert_eq!(changed_code(|h| (h.producer_id, h.producer_epoch) = (1, 0)), ErrorCode::InvalidRecord);
}

#[test]
fn timestamps_are_bounded_on_both_sides() {
    let limits = BatchLimits { before_max_ms: 1000, after_max_ms: 1000, ..BatchLimits::default() };
    for codec in [Codec::None, Codec::Lz4] {
        for (timestamp, expected) in [
            (NOW - 1001, ErrorCode::InvalidTimestamp),
            (NOW - 1000, ErrorCode::None),
            (NOW + 1000, ErrorCode::None),
            (NOW + 1001, ErrorCode::InvalidTimestamp),
        ] {
            let batch = BatchBuilder::new(NOW, codec).push(None, None).push_at(timestamp, None, None).build();
            assert_eq!(code(&batch.expect("builds"), &limits), expected, "{codec:?} {timestamp}");
        }
    }
    let stamped = BatchLimits { timestamp_type: TimestampType::LogAppendTime, ..limits };
    let old = BatchBuilder::new(5, Codec::None).push(None, None).build().expect("builds");
    assert_eq!(code(&old, &stamped), ErrorCode::None, "the leader's clock replaces the producer's");
}

#[test]
fn keys_are_required_where_the_topic_says_so() {
    let limits = BatchLimits { require_key: true, ..BatchLimits::default() };
    for codec in [Codec::None, Codec::Zstd] {
        assert_eq!(code(&batch(codec), &limits), ErrorCode::InvalidRecord);
        let keyed = BatchBuilder::new(NOW, codec).push(Some(b""), None).build().expect("builds");
        assert_eq!(code(&keyed, &limits), ErrorCode::None);
    }
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let limits = BatchLimits { allow_zstd: false, ..BatchLimits::default() };
    assert_eq!(code(&batch(Codec::Zstd), &limits), ErrorCode::UnsupportedCompressionType);
}

#[test]
fn another_compression_type_keeps_the_records() {
    let original: Vec<_> = RecordIter::new(&batch(Codec::Gzip)).expect("whole").collect();
    for target in [Codec::None, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let limits = BatchLimits { compression: Some(target), ..BatchLimits::default() };
        let valid = ValidBatches::check(batch(Codec::Gzip), &limits, NOW).expect("valid");
        let stored = stored(&valid);
        let header = BatchHeader::parse(&stored).expect("a header");
        assert_eq!(header.codec(), Some(target));
        assert!(header.crc_holds(&stored) && header.size() == stored.len());
        assert_eq!(RecordIter::new(&stored).expect("whole").collect::<Vec<_>>(), original);
    }
}

#[test]
fn the_topics_level_is_used_where_the_codec_is_changed() {
    let long = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 28) as u8).collect::<Vec<_>>();
    let sent = |codec| BatchBuilder::new(NOW, codec).push(None, Some(&long)).build().expect("builds");
    let size = |codec, zstd| {
        let levels = Levels { zstd, ..Levels::default() };
        let limits = BatchLimits { compression: Some(Codec::Zstd), levels, ..BatchLimits::default() };
        ValidBatches::check(sent(codec), &limits, NOW).expect("valid").size()
    };
    assert!(size(Codec::None, 19) < size(Codec::None, -131_072));
    assert_eq!(size(Codec::Zstd, 19), size(Codec::Zstd, -131_072), "what has the codec already is left alone");
}

#[test]
fn the_leaders_time_is_stamped_under_a_checksum_that_holds() {
    let limits = BatchLimits { timestamp_type: TimestampType::LogAppendTime, ..BatchLimits::default() };
    for codec in [Codec::None, Codec::Lz4] {
        let mut valid = ValidBatches::check(batch(codec), &limits, NOW).expect("valid");
        assert!(valid.is_stamped());
        valid.stamp(NOW + 7);
        let stored = stored(&valid);
        let header = BatchHeader::parse(&stored).expect("a header");
        assert!(header.crc_holds(&stored));
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        let times: Vec<_> =
            RecordIter::new(&stored).expect("whole").map(|r| r.expect("well formed").timestamp).collect();
        assert_eq!(times, [NOW + 7, NOW + 7]);
    }
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    let lying = changed(&batch(Codec::None), |header| header.max_timestamp = NOW - 5);
    let valid = ValidBatches::check(lying, &BatchLimits::default(), NOW).expect("valid");
    let stored = stored(&valid);
    assert_eq!(valid.header().max_timestamp, NOW);
    assert!(valid.header().crc_holds(&stored));
}

proptest! {
    #[test]
    fn garbage_never_panics(mut bytes: Vec<u8>, seal in any::<bool>(), codec in 0_i16..8) {
        if let Some(length) = bytes.len().checked_sub(LENGTH_END).filter(|_| bytes.len() >= HEADER_LEN) {
            let header = BatchHeader { length: i32::try_from(length).expect("short"), ..template(codec) };
            bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
            if seal {
                let crc = crc32c(&bytes[CRC_START..]);
                bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            }
        }
        let limits = BatchLimits { before_max_ms: 1, ..BatchLimits::default() };
        let _ = ValidBatches::check(Bytes::from(bytes.clone()), &limits, NOW);
        if let Ok(iter) = RecordIter::new(&Bytes::from(bytes)) {
            prop_assert!(iter.take(100).count() <= 100);
        }
    }
}

fn template(codec: i16) -> BatchHeader {
    let good = BatchHeader::parse(&batch(Codec::None)).expect("a header");
    BatchHeader { attributes: codec, records: 50, last_offset_delta: 49, ..good }
}
