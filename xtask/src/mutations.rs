//! Every rule that can be broken on purpose, and what notices it: the finders of all crates, in one run and one table.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::cargo;

/// Where the rules of a crate are listed.
const RULES: &[(&str, &str)] = &[
    ("raft", "raft/src/mutation.rs"),
    ("sessions", "node/src/peer/mutation.rs"),
    ("replica", "node/src/replica/mutation.rs"),
    ("metadata", "metadata/src/log/mutation.rs"),
    ("placement", "metadata/src/mutation.rs"),
    ("storage", "storage/src/mutation.rs"),
];

/// The tests that find them: a package, its target, and further arguments.
const FINDERS: &[(&str, &[&str], &[&str])] = &[
    ("millrace-raft", &["--test", "cluster"], &["mutations::", "--include-ignored", "--skip", "tell"]),
    ("millrace-metadata", &["--test", "cluster"], &["mutations::", "--include-ignored"]),
    ("millrace-metadata", &["--lib"], &["noticed"]),
    ("millrace-storage", &["--features", "mutations", "--test", "crash"], &["is_caught"]),
    ("millrace-storage", &["--features", "mutations", "--lib"], &["is_noticed"]),
    ("millrace-node", &["--lib"], &["noticed"]),
    ("millrace-node", &["--lib"], &["is_caught"]),
    ("millrace-node", &["--lib"], &["a_deletion_is_answered_when"]),
];

/// What a finder prints in front of a rule that it has noticed.
const NOTICED: &str = "noticed ";

/// Runs all finders and prints a row for each rule.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let begin = Instant::now();
    let mut noticed: BTreeMap<String, String> = BTreeMap::new();
    for (package, target, filter) in FINDERS {
        let what = ["test", "--profile", "sim", "--locked", "--quiet", "-p", package];
        let how = [&what[..], target, &["--"], filter, &["--nocapture"]].concat();
        let finding = Instant::now();
        let printed = String::from_utf8_lossy(&cargo::output(root, &how)?).into_owned();
        eprintln!("{:>5.0} s  cargo {}", finding.elapsed().as_secs_f64(), how.join(" "));
        for (rule, by) in printed.lines().filter_map(row) {
            noticed.entry(rule.to_owned()).or_insert_with(|| format!("{package}: {by}"));
        }
    }
    let mut missed = Vec::new();
    let mut rules = 0_usize;
    for (part, file) in RULES {
        for rule in listed(root, file)? {
            rules += 1;
            match noticed.get(&rule) {
                Some(by) => println!("{part:<9} {rule:<28} {by}"),
                None => missed.push(format!("{part} {rule}")),
            }
        }
    }
    println!("{rules} rules, {} s", begin.elapsed().as_secs());
    if missed.is_empty() { Ok(()) } else { Err(format!("nothing notices: {}", missed.join(", "))) }
}

/// The rule and what has noticed it, in a line that a finder has printed. The test runner may have begun the line.
fn row(line: &str) -> Option<(&str, &str)> {
    let (_, found) = line.split_once(NOTICED)?;
    let (rule, by) = found.split_once(": ")?;
    rule.chars().all(char::is_alphanumeric).then_some((rule, by))
}

/// The rules in the list of a file: the variants of its `Mutation`.
fn listed(root: &Path, file: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))?;
    let (_, rest) = text.split_once("pub enum Mutation {").ok_or_else(|| format!("{file} lists no rules"))?;
    let (variants, _) = rest.split_once("\n}").ok_or_else(|| format!("{file}: the list has no end"))?;
    let variant = |line: &str| line.trim().strip_suffix(',').filter(|name| !name.contains(' ')).map(str::to_owned);
    Ok(variants.lines().filter(|line| !line.trim().starts_with("//")).filter_map(variant).collect())
}
