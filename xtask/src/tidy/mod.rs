//! Checks of the sources' form: each check is one file with its tests, `xtask/waivers.txt` lists the exceptions.

mod banned;
mod blob;
mod changelog;
mod clippy_config;
mod dependencies;
mod doc_paths;
mod function_length;
mod head;
mod lexer;
mod size;
mod source;
mod unsafe_code;
mod waivers;

use std::fs;
use std::path::Path;

use crate::tree::Tree;
use source::Source;

/// One fault of form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Name of the check, as waivers name it.
    pub(crate) check: &'static str,
    /// The file, or `file::item` when the fault is of one item in it.
    pub(crate) subject: String,
    /// Line of the fault, from 1; 0 when it is of the whole file.
    pub(crate) line: usize,
    /// The measured length for checks that have a limit: a waiver names it and may only shrink.
    pub(crate) measure: Option<usize>,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

/// What the checks look at.
pub(crate) struct Project {
    /// All files.
    pub(crate) tree: Tree,
    /// The Rust files, lexed.
    pub(crate) sources: Vec<Source>,
    /// Documents, manifests and clippy configurations: path and text.
    pub(crate) texts: Vec<(String, String)>,
}

impl Project {
    fn read(root: &Path) -> Result<Self, String> {
        let tree = Tree::read(root).map_err(|error| format!("cannot list the files: {error}"))?;
        let read =
            |path: &str| fs::read_to_string(root.join(path)).map_err(|error| format!("cannot read {path}: {error}"));
        let mut sources = Vec::new();
        for path in tree.with_extension("rs") {
            sources.push(Source::new(path, &read(path)?));
        }
        source::mark_test_modules(&mut sources);
        let mut texts = Vec::new();
        for path in tree.with_extension("md").chain(tree.with_extension("toml")) {
            texts.push((path.to_owned(), read(path)?));
        }
        Ok(Self { tree, sources, texts })
    }

    /// Text of a document or manifest.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.iter().find(|(name, _)| name == path).map(|(_, text)| text.as_str())
    }
}

/// Runs all checks on the project in `root`; prints each fault with its place.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let project = Project::read(root)?;
    let waivers = fs::read_to_string(root.join(waivers::PATH)).unwrap_or_default();
    let mut faults = waivers::apply(&waivers, violations(&project));
    faults.sort_by(|a, b| (&a.subject, a.line, a.check).cmp(&(&b.subject, b.line, b.check)));
    for fault in &faults {
        let path = fault.subject.split("::").next().unwrap_or_default();
        println!("{path}:{}: [{}] {}", fault.line, fault.check, fault.message);
    }
    match faults.len() {
        0 => Ok(()),
        count => Err(format!("{count} faults of form")),
    }
}

fn violations(project: &Project) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in &project.sources {
        found.extend(head::check(source));
        found.extend(size::check(source));
        found.extend(function_length::check(source));
        found.extend(banned::check(source));
        found.extend(unsafe_code::check(source));
    }
    found.extend(dependencies::check(project));
    found.extend(clippy_config::check(project));
    found.extend(doc_paths::check(project));
    found.extend(blob::check(&project.tree));
    found.extend(changelog::check(project));
    found
}
