//! Licences, banned crates and sources of all dependencies, as `deny.toml` orders.
//!
//! `cargo deny` does it where it is installed. Building that tool takes minutes, so that without it the same rules are read here
//! and held against `cargo metadata`: allowed licences with exceptions, banned crates, allowed sources. What is left out then
//! are `cargo deny`'s advisories and its search of licence texts.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::{cargo, spdx};

#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    #[serde(default)]
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    registries: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Checks all dependencies of the project in `root`.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    if cargo::output(root, &["deny", "--version"]).is_ok() {
        return cargo::run(root, &["deny", "check", "licenses", "bans", "sources"], &[]);
    }
    let text = fs::read_to_string(root.join("deny.toml")).map_err(|error| format!("cannot read deny.toml: {error}"))?;
    let rules: Rules = toml::from_str(&text).map_err(|error| format!("deny.toml: {error}"))?;
    let packages = packages(root)?;
    let faults: Vec<String> = packages.iter().flat_map(|package| faults(&rules, package)).collect();
    for fault in &faults {
        println!("{fault}");
    }
    println!(
        "cargo-deny is not installed: {} packages checked by xtask for licences, bans and sources, without advisories",
        packages.len()
    );
    if faults.is_empty() { Ok(()) } else { Err(format!("{} faults", faults.len())) }
}

fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let output = cargo::output(root, &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Metadata = serde_json::from_slice(&output).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(metadata.packages)
}

fn faults(rules: &Rules, package: &Package) -> Vec<String> {
    let named = format!("{} {}", package.name, package.version);
    let mut faults = Vec::new();
    let exceptions = rules.licenses.exceptions.iter().filter(|exception| exception.name == package.name);
    let exceptions: Vec<&String> = exceptions.flat_map(|exception| &exception.allow).collect();
    let allowed = |id: &str| rules.licenses.allow.iter().chain(exceptions.iter().copied()).any(|entry| entry == id);
    match package.license.as_deref().map(|expression| (expression, spdx::satisfied(expression, &allowed))) {
        Some((_, Ok(true))) => {}
        Some((expression, Ok(false))) => faults.push(format!("{named}: the licence `{expression}` is not allowed")),
        Some((_, Err(error))) => faults.push(format!("{named}: {error}")),
        None => faults.push(format!("{named}: names no licence")),
    }
    if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.name == package.name) {
        faults.push(format!("{named}: is banned: {}", ban.reason));
    }
    let source = package.source.as_deref().map(|source| source.trim_start_matches("registry+"));
    if let Some(source) = source.filter(|source| !rules.sources.registries.iter().any(|entry| entry == source)) {
        faults.push(format!("{named}: comes from `{source}`, which is not allowed"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT"]
        exceptions = [{ crate = "special", allow = ["MPL-2.0"] }]
        [bans]
        deny = [{ crate = "openssl", reason = "rustls is used" }]
        [sources]
        allow-registry = ["https://registry/index"]
    "#;

    fn faults_of(name: &str, licence: Option<&str>, source: Option<&str>) -> usize {
        let rules: Rules = toml::from_str(RULES).unwrap();
        let package = Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
        };
        faults(&rules, &package).len()
    }

    #[test]
    fn licences_are_allowed_or_excepted_by_crate() {
        assert_eq!(faults_of("a", Some("MIT OR GPL-3.0"), None), 0);
        assert_eq!(faults_of("a", Some("MPL-2.0"), None), 1);
        assert_eq!(faults_of("special", Some("MPL-2.0"), None), 0);
        assert_eq!(faults_of("a", None, None), 1);
    }

    #[test]
    fn banned_crates_and_foreign_sources_are_faults() {
        assert_eq!(faults_of("openssl", Some("MIT"), None), 1);
        assert_eq!(faults_of("a", Some("MIT"), Some("registry+https://registry/index")), 0);
        assert_eq!(faults_of("a", Some("MIT"), Some("git+https://elsewhere/a")), 1);
    }

    #[test]
    fn the_rules_of_the_project_can_be_read() {
        let text = fs::read_to_string(crate::root().join("deny.toml")).unwrap();
        toml::from_str::<Rules>(&text).unwrap();
    }
}
