//! Scripted clusters: each file of `raft/tests/golden/` is a story of commands, with what the cluster did.
//!
//! A block is a command, a line `----`, and what happened, with the milliseconds since the start;
//! `MILLRACE_BLESS=1 cargo test -p millrace-raft --test cluster golden` writes the outcomes anew, for review.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::script::Stage;

/// Runs the commands of a script and returns it with the outcomes that came.
pub(crate) fn run(script: &str) -> String {
    let mut stage = Stage::new();
    let mut out = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
            continue;
        }
        let outcome = stage.run(line);
        writeln!(out, "{line}").unwrap();
        if lines.peek().is_some_and(|line| *line == "----") {
            lines.next();
            while lines.peek().is_some_and(|line| !line.is_empty()) {
                lines.next();
            }
        }
        if !outcome.is_empty() {
            // The commands of a block follow each other; the block ends with what they led to.
            write!(out, "----\n{outcome}").unwrap();
            if lines.peek().is_some_and(|line| !line.is_empty()) {
                writeln!(out).unwrap();
            }
        }
    }
    out
}

pub(crate) fn scripts() -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn every_script_runs_as_written() {
    let scripts = scripts();
    assert!(!scripts.is_empty(), "the scripts are there");
    let mut changed = Vec::new();
    for (path, written) in scripts {
        let ran = run(&written);
        assert_eq!(ran, run(&written), "{}: a script runs the same way each time", path.display());
        assert!(!ran.contains("VIOLATED"), "{}:\n{ran}", path.display());
        if ran != written {
            if std::env::var_os("MILLRACE_BLESS").is_some() {
                std::fs::write(&path, &ran).unwrap();
            } else {
                let at = ran.lines().zip(written.lines()).position(|(ran, written)| ran != written);
                changed.push(format!("{} differs from line {:?}:\n{ran}", path.display(), at.map(|at| at + 1)));
            }
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}
