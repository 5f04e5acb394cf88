//! What a start finds in the journal, and when it is written anew.

use super::*;

#[test]
fn a_restart_finds_the_same_state() {
    let mut host = Host::started();
    host.create("a", 3);
    host.write();
    host.send(Command::CreatePartitions(CreatePartitions {
        topics: vec![NewPartitions { name: "a".to_owned(), count: 5, assignments: None }],
        validate_only: false,
    }));
    host.write();
    let mut again = Host::open(host.journal.clone(), 2);
    assert_eq!(again.store.image().hash(), host.image().hash());
    assert_eq!(format!("{:?}", again.store.image()), format!("{:?}", host.image()));
    again.step(MetadataEvent::Start);
    assert!(again.replicas.is_empty(), "the registration of this start is not durable");
    again.write();
    assert_eq!(again.replicas, host.replicas);
    assert_eq!(again.image().broker(BrokerId(1)).unwrap().incarnation, 2);
}

#[test]
fn a_start_that_changes_nothing_writes_nothing() {
    let host = Host::started();
    let mut again = Host::open(host.journal.clone(), 1);
    again.step(MetadataEvent::Start);
    assert!(again.pending.is_empty());
    assert_eq!(again.image().epoch(), 1);
}

#[test]
fn a_restart_on_a_full_disk_serves_and_registers_later() {
    let mut host = Host::started();
    host.create("a", 2);
    host.write();
    let mut again = Host::open(host.journal.clone(), 2);
    again.step(MetadataEvent::Start);
    let early = again.create("b", 1);
    again.fail_write(full());
    assert_eq!(again.replicas.len(), 2, "reading needs no registration");
    assert!(again.answer(early).is_none() && again.pending.is_empty(), "changes wait for the registration");
    again.now.instant = again.timer;
    again.step(MetadataEvent::Timer);
    again.write();
    assert_eq!(again.image().broker(BrokerId(1)).unwrap().incarnation, 2);
    again.write();
    again.lead();
    assert!(is_ok(again.answer(early)));
    assert_eq!(again.replicas.len(), 3, "the replicas of the start are created once");
}

#[test]
fn a_first_start_on_a_full_disk_tries_again() {
    let mut host = Host::open(Vec::new(), 1);
    host.step(MetadataEvent::Start);
    host.fail_write(full());
    assert!(host.published.is_empty(), "there is no cluster to serve");
    host.now.instant = host.timer;
    host.step(MetadataEvent::Timer);
    host.write();
    assert_eq!(host.image().cluster_id(), "cluster");
}

#[test]
fn a_start_with_a_broken_journal_serves_what_is_there() {
    let mut host = Host::started();
    host.create("a", 2);
    host.write();
    let mut again = Host::open(host.journal.clone(), 2);
    again.step(MetadataEvent::Start);
    again.fail_write(broken());
    assert_eq!(again.replicas.len(), 2);
    let token = again.create("b", 1);
    assert!(failed_with(again.answer(token), ErrorCode::KafkaStorageError));
    assert_eq!(again.timer, Instant::NEVER, "what is poisoned is not tried again");
}

#[test]
fn a_snapshot_replaces_the_journal_now_and_then() {
    let mut host = Host::started();
    let mut longest = 0;
    for number in 0..SNAPSHOT_ENTRIES * 2 {
        host.create(&format!("t{number}"), 1);
        host.write();
        longest = longest.max(host.journal.len());
    }
    assert!(longest <= SNAPSHOT_ENTRIES + 2, "{longest}");
    let again = Host::open(host.journal.clone(), 2);
    assert_eq!(again.store.image().hash(), host.image().hash());
    assert_eq!(again.store.image().topic_count(), SNAPSHOT_ENTRIES * 2);
}

#[test]
fn ten_thousand_partitions_are_one_entry() {
    let mut host = Host::started();
    let epoch = host.image().epoch();
    let token = host.create("wide", 10_000);
    assert_eq!(host.pending[0].1.len(), 1);
    assert!(host.pending[0].1[0].len() < 256 * 1024);
    host.write();
    assert_eq!(host.replicas.len(), 10_000);
    host.lead();
    assert!(is_ok(host.answer(token)));
    assert_eq!(host.image().epoch(), epoch + 1);
}

#[test]
fn the_same_seed_gives_the_same_journal() {
    let run = || {
        let mut host = Host::started();
        for name in ["a", "b.c", "d"] {
            host.create(name, 2);
            host.write();
        }
        host.journal
    };
    assert_eq!(run(), run());
}

#[test]
fn a_damaged_journal_is_refused() {
    let host = Host::started();
    let mut journal = host.journal;
    journal.push(Bytes::from_static(b"{}"));
    assert!(MetadataStore::new(options(1, 1), &journal).is_err());
}
