//! `unsafe` stands in one file, and each use of it says why it is sound.

use super::Violation;
use super::source::Source;

/// The only file that may hold `unsafe`.
const UNSAFE_FILE: &str = "storage/src/disk/mmap.rs";
/// How many lines above an `unsafe` its `SAFETY:` comment may start.
const REACH_LINES: usize = 12;

/// Reports `unsafe` in other files, and uses without a reason.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in source.code.iter().enumerate() {
        if !line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
            continue;
        }
        let message = if source.path != UNSAFE_FILE {
            format!("`unsafe` belongs into {UNSAFE_FILE} only")
        } else if !has_reason(source, index) {
            "`unsafe` needs a `// SAFETY:` comment above it".to_owned()
        } else {
            continue;
        };
        found.push(Violation {
            check: "unsafe",
            subject: source.path.clone(),
            line: index + 1,
            measure: None,
            message,
        });
    }
    found
}

/// Whether a comment on this line or in the block above it starts with `SAFETY:` or is a `# Safety` section.
fn has_reason(source: &Source, index: usize) -> bool {
    let first = index.saturating_sub(REACH_LINES);
    source.lines.iter().take(index + 1).skip(first).any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn one_file_may_be_unsafe_with_a_reason() {
        assert_eq!(faults(UNSAFE_FILE, "// SAFETY: the range is mapped.\nunsafe { x() }"), 0);
        assert_eq!(faults(UNSAFE_FILE, "unsafe { x() }"), 1);
        assert_eq!(faults("storage/src/log.rs", "// SAFETY: no.\nunsafe { x() }"), 1);
    }

    #[test]
    fn only_the_keyword_counts() {
        assert_eq!(faults("a.rs", "#![forbid(unsafe_code)]\n// unsafe\nlet x = \"unsafe\";"), 0);
    }
}
