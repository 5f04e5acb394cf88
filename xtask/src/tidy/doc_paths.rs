//! Every path of the project that a document names exists.
//!
//! Looked at are link targets and words in backticks outside code blocks. A word counts as a path of the project when
//! its first part is a folder of the project (also one that architecture plans, so that a document cannot
//! name it before it exists), or when it is the bare name of a `.rs` or `.md` file. `{a,b}` and `*` are expanded.

use super::{Project, Violation};
use crate::tree::Tree;

/// Folders that are planned: naming something in them is naming a path.
const PLANNED: &[&str] = &["raft", "sim"];

/// Reports paths that do not exist.
pub(crate) fn check(project: &Project) -> Vec<Violation> {
    let mut found = Vec::new();
    for (document, text) in project.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, word, is_link) in candidates(text) {
            if !expand(&word).iter().all(|path| exists(&project.tree, document, path, is_link)) {
                found.push(Violation {
                    check: "paths",
                    subject: document.clone(),
                    line,
                    measure: None,
                    message: format!("`{word}` does not exist"),
                });
            }
        }
    }
    found
}

/// Words that may be paths: line from 1, word, whether it is a link's target.
fn candidates(text: &str) -> Vec<(usize, String, bool)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block || line.starts_with("    ") {
            continue;
        }
        let quoted = line.split('`').skip(1).step_by(2);
        found.extend(quoted.map(|word| (index + 1, word.to_owned(), false)));
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let targets = targets.map(|target| target.split('#').next().unwrap_or_default());
        let inside = targets.filter(|target| !target.is_empty() && !target.contains(':'));
        found.extend(inside.map(|target| (index + 1, target.to_owned(), true)));
    }
    found
}

/// The words that `a/{b,c}` stands for.
fn expand(word: &str) -> Vec<String> {
    let Some((head, rest)) = word.split_once('{') else { return vec![word.to_owned()] };
    let Some((inside, tail)) = rest.split_once('}') else { return vec![word.to_owned()] };
    inside.split(',').flat_map(|part| expand(&format!("{head}{}{tail}", part.trim()))).collect()
}

/// Whether `word`, named in `document`, exists or is no path of the project.
fn exists(tree: &Tree, document: &str, word: &str, is_link: bool) -> bool {
    if is_link {
        return matches(tree, &join(document.rsplit_once('/').map_or("", |(folder, _)| folder), word));
    }
    let is_pathlike = |c: char| c.is_ascii_alphanumeric() || "_-./*".contains(c);
    if word.is_empty() || word.starts_with('/') || !word.chars().all(is_pathlike) {
        return true;
    }
    match word.split_once('/') {
        Some((first, _)) if PLANNED.contains(&first) || tree.is_dir(first) => matches(tree, word),
        Some(_) => true,
        None if word.ends_with(".rs") || word.ends_with(".md") => {
            tree.files.keys().any(|path| path.rsplit('/').next() == Some(word))
        }
        None => true,
    }
}

/// Whether a path, in which a part may hold `*`, is a file or folder.
fn matches(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    if !path.contains('*') {
        return path.is_empty() || tree.contains(path);
    }
    let parts: Vec<&str> = path.split('/').collect();
    tree.files.keys().any(|file| {
        let found: Vec<&str> = file.split('/').collect();
        found.len() >= parts.len() && parts.iter().zip(&found).all(|(pattern, part)| fits(pattern, part))
    })
}

fn fits(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        Some((head, tail)) => part.len() >= head.len() + tail.len() && part.starts_with(head) && part.ends_with(tail),
        None => pattern == part,
    }
}

/// `word` relative to `folder`, with `.` and `..` resolved.
fn join(folder: &str, word: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in word.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let files = ["node/src/lib.rs", "docs/adr/0001-a.md", "docs/README.md", "README.md"];
        let tree = Tree { files: files.iter().map(|path| ((*path).to_owned(), 1)).collect() };
        let texts = vec![("docs/README.md".to_owned(), text.to_owned())];
        check(&Project { tree, sources: Vec::new(), texts }).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn named_paths_must_exist() {
        assert_eq!(faults("see `node/src/lib.rs`, `node/`, `docs/adr/*.md` and `lib.rs`"), Vec::<String>::new());
        assert_eq!(faults("see `node/src/gone.rs`"), ["`node/src/gone.rs` does not exist"]);
        assert_eq!(faults("`node/src/{lib,gone}.rs`"), ["`node/src/{lib,gone}.rs` does not exist"]);
        assert_eq!(faults("`gone.rs`"), ["`gone.rs` does not exist"]);
    }

    #[test]
    fn a_planned_folder_is_not_named_before_it_exists() {
        assert_eq!(faults("`raft/`"), ["`raft/` does not exist"]);
    }

    #[test]
    fn links_are_relative_to_the_document() {
        assert_eq!(faults("[a](adr/0001-a.md#x) [b](../README.md) [c](https://example.org/x)"), Vec::<String>::new());
        assert_eq!(faults("[a](0001-a.md)"), ["`0001-a.md` does not exist"]);
    }

    #[test]
    fn other_words_and_code_blocks_are_left_alone() {
        assert_eq!(faults("`segment.bytes` `application/json` `a b/c` `/metrics`"), Vec::<String>::new());
        assert_eq!(faults("```\n`node/src/gone.rs`\n```\n"), Vec::<String>::new());
    }
}
