//! The clean marker says that everything was flushed: a stop that cannot know it leaves none.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::Broker;
use tempfile::tempdir;

#[test]
fn a_log_that_could_not_be_opened_leaves_no_clean_marker() {
    let root = tempdir().expect("a directory");
    let broker = Broker::start(root.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[("flush.messages", "1000")]), 0);
    client.await_leaders("t");
    client.produce("t", 0, &["acknowledged from the page cache"]).expect("acknowledged");
    drop(client);
    assert!(broker.stop().success());
    let marker = root.path().join("clean");
    assert!(marker.exists(), "everything was flushed");

    let partition = fs::read_dir(root.path().join("topics")).expect("listed").next().expect("one").expect("an entry");
    let log = partition.path().join(format!("{:020}.log", 0));
    let aside = root.path().join("aside");
    fs::rename(&log, &aside).expect("moved");
    symlink(&log, &log).expect("a link to itself, which nobody can open");
    let broker = Broker::start(root.path(), &[]);
    assert!(broker.stop().success());
    assert!(!marker.exists(), "nobody knows what that log holds");

    fs::rename(&aside, &log).expect("moved back");
    let broker = Broker::start(root.path(), &[]);
    assert!(broker.stop().success());
    assert!(marker.exists());
}
