//! Crash tests of the log: seeds of random work on a simulated disk, with the power lost or the process killed at any
//! point, recovery included; and the proof that each rule of durability, broken on purpose, is noticed.

mod batches;
mod model;
mod store;
mod world;

use millrace_storage::mutation::{Mutation, with_broken};

use world::{Break, run_seed};

/// Runs seeds until one fails; the failure with its seed.
fn first_failure(seeds: std::ops::Range<u64>, broken: Break) -> Option<String> {
    seeds.into_iter().find_map(|seed| run_seed(seed, broken).err().map(|why| format!("seed {seed}: {why}")))
}

#[test]
fn no_seed_loses_or_alters_what_was_flushed() {
    let count = std::env::var("MILLRACE_CRASH_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    assert_eq!(first_failure(0..count, Break::default()), None);
}

/// The seeds must notice `mutation` within a bound.
fn is_caught(mutation: Mutation) {
    let failure = with_broken(Some(mutation), || first_failure(0..6000, Break::default()));
    let Some(failure) = failure else { panic!("no seed notices {mutation:?}") };
    println!("noticed {mutation:?}: {}", failure.lines().next().unwrap_or_default());
}

#[test]
fn a_cut_that_is_not_durable_is_caught() {
    is_caught(Mutation::NoDurableCut);
}

#[test]
fn a_cut_without_zeroing_is_caught() {
    is_caught(Mutation::CutWithoutZeroing);
}

#[test]
fn a_scan_that_counts_as_flush_is_caught() {
    is_caught(Mutation::NoFdatasyncAfterScan);
}

#[test]
fn a_dropped_epoch_without_a_record_is_caught() {
    is_caught(Mutation::NoTruncRecord);
}

#[test]
fn a_falling_epoch_is_caught() {
    is_caught(Mutation::AcceptDecreasingEpoch);
}

#[test]
fn a_checksum_that_is_not_compared_is_caught() {
    is_caught(Mutation::SkipChecksum);
}

#[test]
fn an_offset_that_is_not_compared_is_caught() {
    is_caught(Mutation::SkipOffsetCheck);
}

#[test]
fn a_failed_flush_that_is_tried_again_is_caught() {
    is_caught(Mutation::RetryFailedFlush);
}

#[test]
fn a_start_that_trusts_the_page_cache_after_a_failed_flush_is_caught() {
    is_caught(Mutation::TrustSuspect);
}

#[test]
fn a_segment_without_a_durable_name_is_caught() {
    is_caught(Mutation::NoDirectorySync);
}

#[test]
fn a_producer_snapshot_above_a_cut_is_caught() {
    is_caught(Mutation::KeepSnapshotsAboveCut);
}

#[test]
fn a_store_that_ignores_truncations_is_caught() {
    let broken = Break { ignore_truncations: true };
    assert!(first_failure(0..6000, broken).is_some(), "no seed notices that Trunc records are ignored");
}
