//! A source file has at most 500 lines without its tests, a `lib.rs` or `mod.rs` at most 150.

use super::Violation;
use super::source::Source;

const FILE_LINES_MAX: usize = 500;
const ROOT_LINES_MAX: usize = 150;

/// Reports a file that is too long.
pub(crate) fn check(source: &Source) -> Option<Violation> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    let limit = if matches!(name, "lib.rs" | "mod.rs") { ROOT_LINES_MAX } else { FILE_LINES_MAX };
    let lines = source.lines_without_tests();
    (lines > limit).then(|| Violation {
        check: "size",
        subject: source.path.clone(),
        line: 0,
        measure: Some(lines),
        message: format!("{lines} lines without tests, at most {limit}: split it by what changes together"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, code: usize, tests: usize) -> Option<usize> {
        let text = "x;\n".repeat(code) + "#[cfg(test)]\nmod tests {\n" + &"y;\n".repeat(tests) + "}\n";
        check(&Source::new(path, &text)).and_then(|violation| violation.measure)
    }

    #[test]
    fn tests_do_not_count() {
        assert_eq!(lines("a/src/b.rs", 500, 900), None);
        assert_eq!(lines("a/src/b.rs", 501, 0), Some(501));
        assert_eq!(lines("a/src/tests.rs", 2000, 0), None);
    }

    #[test]
    fn crate_and_module_roots_are_shorter() {
        assert_eq!(lines("a/src/lib.rs", 150, 0), None);
        assert_eq!(lines("a/src/lib.rs", 151, 0), Some(151));
        assert_eq!(lines("a/src/b/mod.rs", 151, 0), Some(151));
    }
}
