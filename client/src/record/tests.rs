//! Batches are read back as they were built, and no bytes make the decoder panic or take unbounded memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::record::{BatchBuilder, Codec, ProducerStamp, RecordFields};

/// Timestamp, key and value.
type Parts<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>);

fn batch(codec: Codec, records: &[Parts<'_>]) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(100);
    for (timestamp, key, value) in records {
        let headers = [Header { key: Arc::from("h"), value: None }];
        builder.append(*timestamp, &RecordFields { key: *key, value: *value, headers: &headers });
    }
    let mut sealed = builder.seal(codec).expect("seal");
    sealed.stamp(ProducerStamp { id: 7, epoch: 1, sequence: 40 })
}

#[test]
fn a_batch_follows_the_definition_byte_for_byte() {
    // Expected bytes follow the format's definition field by field (Kafka documentation, 5.3 Record Batch).
    let mut builder = BatchBuilder::with_capacity(0);
    builder.append(1, &RecordFields { key: Some(b"k"), value: Some(b"v"), headers: &[] });
    let bytes = builder.seal(Codec::None).expect("seal").stamp(ProducerStamp::NONE);
    let expected_tail: &[u8] = &[16, 0, 0, 0, 2, b'k', 2, b'v', 0];
    assert_eq!(&bytes[HEADER_BYTES..], expected_tail);
    assert_eq!(&bytes[8..12], 58i32.to_be_bytes(), "length after the length field");
    assert_eq!(&bytes[12..17], [0xff, 0xff, 0xff, 0xff, 2], "leader epoch -1, magic 2");
    assert_eq!(bytes[43..53], [0xff; 10], "no producer id, no epoch");
}

#[test]
fn records_come_back_with_every_codec() {
    let big = vec![b'x'; 100_000];
    let records: [Parts<'_>; 3] =
        [(1_000, Some(b"key"), Some(&big)), (900, None, None), (2_000, Some(b""), Some(b"v"))];
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let two: Bytes = [batch(codec, &records), batch(codec, &records[1..])].concat().into();
        let read: Vec<Batch> = Batches::new(two).collect::<Result<_, _>>().expect("batches");
        assert_eq!(read.len(), 2);
        let header = &read[0].header;
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 1, 40));
        assert_eq!((header.base_timestamp, header.max_timestamp, header.count), (1_000, 2_000, 3));
        read[0].verify().expect("checksum");
        let back: Vec<Record> = read[0].records(1 << 20).expect("records").collect::<Result<_, _>>().expect("record");
        for (offset, (record, (timestamp, key, value))) in back.iter().zip(records).enumerate() {
            assert_eq!((record.offset, record.timestamp), (offset as i64, timestamp));
            assert_eq!((record.key.as_deref(), record.value.as_deref()), (key, value), "{codec:?}");
            assert_eq!(record.headers, [Header { key: Arc::from("h"), value: None }]);
        }
    }
}

#[test]
fn a_value_is_a_slice_of_the_buffer() {
    let bytes = batch(Codec::None, &[(0, None, Some(b"value"))]);
    let range = bytes.as_ptr_range();
    let read = Batches::new(bytes.clone()).next().expect("one").expect("whole");
    let record = read.records(100).expect("records").next().expect("one").expect("whole");
    assert!(range.contains(&record.value.expect("value").as_ptr()), "no copy was made");
}

#[test]
fn a_changed_byte_is_seen_and_a_cut_batch_left_out() {
    let bytes = batch(Codec::None, &[(0, None, Some(b"value"))]);
    let mut changed = BytesMut::from(&bytes[..]);
    let last = changed.len() - 2;
    changed[last] ^= 1;
    let read = Batches::new(changed.freeze()).next().expect("one").expect("whole");
    assert!(matches!(read.verify(), Err(RecordError::Checksum { .. })));
    let mut cut = Batches::new(bytes.slice(..bytes.len() - 1));
    assert!(cut.next().is_none());
    assert_eq!(cut.remaining(), bytes.len() - 1);
}

#[test]
fn a_new_stamp_changes_the_header_and_keeps_the_records() {
    let mut builder = BatchBuilder::with_capacity(100);
    builder.append(5, &RecordFields { key: None, value: Some(b"v"), headers: &[] });
    let mut sealed = builder.seal(Codec::None).expect("seal");
    let first = sealed.stamp(ProducerStamp { id: 1, epoch: 0, sequence: 10 });
    let again = sealed.stamp(ProducerStamp { id: 1, epoch: 0, sequence: 10 });
    assert_eq!(first.as_ptr(), again.as_ptr(), "the same stamp shares its bytes");
    let bumped = sealed.stamp(ProducerStamp { id: 1, epoch: 1, sequence: 0 });
    let read = Batches::new(bumped.clone()).next().expect("one").expect("whole");
    read.verify().expect("checksum");
    assert_eq!((read.header.producer_epoch, read.header.base_sequence), (1, 0));
    assert_eq!(first[HEADER_BYTES..], bumped[HEADER_BYTES..]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), header in any::<bool>()) {
        if header && bytes.len() > 61 {
            let rest = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&rest.to_be_bytes());
            bytes[16] = 2;
        }
        for batch in Batches::new(Bytes::from(bytes)).flatten() {
            let _ = (batch.verify(), batch.marker());
            if let Ok(records) = batch.records(1 << 16) {
                prop_assert!(records.count() <= 400, "each record takes bytes");
            }
        }
    }

    #[test]
    fn flipped_bits_in_a_real_batch_do_not_panic(at in 0usize..200, bit in 0u8..8, codec in 0i16..5) {
        let codec = Codec::from_number(codec).expect("codec");
        let bytes = batch(codec, &[(0, Some(b"key"), Some(&[7; 90])), (1, None, Some(b"v"))]);
        let mut changed = BytesMut::from(&bytes[..]);
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        for batch in Batches::new(changed.freeze()).flatten() {
            if let Ok(records) = batch.records(1 << 16) {
                let _ = records.count();
            }
        }
    }
}
