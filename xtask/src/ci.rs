//! The one gate: every check in the order of its cost, the first fault ends it.

use std::path::Path;
use std::time::Instant;

use crate::{cargo, docs, licences, tidy};

/// Crates whose dependency tree must hold no runtime, actor or socket, and what is looked for in it.
const PURE_CRATES: &[&str] =
    &["millrace-types", "millrace-raft", "millrace-metadata", "millrace-coordinator", "millrace-node"];
const IMPURE_DEPENDENCIES: &[&str] = &["actix", "actix-rt", "actix-web", "tokio", "mio", "socket2", "rand"];

/// Runs the gate in `root`. With `skip_tests` the caller runs `cargo test --workspace` itself.
pub(crate) fn run(root: &Path, skip_tests: bool) -> Result<(), String> {
    step("rustfmt", || cargo::run(root, &["fmt", "--all", "--", "--check"], &[]))?;
    step("tidy", || tidy::run(root))?;
    step("clippy", || {
        cargo::run(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])
    })?;
    step("purity of the cores", || purity(root))?;
    if !skip_tests {
        step("tests", || cargo::run(root, &["test", "--workspace", "--locked"], &[]))?;
    }
    step("documentation of the crates", || {
        cargo::run(root, &["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])
    })?;
    step("licences, bans and sources", || licences::run(root))?;
    step("generated documents", || docs::run(root, true))
}

/// Formats the sources and writes the generated documents.
pub(crate) fn fix(root: &Path) -> Result<(), String> {
    cargo::run(root, &["fmt", "--all"], &[])?;
    docs::run(root, false)
}

fn step(name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("==> {name}");
    let start = Instant::now();
    let result = work().map_err(|message| format!("{name}: {message}"));
    println!("<== {name}: {} in {:.1} s", if result.is_ok() { "ok" } else { "FAILED" }, start.elapsed().as_secs_f64());
    result
}

/// Checks that no core reaches a runtime, an actor or a socket, also not through another crate.
fn purity(root: &Path) -> Result<(), String> {
    for package in PURE_CRATES {
        let tree = cargo::output(root, &["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none"])?;
        if let Some(found) = impure(&String::from_utf8_lossy(&tree)) {
            return Err(format!("{package} depends on {found}; see `cargo tree -p {package} -e normal -i {found}`"));
        }
    }
    Ok(())
}

/// The first line of `cargo tree --prefix none` that names a crate no core may reach.
fn impure(tree: &str) -> Option<&'static str> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .find_map(|name| IMPURE_DEPENDENCIES.iter().copied().find(|banned| *banned == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_runtime_anywhere_in_the_tree() {
        assert_eq!(impure("millrace-node v0.1.0 (/x)\nbytes v1.12.2\nserde v1.0.0"), None);
        assert_eq!(impure("millrace-node v0.1.0 (/x)\nbytes v1.12.2\ntokio v1.54.1"), Some("tokio"));
    }

    #[test]
    fn a_name_that_only_begins_like_a_banned_one_passes() {
        assert_eq!(impure("rand_core v0.9.0\ntokio-like v1.0.0"), None);
    }
}
