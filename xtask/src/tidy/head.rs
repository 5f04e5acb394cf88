//! Every source file starts with a `//!` head that says what it is for.

use super::Violation;
use super::source::Source;

/// Reports a file without a head.
pub(crate) fn check(source: &Source) -> Option<Violation> {
    let first = source.lines.iter().find(|line| !line.trim().is_empty());
    let has_head = first.is_some_and(|line| line.starts_with("//! ") && line.trim().len() > "//! a.".len());
    (!has_head).then(|| Violation {
        check: "head",
        subject: source.path.clone(),
        line: 1,
        measure: None,
        message: "the file must start with a `//!` line that says what it is for".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_sentence_on_the_first_line() {
        assert_eq!(check(&Source::new("a.rs", "//! Says what it is.\nfn a() {}")), None);
        for text in ["", "fn a() {}", "// Not a doc comment.", "//!\n", "use a;\n//! Too late.", "//! "] {
            assert!(check(&Source::new("a.rs", text)).is_some(), "{text:?}");
        }
    }
}
