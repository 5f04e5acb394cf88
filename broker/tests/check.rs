//! `millrace check` says what is wrong with a data directory, and changes nothing.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::Broker;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// A directory with a topic of three segments or more, left by a broker that stopped cleanly.
fn stopped() -> (TempDir, PathBuf) {
    let root = tempdir().expect("a directory");
    let broker = Broker::start(root.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[("segment.bytes", "1048576")]), 0);
    client.await_leaders("t");
    let value = "x".repeat(400_000);
    for _ in 0..8 {
        client.produce("t", 0, &[&value]).expect("acknowledged");
    }
    drop(client);
    assert!(broker.stop().success());
    let topics = fs::read_dir(root.path().join("topics")).expect("listed");
    let dirs: Vec<PathBuf> = topics.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(dirs.len(), 1);
    (root, dirs.into_iter().next().expect("one"))
}

/// The files of the partition that end like this, in the order of their offsets.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn snapshot(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                all.insert(path.clone(), fs::read(&path).expect("read"));
            }
        }
    }
    all
}

fn run(root: &Path, flags: &[&str]) -> Output {
    common::program().arg("check").args(flags).arg(root).output().expect("the binary runs")
}

/// The exit code and what was found; the text says the same, and nothing was changed.
fn check(root: &Path) -> (i32, Vec<Value>) {
    let before = snapshot(root);
    let output = run(root, &["--json"]);
    let text = run(root, &[]);
    assert_eq!(snapshot(root), before, "the check changed something");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings").clone();
    let text_of = String::from_utf8_lossy(&text.stdout);
    for finding in &findings {
        assert!(text_of.contains(finding["what"].as_str().expect("text")), "{text_of}");
        assert!(text_of.contains(finding["next_start"].as_str().expect("text")), "{text_of}");
    }
    assert_eq!(output.status.code(), text.status.code());
    (output.status.code().expect("an exit code"), findings)
}

fn flip(file: &Path, position: u64) {
    let handle = fs::File::options().read(true).write(true).open(file).expect("opens");
    let mut byte = [0];
    handle.read_exact_at(&mut byte, position).expect("read");
    handle.write_all_at(&[byte[0] ^ 1], position).expect("written");
}

fn is_about(finding: &Value, file: &Path) -> bool {
    file.ends_with(finding["file"].as_str().expect("a file"))
}

#[test]
fn a_directory_in_order_is_clean() {
    let (root, _) = stopped();
    assert_eq!(check(root.path()), (0, Vec::new()));
}

#[test]
fn a_torn_tail_would_be_cut() {
    let (root, dir) = stopped();
    let last = files(&dir, "log").pop().expect("a segment");
    let end = end_of_batches(&fs::read(&last).expect("read"));
    let handle = fs::File::options().write(true).open(&last).expect("opens");
    handle.write_all_at(&[9; 10], end).expect("written");
    let (code, findings) = check(root.path());
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert!(is_about(&findings[0], &last) && findings[0]["severity"] == "recovery");
    assert_eq!((&findings[0]["position"], &findings[0]["offset"]), (&Value::from(end), &Value::from(8)));
    assert!(findings[0]["next_start"].as_str().expect("text").starts_with("cuts 10 bytes"), "{findings:?}");
}

/// Where the zeros behind the last batch begin.
fn end_of_batches(bytes: &[u8]) -> u64 {
    let mut end = 0;
    while let Some(length) = bytes.get(end + 8..end + 12) {
        match u32::from_be_bytes(length.try_into().expect("four bytes")) {
            0 => break,
            length => end += 12 + length as usize,
        }
    }
    end as u64
}

#[test]
fn a_flipped_bit_in_what_was_flushed_is_damage() {
    let (root, dir) = stopped();
    let first = files(&dir, "log").into_iter().next().expect("a segment");
    flip(&first, 1000);
    let (code, findings) = check(root.path());
    assert_eq!((code, findings.len()), (2, 1), "{findings:?}");
    assert!(is_about(&findings[0], &first) && findings[0]["severity"] == "damage");
    assert_eq!((&findings[0]["position"], &findings[0]["offset"]), (&Value::from(0), &Value::from(0)));
}

#[test]
fn a_missing_sidecar_is_written_again() {
    let (root, dir) = stopped();
    let index = files(&dir, "index").into_iter().next().expect("an index");
    fs::remove_file(&index).expect("removed");
    let (code, findings) = check(root.path());
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert!(is_about(&findings[0], &index) && findings[0]["severity"] == "recovery");
}

#[test]
fn a_missing_partition_is_damage_and_an_orphan_is_not() {
    let (root, dir) = stopped();
    let orphan = root.path().join("topics/00000000-0000-0000-0000-000000000001-0");
    fs::rename(&dir, &orphan).expect("renamed");
    let (code, findings) = check(root.path());
    assert_eq!(code, 2);
    assert!(findings.iter().any(|finding| finding["severity"] == "damage" && finding["offset"] == 0), "{findings:?}");
    let about = findings.iter().find(|finding| is_about(finding, &orphan)).expect("the orphan");
    assert_eq!(about["severity"], "recovery");
}

#[test]
fn an_unknown_version_and_damaged_journals_are_named() {
    let (root, _) = stopped();
    let file = root.path().join("directory.json");
    let json = fs::read_to_string(&file).expect("read");
    fs::write(&file, json.replace("\"format_version\": 1", "\"format_version\": 99")).expect("written");
    let (code, findings) = check(root.path());
    assert!(code == 2 && findings[0]["what"].as_str().expect("text").contains("version 99"), "{findings:?}");
    fs::write(&file, json).expect("written");
    for journal in ["qstate", "metadata"] {
        let file = files(&root.path().join(journal), "journal").pop().expect("a journal");
        flip(&file, 20);
        let (code, findings) = check(root.path());
        assert!(code == 2 && findings.iter().any(|finding| is_about(finding, &file)), "{findings:?}");
        flip(&file, 20);
    }
    assert_eq!(check(root.path()).0, 0);
}

#[test]
fn after_a_kill_the_next_start_recovers() {
    let root = tempdir().expect("a directory");
    let broker = Broker::start(root.path(), &[]);
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    client.await_leaders("t");
    client.produce("t", 0, &["a"]).expect("acknowledged");
    let used = run(root.path(), &[]);
    assert_eq!(used.status.code(), Some(3), "a directory in use is refused");
    assert!(String::from_utf8_lossy(&used.stderr).contains("in use by another process"));
    broker.kill();
    let (code, findings) = check(root.path());
    assert_eq!(code, 1, "{findings:?}");
    assert_eq!(run(&root.path().join("topics"), &[]).status.code(), Some(3), "not a data directory");
    drop(Broker::start(root.path(), &[]));
}
