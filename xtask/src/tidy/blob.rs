//! No file is larger than 200 kB: the repository holds sources, not their products.

use super::Violation;
use crate::tree::Tree;

const FILE_BYTES_MAX: u64 = 200_000;

/// Reports files that are too large.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let large = tree.files.iter().filter(|(_, bytes)| **bytes > FILE_BYTES_MAX);
    large
        .map(|(path, bytes)| Violation {
            check: "blob",
            subject: path.clone(),
            line: 0,
            measure: None,
            message: format!("{bytes} bytes, at most {FILE_BYTES_MAX}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_files_are_reported() {
        let mut tree = Tree::default();
        tree.files.insert("fits".to_owned(), FILE_BYTES_MAX);
        tree.files.insert("large".to_owned(), FILE_BYTES_MAX + 1);
        assert_eq!(check(&tree).into_iter().map(|violation| violation.subject).collect::<Vec<_>>(), ["large"]);
    }
}
