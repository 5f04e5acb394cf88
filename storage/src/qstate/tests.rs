//! Encoding, meaning and durability of the write-ahead store's records.

use std::path::Path;
use std::sync::Arc;

use millrace_types::{BrokerId, DirectoryId, LeaderEpoch, Offset, TopicId, TopicPartition};
use proptest::prelude::*;
use uuid::Uuid;

use super::state::State;
use super::*;
use crate::disk::{CrashKind, Disk, Fault, FaultPlan, Operation, SimDisk};
use crate::journal::{JournalError, JournalOptions};

const DIR: &str = "qstate";

fn tp(number: u128) -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(number / 4)), (number % 4) as i32)
}

fn directory(number: u128) -> DirectoryId {
    DirectoryId(Uuid::from_u128(number))
}

fn boot(nonce: u64) -> NewBoot {
    NewBoot { directory: directory(1), boot_id: format!("boot {}", nonce / 10), nonce }
}

fn options() -> JournalOptions {
    JournalOptions { room: 8 << 10, reserve: 4 << 10, ..JournalOptions::default() }
}

fn open(disk: &SimDisk, nonce: u64) -> Result<QState, QStateError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    QState::open(&disk, Path::new(DIR), options(), boot(nonce))
}

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, FaultPlan::default())
}

fn voter() -> impl Strategy<Value = Voter> {
    let role = prop_oneof![Just(VoterRole::Data), Just(VoterRole::Witness), Just(VoterRole::Learner)];
    (any::<i32>(), any::<u128>(), role).prop_map(|(broker, dir, role)| Voter {
        broker: BrokerId(broker),
        directory: directory(dir),
        role,
    })
}

fn record() -> impl Strategy<Value = QRecord> {
    let tps = (0..8_u128).prop_map(tp);
    (tps, 0..12_i32, 0..40_i64).prop_flat_map(|(tp, epoch, offset)| {
        let voted = prop::option::of((any::<i32>(), any::<u128>()));
        let voters = (any::<u32>(), any::<u32>(), prop::collection::vec(voter(), 0..5));
        prop_oneof![
            1 => voted.prop_map(move |vote| QRecord::Term {
                tp,
                term: epoch,
                voted_for: vote.map(|(broker, dir)| (BrokerId(broker), directory(dir))),
            }),
            3 => Just(QRecord::Epoch { tp, epoch, start: offset }),
            2 => Just(QRecord::Trunc { tp, to: offset, epoch }),
            1 => voters.prop_map(move |(generation, version, voters)| QRecord::Cfg {
                tp,
                cfg: Configuration { generation, epoch, version, voters },
            }),
            1 => any::<bool>().prop_map(move |volatile| QRecord::Volatile { tp, volatile }),
            2 => Just(QRecord::Flushed { tp, upto: offset }),
            1 => Just(QRecord::Start { tp, offset }),
            1 => Just(QRecord::Suspect { tp }),
            1 => any::<bool>().prop_map(move |recovering| QRecord::Recovering { tp, recovering }),
            2 => Just(QRecord::Cutting { tp, to: offset, epoch }),
            1 => Just(QRecord::WitnessEnd { tp, end: offset }),
            1 => Just(QRecord::Forget { tp }),
            1 => (any::<i32>(), any::<u128>(), any::<u64>(), any::<u64>()).prop_map(|(broker, dir, incarnation, nonce)| {
                QRecord::Seen(SeenStart { broker: BrokerId(broker), directory: directory(dir), incarnation, nonce })
            }),
            1 => (any::<i32>(), any::<u64>(), any::<u64>()).prop_map(|(broker, incarnation, nonce)| {
                QRecord::Told(ToldStart { broker: BrokerId(broker), incarnation, nonce })
            }),
        ]
    })
}

fn state_of(records: &[QRecord]) -> State {
    let mut state = State::default();
    records.iter().for_each(|record| state.apply(record));
    state
}

fn encoded(records: &[QRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| codec::encode(record, &mut bytes).unwrap());
    bytes
}

/// The state of one partition after `records`.
fn partition(records: &[QRecord]) -> PartitionState {
    state_of(records).partitions[&tp(0)].clone()
}

fn epoch(epoch: LeaderEpoch, start: Offset) -> QRecord {
    QRecord::Epoch { tp: tp(0), epoch, start }
}

fn trunc(to: Offset, epoch: LeaderEpoch) -> QRecord {
    QRecord::Trunc { tp: tp(0), to, epoch }
}

fn flushed(upto: Offset) -> QRecord {
    QRecord::Flushed { tp: tp(0), upto }
}

#[test]
fn a_record_has_exactly_these_bytes() {
    let tp = TopicPartition::new(TopicId(Uuid::from_bytes([0xAB; 16])), 3);
    let bytes = encoded(&[QRecord::Flushed { tp, upto: 0x0102_0304 }]);
    let expected = [&[6, 1, 28, 0][..], &[0xAB; 16], &[3, 0, 0, 0], &[4, 3, 2, 1, 0, 0, 0, 0]].concat();
    assert_eq!(bytes, expected);
    let bytes = encoded(&[QRecord::Boot(BootRecord {
        directory: DirectoryId(Uuid::from_bytes([7; 16])),
        incarnation: 5,
        boot_id: "ab".into(),
        nonce: 9,
    })]);
    let expected =
        [&[9, 1, 35, 0][..], &[7; 16], &[5, 0, 0, 0, 0, 0, 0, 0], &[9, 0, 0, 0, 0, 0, 0, 0], b"\x02ab"].concat();
    assert_eq!(bytes, expected);
}

#[test]
fn unknown_records_are_refused_by_name_unless_they_are_optional() {
    assert_eq!(codec::decode_all(&[77, 1, 0, 0]), Err(DecodeError::UnknownKind(77)));
    assert_eq!(codec::decode_all(&[0, 1, 0, 0]), Err(DecodeError::UnknownKind(0)));
    let error = codec::decode_all(&[3, 2, 0, 0]).unwrap_err();
    assert_eq!(error.to_string(), "Trunc record of the unknown version 2; it was written by a later version");
    let mut bytes = vec![200, 9, 2, 0, 1, 1];
    bytes.extend(encoded(&[epoch(1, 0)]));
    assert_eq!(codec::decode_all(&bytes), Ok(vec![epoch(1, 0)]));
    assert_eq!(codec::decode_all(&[200, 9, 2, 0, 1]), Err(DecodeError::Truncated));
    assert_eq!(
        codec::decode_all(&[8, 1, 21, 0].into_iter().chain([0; 21]).collect::<Vec<_>>()),
        Err(DecodeError::Malformed("Forget"))
    );
}

#[test]
fn a_store_with_a_record_of_the_future_does_not_open() {
    let disk = disk(1);
    let mut store = open(&disk, 1).unwrap();
    store.journal.append(&[&[77, 1, 0, 0]]).unwrap();
    let error = open(&disk, 2).unwrap_err();
    assert!(
        error.to_string().ends_with("record 1: record of the unknown kind 77; it was written by a later version"),
        "{error}"
    );
}

#[test]
fn a_cut_voids_the_epochs_behind_it() {
    let before = [epoch(1, 0), epoch(2, 5), epoch(3, 5), epoch(4, 20)];
    let cut = |to, last| partition(&[&before[..], &[trunc(to, last)]].concat()).epochs;
    assert_eq!(cut(10, 3), [(1, 0), (2, 5), (3, 5)]);
    assert_eq!(cut(10, 2), [(1, 0), (2, 5)], "a zero-width epoch that was dropped stays dropped");
    assert_eq!(cut(4, 1), [(1, 0)]);
    assert_eq!(cut(30, 4), [(1, 0), (2, 5), (3, 5), (4, 20)]);
}

#[test]
fn an_epoch_after_a_cut_stands() {
    let state = partition(&[epoch(1, 0), epoch(2, 5), trunc(3, 1), epoch(5, 3)]);
    assert_eq!((state.epochs, state.trunc), (vec![(1, 0), (5, 3)], Some((3, 1))));
}

#[test]
fn a_cut_lowers_what_was_flushed_and_is_over_when_more_was() {
    let state = partition(&[flushed(20), trunc(10, 1)]);
    assert_eq!((state.flushed, state.trunc), (Some(10), Some((10, 1))));
    let state = partition(&[flushed(20), trunc(10, 1), flushed(10)]);
    assert_eq!((state.flushed, state.trunc), (Some(10), Some((10, 1))));
    let state = partition(&[flushed(20), trunc(10, 1), flushed(11), flushed(4)]);
    assert_eq!((state.flushed, state.trunc), (Some(11), None));
}

#[test]
fn a_cut_that_was_begun_is_known_until_it_is_done() {
    let cutting = |to, epoch| QRecord::Cutting { tp: tp(0), to, epoch };
    let begun = [epoch(1, 0), epoch(2, 5), flushed(20), cutting(5, 1)];
    let state = partition(&begun);
    assert_eq!((state.epochs, state.flushed), (vec![(1, 0)], Some(5)), "what is cut is void already");
    assert_eq!((state.cutting, state.trunc), (Some((5, 1)), None));
    let done = partition(&[&begun[..], &[trunc(5, 1)]].concat());
    assert_eq!((done.cutting, done.trunc), (None, Some((5, 1))));
    let again = partition(&[&begun[..], &[trunc(5, 1), cutting(3, 1)]].concat());
    assert_eq!(again.cutting, Some((3, 1)));
}

#[test]
fn a_reset_leaves_the_epoch_below_the_new_start() {
    let start = QRecord::Start { tp: tp(0), offset: 30 };
    let reset = [QRecord::Cutting { tp: tp(0), to: 30, epoch: 0 }, start, epoch(4, 22)];
    let state = partition(&[&[epoch(1, 0), epoch(2, 5), flushed(20)], &reset[..]].concat());
    assert_eq!((state.epochs, state.start, state.cutting), (vec![(4, 22)], Some(30), Some((30, 0))));
    let state = partition(&[&[epoch(1, 0)], &reset[..], &[trunc(30, 4)]].concat());
    assert_eq!((state.epochs, state.cutting), (vec![(4, 22)], None));
}

#[test]
fn that_a_replica_recovers_lasts_until_it_is_over() {
    let recovering = |recovering| QRecord::Recovering { tp: tp(0), recovering };
    let boot = |boot_id: &str| {
        let (directory, boot_id) = (directory(1), boot_id.to_owned());
        QRecord::Boot(BootRecord { directory, incarnation: 1, boot_id, nonce: 1 })
    };
    let lost = [boot("a"), epoch(1, 0), boot("b")];
    assert!(partition(&[&lost[..], &[boot("b")]].concat()).missed_loss, "nobody has opened the log since");
    let state = partition(&[&lost[..], &[recovering(true), boot("b")]].concat());
    assert_eq!((state.recovering, state.missed_loss), (true, false), "the record says it from now on");
    let state = partition(&[&lost[..], &[recovering(true), boot("c"), recovering(false)]].concat());
    assert!(!state.recovering);
}

#[test]
fn the_newest_epoch_below_the_start_is_kept() {
    let epochs = |offset| {
        partition(&[epoch(1, 0), epoch(2, 5), epoch(3, 5), epoch(4, 20), QRecord::Start { tp: tp(0), offset }]).epochs
    };
    assert_eq!(epochs(0), [(1, 0), (2, 5), (3, 5), (4, 20)]);
    assert_eq!(epochs(5), [(1, 0), (2, 5), (3, 5), (4, 20)]);
    assert_eq!(epochs(6), [(3, 5), (4, 20)]);
    assert_eq!(epochs(100), [(4, 20)]);
}

#[test]
fn a_suspect_log_stays_so_until_it_is_cut_or_the_page_cache_is_gone() {
    let suspect = QRecord::Suspect { tp: tp(0) };
    let boot = |boot_id: &str| {
        let (directory, boot_id) = (directory(1), boot_id.to_owned());
        QRecord::Boot(BootRecord { directory, incarnation: 1, boot_id, nonce: 1 })
    };
    let is_suspect = |later: &[QRecord]| partition(&[&[boot("a"), suspect.clone()], later].concat()).suspect;
    assert!(is_suspect(&[flushed(9), boot("a")]), "a later flush proves nothing");
    assert!(!is_suspect(&[trunc(9, 1)]));
    assert!(!is_suspect(&[boot("b")]));
    let flushed_upto = |records: &[QRecord]| partition(records).flushed;
    assert_eq!(flushed_upto(&[flushed(5), suspect.clone(), flushed(9)]), Some(5));
    assert_eq!(flushed_upto(&[flushed(5), suspect, trunc(5, 1), flushed(9)]), Some(9));
}

#[test]
fn a_lost_page_cache_is_remembered_until_the_log_has_been_opened() {
    let boot = |boot_id: &str| {
        let (directory, boot_id) = (directory(1), boot_id.to_owned());
        QRecord::Boot(BootRecord { directory, incarnation: 1, boot_id, nonce: 1 })
    };
    let missed = |boots: &[QRecord]| {
        let mut state = State::default();
        [&[boot("a"), epoch(1, 0)], boots].concat().iter().for_each(|record| state.apply(record));
        // What a snapshot keeps is enough for the start that reads it.
        let mut read = State::default();
        state.records().for_each(|record| read.apply(&record));
        let last = boot(&read.boots.last().unwrap().boot_id.clone());
        let next = [state.clone(), read].map(|mut state| {
            state.apply(&last);
            state.partitions[&tp(0)].missed_loss
        });
        assert_eq!(next[0], next[1]);
        state.partitions[&tp(0)].missed_loss
    };
    assert!(!missed(&[boot("a")]) && !missed(&[boot("b")]), "the start itself sees that");
    assert!(missed(&[boot("b"), boot("b")]) && missed(&[boot("b"), boot("c")]));
    assert!(!missed(&[boot("b"), epoch(2, 0), boot("b")]));
}

#[test]
fn votes_and_configurations_never_go_back() {
    let vote = |term, broker| QRecord::Term { tp: tp(0), term, voted_for: Some((BrokerId(broker), directory(1))) };
    let state = partition(&[vote(3, 1), vote(2, 2)]);
    assert_eq!((state.term, state.voted_for), (3, Some((BrokerId(1), directory(1)))));
    let cfg = |epoch, version| Configuration { generation: 0, epoch, version, voters: Vec::new() };
    let put = |cfg| QRecord::Cfg { tp: tp(0), cfg };
    assert_eq!(partition(&[put(cfg(2, 1)), put(cfg(1, 9))]).cfg, Some(cfg(2, 1)));
}

#[test]
fn each_start_counts_and_remembers_its_predecessors() {
    let disk = disk(1);
    for nonce in 1..=40_u64 {
        let store = open(&disk, nonce).unwrap();
        let boot = store.boot();
        assert_eq!((boot.current.incarnation, boot.current.nonce), (nonce, nonce));
        let earlier: Vec<_> = boot.earlier.iter().map(|boot| boot.nonce).collect();
        assert_eq!(earlier, (nonce.saturating_sub(31).max(1)..nonce).collect::<Vec<_>>());
        assert_eq!(boot.same_boot(), nonce > 1 && nonce % 10 != 0);
    }
}

/// Starts again and again with power losses; how often it got through, `None` if an incarnation was used twice.
fn starts_with_power_losses() -> Option<u64> {
    let mut disk = disk(7);
    let (mut used, mut starts) = (0, 0);
    for nonce in 1..200 {
        disk.set_power_off_after(Some(nonce % 40));
        if let Ok(store) = open(&disk, nonce) {
            let incarnation = store.boot().current.incarnation;
            if incarnation <= used {
                return None;
            }
            (used, starts) = (incarnation, starts + 1);
        }
        disk = disk.crash(CrashKind::Power);
    }
    Some(starts)
}

#[test]
fn an_incarnation_is_durable_before_it_is_used() {
    let starts = starts_with_power_losses();
    assert!(starts.is_some_and(|starts| starts > 50), "{starts:?}");
}

#[cfg(feature = "mutations")]
#[test]
fn breaking_a_rule_of_the_store_is_noticed() {
    use crate::mutation::{Mutation, with_broken};
    assert_eq!(with_broken(Some(Mutation::IncarnationNotFlushed), starts_with_power_losses), None);
    let records = [epoch(1, 0), epoch(2, 5), trunc(3, 1)];
    assert_eq!(partition(&records).epochs, [(1, 0)]);
    assert_ne!(with_broken(Some(Mutation::TruncVoidsNothing), || partition(&records).epochs), [(1, 0)]);
    for mutation in [Mutation::IncarnationNotFlushed, Mutation::TruncVoidsNothing] {
        println!("noticed {mutation:?}: breaking_a_rule_of_the_store_is_noticed");
    }
}

#[test]
fn inspecting_shows_the_store_and_records_no_start() {
    let disk = disk(1);
    let mut store = open(&disk, 1).unwrap();
    store.put(&[flushed(5)]).unwrap();
    for _ in 0..2 {
        let contents = QState::inspect(&disk, Path::new(DIR)).unwrap();
        assert_eq!(contents.boots.len(), 1);
        assert_eq!(contents.partitions[&tp(0)].flushed, Some(5));
    }
}

/// Any bytes in place of a record: an error or records, never a panic.
#[test]
fn fuzz_records() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        if let Ok(records) = codec::decode_all(bytes) {
            assert!(encoded(&records).len() <= bytes.len());
        }
    });
}

#[test]
fn a_store_of_another_directory_or_a_lost_one_is_refused() {
    let disk = disk(1);
    drop(open(&disk, 1).unwrap());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let other = NewBoot { directory: directory(2), ..boot(2) };
    let error = QState::open(&shared, Path::new(DIR), options(), other).unwrap_err();
    assert!(matches!(error, QStateError::WrongDirectory { .. }), "{error}");
    disk.remove_dir_all(Path::new(DIR)).unwrap();
    let options = JournalOptions { create: false, ..options() };
    let error = QState::open(&shared, Path::new(DIR), options, boot(2)).unwrap_err();
    assert!(matches!(error, QStateError::Journal(JournalError::Missing { .. })), "{error}");
}

#[test]
fn a_snapshot_bounds_the_journal_and_keeps_the_state() {
    let disk = disk(1);
    let mut store = open(&disk, 1).unwrap();
    for upto in 0..5000 {
        store.put(&[flushed(upto), QRecord::Flushed { tp: tp(5), upto }]).unwrap();
        store.flush().unwrap();
        assert!(store.journal.tail_len() < 20 << 10);
    }
    let store = open(&disk.crash(CrashKind::Power), 2).unwrap();
    assert!(store.report().generation > 10);
    assert_eq!(store.partition(tp(0)).unwrap().flushed, Some(4999));
    assert_eq!(store.partitions().map(|(tp, _)| tp).collect::<Vec<_>>(), [tp(0), tp(5)]);
    assert_eq!(store.partition(tp(1)), None);
}

#[test]
fn a_snapshot_that_cannot_be_written_does_no_harm() {
    let disk = disk(1);
    let mut store = open(&disk, 1).unwrap();
    disk.inject(Fault::new(Operation::Flush, 1).on("spare"));
    for upto in 0..1000 {
        store.put(&[flushed(upto)]).unwrap();
        store.flush().unwrap();
    }
    let store = open(&disk.crash(CrashKind::Power), 2).unwrap();
    assert_eq!(store.partition(tp(0)).unwrap().flushed, Some(999));
}

#[test]
fn a_record_without_an_encoding_is_refused() {
    let mut store = open(&disk(1), 1).unwrap();
    let voter = Voter { broker: BrokerId(1), directory: directory(1), role: VoterRole::Data };
    let cfg = Configuration { voters: vec![voter; 256], ..Configuration::default() };
    store.put(&[QRecord::Cfg { tp: tp(0), cfg }]).unwrap_err();
    assert_eq!(store.partition(tp(0)), None);
    store.put(&[flushed(1)]).unwrap();
}

/// Puts, with a flush after some of them; what comes back is a prefix of the puts that holds all flushed ones.
fn survives(seed: u64, puts: &[(Vec<QRecord>, bool)], power_off_after: u64) -> Result<(), TestCaseError> {
    let disk = disk(seed);
    drop(open(&disk, 1).map_err(|error| TestCaseError::fail(error.to_string()))?);
    disk.set_power_off_after(Some(power_off_after));
    let (mut done, mut durable) = (0, 0);
    if let Ok(mut store) = open(&disk, 2) {
        for (records, flush) in puts {
            done += 1;
            if store.put(records).is_err() || (*flush && store.flush().is_err()) {
                break;
            }
            durable = if *flush { done } else { durable };
        }
    }
    let store = open(&disk.crash(CrashKind::Power), 3).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let possible = (durable..=done).any(|count| {
        let records: Vec<_> = puts[..count].iter().flat_map(|(records, _)| records.clone()).collect();
        state_of(&records).partitions == store.state.partitions
    });
    prop_assert!(possible, "{durable} of {done} puts were durable, found {:?}", store.state.partitions);
    Ok(())
}

proptest! {
    #[test]
    fn records_come_back_from_their_encoding(records in prop::collection::vec(record(), 0..20)) {
        prop_assert_eq!(codec::decode_all(&encoded(&records)), Ok(records));
    }

    #[test]
    fn arbitrary_bytes_are_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(records) = codec::decode_all(&bytes) {
            prop_assert!(encoded(&records).len() <= bytes.len());
        }
    }

    #[test]
    fn a_changed_byte_is_never_a_panic(
        records in prop::collection::vec(record(), 1..5), at in any::<usize>(), byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&records);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = codec::decode_all(&bytes);
    }

    #[test]
    fn the_records_of_a_state_give_the_state(records in prop::collection::vec(record(), 0..80)) {
        let state = state_of(&records);
        let again = state_of(&state.records().collect::<Vec<_>>());
        prop_assert_eq!(&state, &again);
        for partition in state.partitions.values() {
            prop_assert!(partition.epochs.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        }
    }

    #[test]
    fn puts_survive_whole_and_in_order(
        seed in any::<u64>(), power_off_after in 0..120_u64,
        puts in prop::collection::vec((prop::collection::vec(record(), 1..6), any::<bool>()), 1..40),
    ) {
        survives(seed, &puts, power_off_after)?;
    }
}
