//! Replays the committed seeds, sweeps a few others, and compares two runs of one seed.

#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

use std::path::Path;

use millrace_sim::options::Profile;

/// Seeds of one test run. The longer sweeps are `cargo run --release -p millrace-sim`.
const SWEPT: u64 = 30;

fn run(seed: u64, print: bool) -> millrace_sim::Report {
    millrace_sim::run(seed, Profile::Single, print)
}

fn passes(seed: u64) {
    let report = run(seed, false);
    assert!(
        report.violation.is_none(),
        "{:?}\nrepro: cargo run --release -p millrace-sim -- --seed {seed} --trace",
        report.violation
    );
    assert!(report.acks > 0 && report.reads > 0, "seed {seed} did nothing: {report:?}");
}

/// The seeds of `file`: one per line, `#` begins a comment.
fn seeds(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap();
    let numbers = text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
    numbers.map(|line| line.parse().unwrap_or_else(|_| panic!("{}: not a seed: {line}", file.display()))).collect()
}

#[test]
fn the_committed_seeds_pass() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let all: Vec<u64> = files.iter().flat_map(|file| seeds(file)).collect();
    assert!(!all.is_empty());
    all.into_iter().for_each(passes);
}

#[test]
fn the_first_seeds_pass() {
    (0..SWEPT).for_each(passes);
}

#[test]
fn one_seed_is_one_run() {
    for seed in [3, 4, 5] {
        assert_eq!(run(seed, false), run(seed, false));
    }
    assert_ne!(run(3, false).trace, run(4, false).trace);
}
