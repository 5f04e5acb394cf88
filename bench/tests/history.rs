//! Three brokers as processes under faults, as `millrace-bench history` runs them: needs the broker's program beside its own, no rights and a minute.
//!
//! `cargo build -p millrace-broker && cargo test -p millrace-bench --test history -- --ignored`

#![allow(clippy::unwrap_used, reason = "a test ends where an expectation fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace-bench")).arg("history").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The broker's program of the same build.
fn millrace() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_millrace-bench")).with_file_name("millrace");
    assert!(program.exists(), "build it first: cargo build -p millrace-broker");
    program
}

#[test]
#[ignore = "takes a minute, and the broker's program"]
fn clients_are_told_nothing_wrong_while_brokers_and_networks_fail() {
    let history = std::env::temp_dir().join(format!("millrace-history-{}.jsonl", std::process::id()));
    let (program, file) = (millrace(), history.to_str().unwrap());
    let arguments = ["run", "--network", "relays", "--faults", "kill,stop,partition,one-way", "--seconds", "15"];
    let run = bench(&[&arguments[..], &["--millrace", program.to_str().unwrap(), "--history", file]].concat());
    assert!(run.status.success(), "{}", text(&run));
    assert!(text(&run).contains("anomalies: 0"), "{}", text(&run));

    let again = bench(&["check", file]);
    assert!(again.status.success(), "{}", text(&again));

    // An acknowledgement that says another offset than consumers were told.
    let lines = std::fs::read_to_string(&history).unwrap();
    let rewritten = lines.replacen("\"offset\":5}", "\"offset\":6}", 1);
    std::fs::write(&history, rewritten).unwrap();
    let moved = bench(&["check", file]);
    std::fs::remove_file(&history).unwrap();
    assert!(!moved.status.success() && text(&moved).contains("Duplicate"), "{}", text(&moved));
}
