//! Each core has a `clippy.toml` that bans clocks, threads, files and sockets, and repeats the root's settings.
//!
//! A crate's own configuration replaces the root's instead of adding to it, so a setting of the root that a core's file
//! lacks would silently not hold there.

use std::collections::BTreeSet;

use super::{Project, Violation};

const ROOT: &str = "clippy.toml";
/// Crates with a configuration of their own.
const CORES: &[&str] = &["types", "raft", "metadata", "coordinator", "node"];
/// What every core's configuration must ban.
const CORE_BANS: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::fs::File::open",
    "std::net::TcpStream::connect",
];

/// Reports cores whose configuration is missing or incomplete.
pub(crate) fn check(project: &Project) -> Vec<Violation> {
    let root = settings(project.text(ROOT).unwrap_or_default());
    let mut found = Vec::new();
    for core in CORES {
        let path = format!("{core}/{ROOT}");
        let own = settings(project.text(&path).unwrap_or_default());
        let bans = CORE_BANS.iter().map(|ban| format!("ban {ban}"));
        let missing: Vec<String> = root.iter().cloned().chain(bans).filter(|setting| !own.contains(setting)).collect();
        if !missing.is_empty() {
            let message = format!("lacks: {}", missing.join(", "));
            found.push(Violation { check: "clippy", subject: path, line: 0, measure: None, message });
        }
    }
    found
}

/// The settings of a configuration as comparable texts: `key = value`, and `ban path` for each banned method.
fn settings(text: &str) -> BTreeSet<String> {
    let Ok(table) = text.parse::<toml::Table>() else { return BTreeSet::new() };
    let mut settings = BTreeSet::new();
    for (key, value) in &table {
        let Some(bans) = value.as_array().filter(|_| key == "disallowed-methods") else {
            settings.insert(format!("{key} = {value}"));
            continue;
        };
        let paths = bans.iter().filter_map(|ban| ban.get("path").or(Some(ban))?.as_str());
        settings.extend(paths.map(|path| format!("ban {path}")));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn faults(root: &str, core: &str) -> usize {
        let mut texts = vec![(ROOT.to_owned(), root.to_owned())];
        texts.extend(CORES.iter().map(|name| (format!("{name}/{ROOT}"), core.to_owned())));
        check(&Project { tree: Tree::default(), sources: Vec::new(), texts }).len()
    }

    fn full() -> String {
        let bans = CORE_BANS.iter().map(|path| format!("{{ path = \"{path}\", reason = \"told by the host\" }},"));
        format!("x = 7\ndisallowed-methods = [{}]\n", bans.collect::<String>())
    }

    #[test]
    fn a_core_repeats_the_root_and_adds_its_bans() {
        assert_eq!(faults("x = 7\n", &full()), 0);
        assert_eq!(faults("x = 8\n", &full()), CORES.len());
        assert_eq!(faults("disallowed-methods = [\"a::b\"]\n", &full()), CORES.len());
        assert_eq!(faults("x = 7\n", "x = 7\n"), CORES.len());
    }
}
