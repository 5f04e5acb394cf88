//! Kafka's rules for sequences and epochs, the window, the bound, expiry, and the snapshot's format.

use millrace_types::ErrorCode;
use proptest::prelude::*;

use super::snapshot::SnapshotError;
use super::*;

/// A batch of one or more records of producer 7.
fn batch(epoch: i16, sequence: i32, records: i32, offset: Offset) -> BatchHeader {
    BatchHeader {
        base_offset: offset,
        length: 100,
        leader_epoch: 1,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: offset,
        max_timestamp: offset,
        producer_id: 7,
        producer_epoch: epoch,
        base_sequence: sequence,
        records,
    }
}

fn state(batches: &[BatchHeader]) -> ProducerState {
    let mut state = ProducerState::default();
    for header in batches {
        assert_eq!(state.check(header).expect("due"), Sequence::Due);
        state.update(header, &[], 100);
    }
    state
}

fn code(state: &ProducerState, header: &BatchHeader) -> ErrorCode {
    state.check(header).expect_err("refused").error_code()
}

#[test]
fn an_unknown_producer_may_begin_with_any_sequence() {
    assert_eq!(ProducerState::default().check(&batch(0, 55, 1, 0)).expect("accepted"), Sequence::Due);
}

#[test]
fn a_repeated_batch_answers_with_its_old_offsets() {
    let state = state(&[batch(0, 0, 3, 10), batch(0, 3, 2, 20)]);
    let duplicate = Sequence::Duplicate { base_offset: 10, last_offset: 12, timestamp: 10 };
    assert_eq!(state.check(&batch(0, 0, 3, 99)).expect("known"), duplicate);
    assert_eq!(code(&state, &batch(0, 0, 2, 99)), ErrorCode::OutOfOrderSequenceNumber, "another extent is no repeat");
}

#[test]
fn five_batches_are_remembered() {
    let batches: Vec<_> = (0..6).map(|at| batch(0, at, 1, i64::from(at))).collect();
    let state = state(&batches);
    assert!(matches!(state.check(&batches[1]), Ok(Sequence::Duplicate { base_offset: 1, .. })));
    assert_eq!(code(&state, &batches[0]), ErrorCode::OutOfOrderSequenceNumber, "the sixth last is forgotten");
}

#[test]
fn a_gap_is_out_of_order() {
    let state = state(&[batch(0, 0, 3, 0)]);
    assert_eq!(code(&state, &batch(0, 4, 1, 3)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(state.check(&batch(0, 3, 1, 3)).expect("due"), Sequence::Due);
}

#[test]
fn sequences_wrap_to_zero() {
    let state = state(&[batch(0, i32::MAX - 1, 2, 0)]);
    assert_eq!(state.check(&batch(0, 0, 1, 2)).expect("due"), Sequence::Due);
    let wrapped = batch(0, i32::MAX, 3, 2);
    assert_eq!(wrapped.last_sequence(), 1);
}

#[test]
fn epochs_begin_at_sequence_zero_and_never_fall() {
    let mut state = state(&[batch(3, 0, 1, 0)]);
    assert_eq!(code(&state, &batch(4, 1, 1, 1)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(state.check(&batch(4, 0, 1, 1)).expect("due"), Sequence::Due);
    assert_eq!(code(&state, &batch(2, 0, 1, 1)), ErrorCode::InvalidProducerEpoch);
    state.update(&batch(4, 0, 1, 1), &[], 100);
    assert_eq!(code(&state, &batch(3, 0, 1, 2)), ErrorCode::InvalidProducerEpoch, "no duplicate of a fenced epoch");
}

#[test]
fn an_open_transaction_bounds_what_is_decided() {
    let mut open = batch(0, 0, 1, 5);
    open.attributes = 0x10;
    let mut state = state(&[open]);
    assert_eq!(state.first_undecided(), Some(5));
    assert_eq!(code(&state, &batch(0, 1, 1, 6)), ErrorCode::InvalidTxnState);
    state.expire(i64::MAX, 1);
    assert_eq!(state.len(), 1, "an open transaction does not expire");
    let mut marker = batch(0, -1, 1, 6);
    marker.attributes = 0x30;
    // Length 16, attributes, deltas, key of 4 bytes (version, commit), value of 6 bytes (version, coordinator epoch 9).
    let payload = [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 9, 0];
    state.update(&marker, &payload, 100);
    assert_eq!(state.first_undecided(), None);
    assert_eq!(state.summaries().next().expect("one").coordinator_epoch, 9);
}

#[test]
fn the_longest_idle_producer_goes_first() {
    let mut state = ProducerState::default();
    for (offset, id) in [(0, 1), (1, 2), (2, 3), (3, 1), (4, 4)] {
        state.update(&BatchHeader { producer_id: id, ..batch(0, 0, 1, offset) }, &[], 3);
    }
    let ids: Vec<_> = state.summaries().map(|summary| summary.producer_id).collect();
    assert_eq!(ids, [1, 3, 4], "producer 2 was idle for longest");
}

#[test]
fn idle_producers_expire() {
    let mut state = state(&[batch(0, 0, 1, 1000)]);
    assert_eq!(state.next_expiry(50), Some(1050));
    state.expire(1049, 50);
    assert_eq!(state.len(), 1);
    state.expire(1050, 50);
    assert!(state.is_empty());
}

#[test]
fn a_snapshot_is_read_back_and_damage_is_noticed() {
    let state = state(&[batch(0, 0, 3, 10), batch(0, 3, 2, 20)]);
    let bytes = encode_snapshot(22, &state);
    assert_eq!(decode_snapshot(22, &bytes), Ok(state));
    assert_eq!(decode_snapshot(23, &bytes), Err(SnapshotError::Offset(22)));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(decode_snapshot(22, &bad).is_err(), "byte {at}");
        assert!(decode_snapshot(22, &bytes[..at]).is_err(), "cut to {at}");
    }
    let mut later = bytes;
    later[5] = 2;
    assert_eq!(decode_snapshot(22, &later), Err(SnapshotError::Version(2)));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
        let _ = decode_snapshot(0, &bytes);
    }

    #[test]
    fn a_snapshot_and_a_replay_of_the_rest_is_the_whole(lens in prop::collection::vec(1_i32..4, 1..20), cut in 0_usize..20) {
        let (mut offset, mut sequence, mut batches) = (0, 0, Vec::new());
        for len in lens {
            batches.push(batch(0, sequence, len, offset));
            (offset, sequence) = (offset + i64::from(len), sequence + len);
        }
        let cut = cut.min(batches.len());
        let front = state(&batches[..cut]);
        let at = batches.get(cut).map_or(offset, |next| next.base_offset);
        let mut resumed = decode_snapshot(at, &encode_snapshot(at, &front)).expect("reads");
        for header in &batches[cut..] {
            resumed.update(header, &[], 100);
        }
        prop_assert_eq!(resumed, state(&batches));
    }
}
