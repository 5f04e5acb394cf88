//! Scripted groups: each file of `tests/data` is a story of requests and the passing of time, with what the shard did.
//!
//! A block is a command, a line `----`, and the outcome as printed; `UPDATE_SCRIPTS=1 cargo test -p millrace-coordinator`
//! writes the outcomes anew, for review. Member ids are printed and written as `name#n`, numbered as they come.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod command;
mod names;
mod print;
mod stage;

use std::fmt::Write as _;
use std::path::Path;

use stage::Stage;

/// Runs the commands of a script and returns it with the outcomes that came.
fn run(script: &str) -> String {
    let mut stage = Stage::new();
    let mut out = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with("//") {
            writeln!(out, "{line}").unwrap();
            continue;
        }
        writeln!(out, "{line}\n----").unwrap();
        out.push_str(&stage.run(line));
        // The outcome written in the script ends with an empty line.
        while lines.peek().is_some_and(|line| !line.is_empty()) {
            lines.next();
        }
    }
    out
}

#[test]
fn every_script_runs_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut scripts: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "the scripts are there");
    let mut changed = Vec::new();
    for path in scripts {
        let written = std::fs::read_to_string(&path).unwrap();
        let ran = run(&written);
        assert_eq!(ran, run(&written), "{}: a script runs the same way each time", path.display());
        if ran != written {
            if std::env::var_os("UPDATE_SCRIPTS").is_some() {
                std::fs::write(&path, &ran).unwrap();
            } else {
                let at = ran.lines().zip(written.lines()).position(|(ran, written)| ran != written);
                changed.push(format!("{} differs from line {:?}:\n{ran}", path.display(), at.map(|at| at + 1)));
            }
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}
