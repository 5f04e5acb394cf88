//! The files of the project as a list, without what `.gitignore` leaves out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Paths relative to the root with `/` between their parts, and each file's size in bytes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tree {
    /// Size in bytes by path.
    pub(crate) files: BTreeMap<String, u64>,
}

impl Tree {
    /// Lists what stands below `root`, without `.git` and the root-anchored entries of `.gitignore`.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let ignore = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut tree = Self::default();
        tree.walk(root, "", &ignored(&ignore))?;
        Ok(tree)
    }

    fn walk(&mut self, dir: &Path, prefix: &str, ignored: &[String]) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if path == ".git" || ignored.contains(&path) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"), ignored)?;
            } else if kind.is_file() {
                self.files.insert(path, entry.metadata()?.len());
            }
        }
        Ok(())
    }

    /// Whether `path` is a file or a folder that holds one.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.contains_key(path) || self.is_dir(path)
    }

    /// Whether a file stands below the folder `path`.
    pub(crate) fn is_dir(&self, path: &str) -> bool {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        self.files.range(prefix.clone()..).next().is_some_and(|(file, _)| file.starts_with(&prefix))
    }

    /// Paths that end in `.extension`, in order.
    pub(crate) fn with_extension<'a>(&'a self, extension: &'a str) -> impl Iterator<Item = &'a str> {
        self.files
            .keys()
            .map(String::as_str)
            .filter(move |path| path.rsplit_once('.').is_some_and(|(_, found)| found == extension))
    }
}

/// The root-anchored entries of a `.gitignore`; other forms are not used here.
fn ignored(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix('/'))
        .map(|path| path.trim_end_matches('/').into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        Tree { files: paths.iter().map(|path| ((*path).to_owned(), 1)).collect() }
    }

    #[test]
    fn a_folder_is_known_by_what_it_holds() {
        let tree = tree(&["docs/adr/0001.md", "docs-old/x.md"]);
        assert!(tree.contains("docs/adr") && tree.contains("docs/") && tree.contains("docs/adr/0001.md"));
        assert!(!tree.contains("docs/ad") && !tree.contains("doc"));
    }

    #[test]
    fn only_anchored_entries_are_ignored() {
        assert_eq!(ignored("/target\n*.swp\n/data/\n"), ["target", "data"]);
    }

    #[test]
    fn extensions_are_compared_whole() {
        let tree = tree(&["a.rs", "b.md", "c.rs.txt"]);
        assert_eq!(tree.with_extension("rs").collect::<Vec<_>>(), ["a.rs"]);
    }
}
