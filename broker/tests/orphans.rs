//! What a deletion left behind goes at the next start, and nothing else does.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Broker;
use millrace_storage::{Disk, JournalOptions, NewBoot, QRecord, QState, RealDisk, partition_dir};
use millrace_types::{TopicId, TopicPartition};
use tempfile::tempdir;
use uuid::Uuid;

fn orphan(number: u128, root: &Path) -> (TopicPartition, PathBuf) {
    let partition = TopicPartition::new(TopicId(Uuid::from_u128(number)), 0);
    let dir = root.join(partition_dir(partition));
    fs::create_dir_all(&dir).expect("made");
    fs::write(dir.join("00000000000000000000.log"), [0; 4096]).expect("written");
    (partition, dir)
}

/// Opens the write-ahead store of a broker that has stopped.
fn store(root: &Path) -> QState {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(root).expect("opens"));
    let known = QState::inspect(&*disk, Path::new("qstate")).expect("reads").boots;
    let directory = known.last().expect("a start").directory;
    let boot = NewBoot { directory, boot_id: "test".to_owned(), nonce: 1 };
    QState::open(&disk, Path::new("qstate"), JournalOptions::default(), boot).expect("opens")
}

#[test]
fn directories_and_memories_of_deleted_topics_go() {
    let root = tempdir().expect("a directory");
    let broker = Broker::start(root.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("kept", 1, &[]), 0);
    client.await_leaders("kept");
    client.produce("kept", 0, &["a", "b"]).expect("acknowledged");
    drop(client);
    assert!(broker.stop().success());

    let (_, forgotten) = orphan(1, root.path());
    let (remembered, in_store) = orphan(2, root.path());
    let other = root.path().join("topics/lost+found");
    fs::create_dir_all(&other).expect("made");
    let mut qstate = store(root.path());
    let kept: Vec<TopicPartition> = qstate.partitions().map(|(partition, _)| partition).collect();
    qstate.put(&[QRecord::Epoch { tp: remembered, epoch: 1, start: 0 }]).expect("put");
    qstate.put(&[QRecord::Flushed { tp: remembered, upto: 7 }]).expect("put");
    qstate.flush().expect("flushed");
    drop(qstate);

    let broker = Broker::start(root.path(), &[]);
    let mut client = broker.connect();
    client.await_leaders("kept");
    assert_eq!(client.fetch_all("kept", 0).len(), 2);
    drop(client);
    assert!(broker.stop().success());
    assert!(!forgotten.exists() && !in_store.exists(), "left behind");
    assert!(other.exists(), "what is not a partition's is left alone");
    assert!(kept.iter().all(|partition| root.path().join(partition_dir(*partition)).exists()));
    let qstate = store(root.path());
    assert!(qstate.partition(remembered).is_none());
    assert_eq!(qstate.partitions().map(|(partition, _)| partition).collect::<Vec<_>>(), kept);
}

#[test]
fn nothing_goes_when_the_metadata_cannot_be_replayed() {
    let root = tempdir().expect("a directory");
    assert!(Broker::start(root.path(), &[]).stop().success());
    let (_, dir) = orphan(1, root.path());
    let journals = fs::read_dir(root.path().join("metadata")).expect("listed");
    for journal in journals.map(|entry| entry.expect("an entry").path()) {
        let mut bytes = fs::read(&journal).expect("read");
        bytes[20] ^= 1;
        fs::write(&journal, bytes).expect("written");
    }
    let mut child = common::command(root.path(), &[]).spawn().expect("the binary runs");
    assert!(!common::wait(&mut child).success(), "damaged metadata are refused");
    assert!(dir.join("00000000000000000000.log").exists());
}
