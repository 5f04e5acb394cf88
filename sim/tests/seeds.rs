//! Replays the committed seeds, sweeps a few others, and compares two runs of one seed.

#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

use std::path::Path;

use millrace_sim::options::{Kinds, Profile};

/// Seeds of one test run. The longer sweeps are `cargo run --profile sim -p millrace-sim`.
const SWEPT: u64 = 30;
const SWEPT_CLUSTERS: u64 = 8;

fn run(seed: u64, profile: Profile) -> millrace_sim::Report {
    millrace_sim::run(seed, profile, Kinds::All, false)
}

fn passes(seed: u64, profile: Profile) {
    let report = run(seed, profile);
    let brokers = match profile {
        Profile::Single => String::new(),
        Profile::Drawn => " --cluster".to_owned(),
        Profile::Brokers(brokers) => format!(" --cluster {brokers}"),
        Profile::Moving(brokers) => format!(" --cluster {brokers} --moves"),
    };
    assert!(
        report.violation.is_none(),
        "{:?}\nrepro: cargo run --profile sim -p millrace-sim -- --seed {seed}{brokers} --trace",
        report.violation
    );
    assert!(report.counts.acks > 0 && report.counts.reads > 0, "seed {seed} did nothing: {report:?}");
}

/// The seeds of `file`: one per line with the number of brokers before it, if there are several, and `moves` before that, if partitions
/// move; `#` begins a comment.
fn seeds(file: &Path) -> Vec<(u64, Profile)> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
    let seed = |line: &str| {
        let (moves, line) = line.strip_prefix("moves ").map_or((false, line), |rest| (true, rest));
        let numbers: Option<Vec<u64>> = line.split(' ').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some([seed]) => (*seed, Profile::Single),
            Some([0, seed]) => (*seed, Profile::Drawn),
            Some([brokers, seed]) if moves => (*seed, Profile::Moving(usize::try_from(*brokers).unwrap())),
            Some([brokers, seed]) => (*seed, Profile::Brokers(usize::try_from(*brokers).unwrap())),
            _ => panic!("{}: not a seed: {line}", file.display()),
        }
    };
    lines.map(seed).collect()
}

#[test]
fn the_committed_seeds_pass() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let all: Vec<(u64, Profile)> = files.iter().flat_map(|file| seeds(file)).collect();
    assert!(all.iter().any(|(_, profile)| *profile == Profile::Single));
    assert!(all.iter().any(|(_, profile)| *profile != Profile::Single));
    all.into_iter().for_each(|(seed, profile)| passes(seed, profile));
}

#[test]
fn the_first_seeds_pass() {
    (0..SWEPT).for_each(|seed| passes(seed, Profile::Single));
}

#[test]
fn the_first_clusters_pass() {
    (0..SWEPT_CLUSTERS).for_each(|seed| passes(seed, Profile::Brokers(5)));
    (0..SWEPT_CLUSTERS).for_each(|seed| passes(seed, Profile::Drawn));
    (0..SWEPT_CLUSTERS).for_each(|seed| passes(seed, Profile::Moving(5)));
}

#[test]
fn one_seed_is_one_run() {
    for profile in [Profile::Single, Profile::Drawn, Profile::Brokers(5), Profile::Moving(5)] {
        for seed in [3, 4] {
            assert_eq!(run(seed, profile), run(seed, profile));
        }
        assert_ne!(run(3, profile).trace, run(4, profile).trace);
    }
}
