//! The dependency lists of the crates are pinned: who may know whom, and what a core may use at all.

use std::collections::BTreeMap;

use super::{Project, Violation};

/// What one crate may depend on.
struct Rule {
    folder: &'static str,
    /// Crates of the workspace it may use, by folder.
    uses: &'static [&'static str],
    /// Other crates it may use; `None` leaves the choice to the crate.
    others: Option<&'static [&'static str]>,
}

const RULES: &[Rule] = &[
    Rule { folder: "types", uses: &[], others: Some(&["serde", "uuid"]) },
    Rule { folder: "raft", uses: &["types"], others: Some(&["bytes", "thiserror", "proptest"]) },
    Rule {
        folder: "metadata",
        uses: &["types"],
        others: Some(&["bolero", "serde", "serde_json", "sha2", "thiserror", "uuid", "proptest"]),
    },
    Rule { folder: "coordinator", uses: &["types"], others: Some(&["bytes", "thiserror", "uuid", "proptest"]) },
    Rule {
        folder: "storage",
        uses: &["types"],
        others: Some(&[
            "arc-swap",
            "bolero",
            "bytes",
            "crc-fast",
            "crossbeam-channel",
            "flate2",
            "libc",
            "lz4_flex",
            "memmap2",
            "parking_lot",
            "proptest",
            "rustix",
            "serde",
            "serde_json",
            "smallvec",
            "snap",
            "tempfile",
            "thiserror",
            "tracing",
            "uuid",
            "zstd",
        ]),
    },
    Rule {
        folder: "node",
        uses: &["types", "raft", "metadata", "coordinator", "storage"],
        others: Some(&[
            "arc-swap",
            "bolero",
            "bytes",
            "crc-fast",
            "kafka-protocol",
            "parking_lot",
            "proptest",
            "smallvec",
            "thiserror",
            "tracing",
            "uuid",
        ]),
    },
    Rule {
        folder: "broker",
        uses: &["types", "raft", "metadata", "coordinator", "storage", "node", "client"],
        others: None,
    },
    Rule { folder: "client", uses: &["types"], others: None },
    Rule { folder: "bench", uses: &["types", "client"], others: None },
    Rule {
        folder: "sim",
        uses: &["types", "raft", "metadata", "coordinator", "storage", "node", "client"],
        others: None,
    },
    Rule { folder: "xtask", uses: &[], others: None },
];

const TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Reports dependencies that a rule does not list, and crates without a rule.
pub(crate) fn check(project: &Project) -> Vec<Violation> {
    let manifests: BTreeMap<&str, &str> = project
        .texts
        .iter()
        .filter_map(|(path, text)| Some((path.strip_suffix("/Cargo.toml")?, text.as_str())))
        .collect();
    let mut found = Vec::new();
    for (folder, text) in manifests {
        let faults = match RULES.iter().find(|rule| rule.folder == folder) {
            Some(rule) => faults(rule, text),
            None => vec!["has no rule in xtask/src/tidy/dependencies.rs".to_owned()],
        };
        found.extend(faults.into_iter().map(|message| Violation {
            check: "dependencies",
            subject: format!("{folder}/Cargo.toml"),
            line: 0,
            measure: None,
            message,
        }));
    }
    found
}

fn faults(rule: &Rule, manifest: &str) -> Vec<String> {
    let manifest: toml::Table = match manifest.parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("cannot be read: {error}")],
    };
    let names = dependencies(&manifest);
    names.into_iter().filter(|name| !allowed(rule, name)).map(|name| format!("may not depend on `{name}`")).collect()
}

/// Names in the dependency tables, those under `[target]` included.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let by_target = targets.into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table);
    let mut names = Vec::new();
    for table in std::iter::once(manifest).chain(by_target) {
        for key in TABLES {
            let entries = table.get(*key).and_then(toml::Value::as_table);
            names.extend(entries.into_iter().flat_map(toml::Table::keys).cloned());
        }
    }
    names
}

fn allowed(rule: &Rule, name: &str) -> bool {
    match name.strip_prefix("millrace-") {
        // A crate that names itself among its dev-dependencies switches on a feature for its tests.
        Some(folder) => rule.folder == folder || rule.uses.contains(&folder),
        None => rule.others.is_none_or(|others| others.contains(&name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(folder: &str, manifest: &str) -> Vec<String> {
        RULES.iter().filter(|rule| rule.folder == folder).flat_map(|rule| faults(rule, manifest)).collect()
    }

    #[test]
    fn cores_do_not_know_each_other() {
        assert_eq!(faults_of("metadata", "[dependencies]\nmillrace-types.workspace = true\nserde = \"1\"\n").len(), 0);
        assert_eq!(faults_of("metadata", "[dependencies]\nmillrace-storage.workspace = true\n").len(), 1);
        assert_eq!(faults_of("storage", "[dev-dependencies]\nmillrace-coordinator.workspace = true\n").len(), 1);
    }

    #[test]
    fn a_core_takes_no_runtime_by_any_table() {
        for table in ["dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
            let manifest = format!("[{table}]\ntokio = \"1\"\n");
            assert_eq!(faults_of("node", &manifest), ["may not depend on `tokio`"], "{table}");
        }
    }

    #[test]
    fn the_client_does_not_know_the_broker() {
        assert_eq!(faults_of("client", "[dependencies]\nmillrace-node.workspace = true\ntokio = \"1\"\n").len(), 1);
        assert_eq!(faults_of("bench", "[dependencies]\nmillrace-broker.workspace = true\n").len(), 1);
    }
}
