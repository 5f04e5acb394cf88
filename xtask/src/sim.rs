//! Sweeps of the simulator over clusters.

use std::path::Path;

use crate::cargo;

/// Runs so many seeds from the first one on.
pub(crate) fn run(root: &Path, (from, seeds): (u64, u64), brokers: usize, threads: usize) -> Result<(), String> {
    let [from, seeds, threads] = [from, seeds, threads as u64].map(|number| number.to_string());
    let cluster = format!("--cluster={brokers}");
    let what = ["run", "--profile", "sim", "--locked", "--quiet", "-p", "millrace-sim", "--"];
    let how = [&cluster, "--from", &from, "--seeds", &seeds, "--threads", &threads];
    cargo::run(root, &[&what[..], &how[..]].concat(), &[])
}
